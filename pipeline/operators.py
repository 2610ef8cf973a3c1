"""The mutation operators: what each asks of the generator (PromptBreeder 3.2), as pure text.

Each function returns the prompt for one request. The texts to work on stand between marks; the reply is read by
`meta_prompt.read_instruction`.
"""

from __future__ import annotations

from pipeline.meta_prompt import Failure, Success, failures_text, fenced, successes_text
from pipeline.phrasebook import IMPROVE_MUTATION

_ANSWER = (
    "Write only the new instruction, as plain text. Do not write an answer to the task, and no example from above."
)


def first_order(mutation: str, parent: str, about: str) -> str:
    """Mutation prompt and parent give a child (operator 2 of the paper)."""
    return (
        f"TASK: first-order\n{fenced('MUTATION', mutation)}\n\nThe task: {about}\nINSTRUCTION:\n"
        f"{fenced('PROMPT', parent)}\n\n{_ANSWER}\nINSTRUCTION MUTANT:"
    )


def initial(mutation: str, thinking_style: str, seed_prompt: str, about: str) -> str:
    """Mutation prompt, thinking style and the problem give a member of the first population."""
    return (
        f"TASK: first-order\n{fenced('MUTATION', mutation)}\n{thinking_style}\n\nThe task: {about}\nINSTRUCTION:\n"
        f"{fenced('PROMPT', seed_prompt)}\n\n{_ANSWER}\nINSTRUCTION MUTANT:"
    )


def zero_order(about: str, failures: tuple[Failure, ...]) -> str:
    """The problem alone gives hints; the first becomes the instruction (operator 1). No parent is shown."""
    return (
        f"TASK: zero-order\nThe task: {about}\n{fenced('FAILURES', failures_text(failures))}\n\n"
        f"A list of complete instructions for this task, the best one first. {_ANSWER}\n1."
    )


def direct(parent: str, about: str, failures: tuple[Failure, ...], successes: tuple[Success, ...]) -> str:
    """The meta-prompt: the current instruction, what it got wrong, what it got right (seed documents, A4)."""
    return (
        f"TASK: direct\nThe task: {about}\nCURRENT INSTRUCTION:\n{fenced('PROMPT', parent)}\n\n"
        f"It failed on these inputs:\n{fenced('FAILURES', failures_text(failures))}\n\n"
        f"It did well on these:\n{fenced('SUCCESSES', successes_text(successes))}\n\n"
        f"Write a better instruction: keep what worked and prevent what was lost. {_ANSWER}\nNEW INSTRUCTION:"
    )


def crossover(one: str, other: str, about: str) -> str:
    """Two parents give a child that keeps the best of both (operator 9, asked of the generator)."""
    return (
        f"TASK: crossover\nThe task: {about}\nTwo instructions for it:\n{fenced('PROMPT', one)}\n{fenced('PROMPT', other)}\n\n"
        f"Write one instruction that keeps the best rules of both. {_ANSWER}\nINSTRUCTION MUTANT:"
    )


def hyper_zero(about: str, thinking_style: str) -> str:
    """The problem and a thinking style give a new mutation prompt (operator 6)."""
    return (
        f"TASK: mutation-prompt\nThe task: {about}\n{thinking_style}\n\n"
        "Write one sentence that tells an editor how to improve an instruction for this task. Write only that sentence."
    )


def hyper_first(mutation: str) -> str:
    """A mutation prompt is summarised and improved (operator 7)."""
    return f"TASK: mutation-prompt\n{IMPROVE_MUTATION}\n{fenced('MUTATION', mutation)}\n\nWrite only the improved sentence."
