"""A skill whose accuracy is known exactly: order notes become record lines, and twelve rules decide whether they are right.

**The task.** A note such as "Order 48213 came in by mail. They take 12 kilos. They write to us in German." is to become
`order=48213; qty=12 kg; lang=de`. A world has 2000 tasks, drawn by its seed; each has four to six of ten parts.

**The task model** obeys what it is told (`records_task_mind`). Twelve rules matter (`records_rules`): how to write the date,
the name, the quantity, the item, the article's code, the price, the phone number, the language and the country, when to set the
flag, what separates the parts, and that nothing stands around them. When the prompt lacks a rule, a task that has the part
goes wrong with that rule's rate (6 to 20 %), by a draw that is fixed for the task and the rule, and the slip is visible in
the answer. Told the rule, the model keeps it. Four tasks in a hundred fail whatever is said, so the best prompt has about
96 %; the incumbent states four rules and has about 58 %. Habits such as "explain your reasoning" spoil a fixed share of the
tasks; idle sentences do nothing; each word above 200 costs 0.2 points; a text about something else loses nine tasks in ten;
word salad costs twice its share of the words. Above temperature 0 some draws follow the request's seed.

**The generator** (`records_generator`) rewrites prompts for whoever asks: `records_requests` reads the requests of several
optimisers, `records_replies` writes in the form they want. With one chance it keeps a sentence of the parent; with another
it turns a loss that the request names, however often, into a rule that the parent lacks; a loss that shows only between an answer
and the wanted record is noticed half as often. Without any hint it may add a sentence out of the blue, one in three of
them harmful. The small profile babbles in 15 % of its replies and breaks the form in another 10 %.

**The referee** is `accuracy`: the exact share of the 2000 tasks that an instruction solves, by the same draws that the
task model answers from. Rules are recognised by patterns, in wordings that the generator does not know as well as in its own.
The rates were set for this floor and this ceiling, none with an optimiser in view. A note outside the 2000 is not understood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache

from ops.simulator.skill_world import Sample
from ops.simulator.world import STANDARD_MODELS, Answer, Ask, ModelCard
from ops.simulator.worlds.draws import between, shuffled
from ops.simulator.worlds.embedding import hashed_vector
from ops.simulator.worlds.file_naming import GENERATOR_TAGS, properties
from ops.simulator.worlds.judge_mind import DIMENSIONS, JudgeMind
from ops.simulator.worlds.records_generator import TALENTS, RecordsGenerator
from ops.simulator.worlds.records_requests import read_request
from ops.simulator.worlds.records_rules import ALL_RULES, OTHER_LOSSES, RULES, Reading, read_instruction
from ops.simulator.worlds.records_score import lost_words
from ops.simulator.worlds.records_task_mind import answered, question_of
from ops.simulator.worlds.records_tasks import POPULATION, Task, make_task
from ops.simulator.worlds.requests import TASK
from ops.simulator.worlds.speech import spoken

ABOUT = "Turn the free-text note of a customer's order into one normalised record line."
INCUMBENT = (
    "Turn the order note into one record line with the keys order, date, name, qty, item, code, price, phone, lang, country "
    "and flag, each followed by an equals sign. Leave a key away when the note does not mention it. Separate the parts with semicolons. "
    "Give every quantity with its unit. Write the item in lower case. Answer with the record line only."
)
FRAME = "Order note: {{note}}\n\nRecord:"
LOST_WORDS = (*(rule.lost for rule in RULES), *OTHER_LOSSES)


class RecordsWorld:
    """Plays the models of the default configuration; equal seeds and profiles give equal worlds.

    Args:
        seed: of all draws.
        profile: how able the generator is, `small` or `strong`.
    """

    def __init__(self, seed: int = 1, profile: str = "small") -> None:
        self._seed = seed
        self._generator = RecordsGenerator(seed, TALENTS[profile])
        self._judge = JudgeMind(seed)
        self._measured = lru_cache(maxsize=65_536)(self._share)

    @cached_property
    def _tasks(self) -> dict[str, Task]:
        numbers = dict.fromkeys(
            str(between(10_000, 99_999, "number", self._seed, index)) for index in range(3 * POPULATION)
        )
        return {number: make_task(self._seed, number) for number in list(numbers)[:POPULATION]}

    def models(self) -> Sequence[ModelCard]:
        """List the models of the default configuration."""
        return STANDARD_MODELS

    def mind(self, ask: Ask) -> str:
        """Tell who answers: the request's own `TASK:` line first, then its schema, then whether it ends with a note."""
        line = TASK.search(ask.text)
        if line is not None:
            return "judge" if line[1].strip().lower() == "judge" else "generator"
        if (ask.schema and set(DIMENSIONS) <= properties(ask.schema)) or "<scoring_rubric>" in ask.text:
            return "judge"
        if question_of(ask, self._tasks) is not None:
            return "task"
        last = ask.messages[-1].content if ask.messages else ""
        rewrites = GENERATOR_TAGS.search(ask.tag) or read_request(ask.text, last, ask.schema).parents
        return "generator" if rewrites else "task"

    def answer(self, ask: Ask) -> Answer:
        """Let the right mind write."""
        mind = self.mind(ask)
        if mind == "judge":
            return self._judge.answer(ask)
        if mind == "generator":
            return self._generator.answer(ask)
        question = question_of(ask, self._tasks)
        if question is None:
            return Answer(mind="task", tokens=spoken("I see no order note here.", self._seed))
        return answered(self._seed, question, ask)

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:
        """Embed by hashed words and character n-grams; the same for every tag."""
        del tag
        return hashed_vector(text, dims)

    def about(self) -> str:
        """Describe the problem."""
        return ABOUT

    def template(self) -> str:
        """Give the incumbent's prompt file."""
        return f"{INCUMBENT}\n---\n{FRAME}\n"

    def samples(self, count: int, seed: int) -> list[Sample]:
        """Draw *count* different tasks with their labels."""
        numbers = shuffled(list(self._tasks), "samples", self._seed, seed)[:count]
        tasks = (self._tasks[number] for number in numbers)
        return [Sample(id=task.number, fields={"note": task.note}, expected=task.expected) for task in tasks]

    def score(self, output: str, expected: str, fields: Mapping[str, str]) -> tuple[float, tuple[str, ...]]:
        """Rate an answer 1.0 or 0.0, and say what it lost."""
        del fields
        lost = lost_words(output, expected)
        return (0.0 if lost else 1.0), lost

    def accuracy(self, instruction: str) -> float:
        """Give the exact share of all tasks that an instruction solves."""
        return self._measured(read_instruction(instruction.strip()))

    def floor(self) -> float:
        """Give the incumbent's accuracy."""
        return self.accuracy(INCUMBENT)

    def ceiling(self) -> float:
        """Give the accuracy of a prompt that states every rule and nothing else."""
        return self._measured(Reading(ALL_RULES, 0, 0.0))

    def _share(self, reading: Reading) -> float:
        return sum(task.solved(reading) for task in self._tasks.values()) / POPULATION
