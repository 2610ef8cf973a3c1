"""The mutation operators that ask the generator: what each asks, as pure text (PromptBreeder 3.2, arXiv 2309.16797).

Each function returns the prompt for one request. What never changes stands first, so that a prefix cache serves it; the
texts to work on stand between marks; the reply is read by `meta_prompt.read_instruction`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.meta_prompt import Failure, Success, clip, failures_text, fenced, successes_text
from pipeline.phrasebook import IMPROVE_MUTATION

_ANSWER = (
    "Write only the new instruction, as plain text. Do not write an answer to the task, and no example from above."
)


def first_order(mutation: str, parent: str, about: str) -> str:
    """First-order generation (PromptBreeder 3.2.1): mutation prompt and parent give a child."""
    return (
        f"TASK: first-order\n{fenced('MUTATION', mutation)}\n\nThe task: {about}\nINSTRUCTION:\n"
        f"{fenced('PROMPT', parent)}\n\n{_ANSWER}\nINSTRUCTION MUTANT:"
    )


def initial(mutation: str, thinking_style: str, seed_prompt: str, about: str) -> str:
    """Initialisation (PromptBreeder 3.1): mutation prompt, thinking style and the problem give a first member."""
    return (
        f"TASK: first-order\n{fenced('MUTATION', mutation)}\n{thinking_style}\n\nThe task: {about}\nINSTRUCTION:\n"
        f"{fenced('PROMPT', seed_prompt)}\n\n{_ANSWER}\nINSTRUCTION MUTANT:"
    )


def zero_order(about: str, failures: tuple[Failure, ...], lost: Mapping[str, int] | None = None, of: int = 0) -> str:
    """Zero-order generation (PromptBreeder 3.2.1): the problem gives a list of hints, the first is taken. No parent.

    Args:
        about: the task.
        failures: a few, of many kinds.
        lost: how often each kind of loss occurred in all failures; None counts those that are shown.
        of: out of how many samples.
    """
    return (
        f"TASK: zero-order\nThe task: {about}\n{fenced('FAILURES', failures_text(failures, lost, of))}\n\n"
        f"A list of complete instructions for this task, the best one first. {_ANSWER}\n1."
    )


def eda(population: Sequence[str], about: str) -> str:
    """Estimation of distribution (PromptBreeder 3.2.2): a list in random order, near-duplicates left out, is continued."""
    return (
        f"TASK: eda\nThe task: {about}\nA list of different instructions for it:\n{_listed(population)}\n\n"
        f"{_ANSWER}\n{len(population) + 1}."
    )


def eda_rank(population: Sequence[str], mutation: str, about: str) -> str:
    """EDA rank and index (PromptBreeder 3.2.2): ascending fitness, called descending so that the last is not copied."""
    count = len(population)
    return (
        f"TASK: eda-rank\n{fenced('MUTATION', mutation)}\nThe task: {about}\n"
        f"A list of instructions for it in descending order of score; number {count + 1} is the best of all and is more "
        f"like number {count} than like number 1:\n{_listed(population)}\n\n{_ANSWER}\n{count + 1}."
    )


def lineage(ancestors: Sequence[str], about: str) -> str:
    """Lineage-based mutation (PromptBreeder 3.2.2): the ancestors in order of time, each better, are continued."""
    return (
        f"TASK: lineage\nThe task: {about}\nInstructions for it in ascending order of quality:\n{_listed(ancestors)}\n\n"
        f"{_ANSWER}\n{len(ancestors) + 1}."
    )


def lamarckian(success: Success, about: str) -> str:
    """Working out to task prompt (PromptBreeder 3.2.4): from an answer that a person accepted back to its instruction."""
    return (
        f"TASK: lamarckian\nThe task: {about}\nA friend was given an instruction and an input, and answered well.\n"
        f"{fenced('INPUT', clip(success.shown))}\n{fenced('ANSWER', clip(success.output))}\n\n"
        f"What was the instruction? {_ANSWER}\nINSTRUCTION:"
    )


def direct(
    parent: str, about: str, failures: tuple[Failure, ...], successes: tuple[Success, ...],
    lost: Mapping[str, int] | None = None, of: int = 0,
) -> str:  # fmt: skip
    """The meta-prompt of the seed documents: the current instruction, what the log says it got wrong and right.

    Args:
        parent: the instruction.
        about: the task.
        failures: a few, of many kinds.
        successes: a few, of many shapes.
        lost: how often each kind of loss occurred in all failures; None counts those that are shown.
        of: out of how many samples.
    """
    return (
        f"TASK: direct\nThe task: {about}\nCURRENT INSTRUCTION:\n{fenced('PROMPT', parent)}\n\n"
        f"It failed on these inputs:\n{fenced('FAILURES', failures_text(failures, lost, of))}\n\n"
        f"It did well on these:\n{fenced('SUCCESSES', successes_text(successes))}\n\n"
        f"Write a better instruction: keep what worked and prevent what was lost. {_ANSWER}\nNEW INSTRUCTION:"
    )


def reflective(parent: str, about: str, failures: tuple[Failure, ...], lost: Mapping[str, int], of: int) -> str:
    """Reflection on failures (GEPA, arXiv 2507.19457): the parent's own, fresh, with what was lost in each.

    Args:
        parent: the instruction.
        about: the task.
        failures: a few, of many kinds.
        lost: how often each kind of loss occurred in all failures.
        of: how many samples the parent was run on.
    """
    return (
        f"TASK: reflective\nThe task: {about}\nCURRENT INSTRUCTION:\n{fenced('PROMPT', parent)}\n\n"
        f"It failed on these inputs:\n{fenced('FAILURES', failures_text(failures, lost, of))}\n\n"
        f"Keep the rules above, and add for each kind of loss the rule that would have prevented it. {_ANSWER}\n"
        "NEW INSTRUCTION:"
    )


def crossover(one: str, other: str, about: str) -> str:
    """Crossover asked of the generator (promptbreeder mode): two parents give a child that keeps the best of both."""
    return (
        f"TASK: crossover\nThe task: {about}\nTwo instructions for it:\n{fenced('PROMPT', one)}\n{fenced('PROMPT', other)}\n\n"
        f"Write one instruction that keeps the best rules of both. {_ANSWER}\nINSTRUCTION MUTANT:"
    )


def hyper_zero(about: str, thinking_style: str) -> str:
    """Zero-order hyper-mutation (PromptBreeder 3.2.3): the problem and a thinking style give a new mutation prompt."""
    return (
        f"TASK: mutation-prompt\nThe task: {about}\n{thinking_style}\n\n"
        "Write one sentence that tells an editor how to improve an instruction for this task. Write only that sentence."
    )


def hyper_first(mutation: str) -> str:
    """First-order hyper-mutation (PromptBreeder 3.2.3): a mutation prompt is summarised and improved."""
    return f"TASK: mutation-prompt\n{IMPROVE_MUTATION}\n{fenced('MUTATION', mutation)}\n\nWrite only the improved sentence."


def _listed(texts: Sequence[str]) -> str:
    return "\n".join(f"{number}.\n{fenced('PROMPT', text)}" for number, text in enumerate(texts, start=1))
