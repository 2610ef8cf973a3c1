"""Obeys an instruction on an order note: keeps each rule it was told, and misses the others where the task's draws say so."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ops.simulator.world import Answer, Ask, Token, pieces
from ops.simulator.worlds.draws import chance, choose
from ops.simulator.worlds.records_rules import HARMS, RULES, Reading, read_instruction
from ops.simulator.worlds.records_tasks import Task, drawn_misses, drawn_spoils

NUMBER = re.compile(r"\border (\d{5})\b", re.IGNORECASE)
TAIL = 600  # most characters behind the note of a request that asks for a record and nothing else
LABEL = re.compile(r"\n?[ \t]*(?:\[\[ ## \w+ ## \]\]|(?:Order note|Note|Input|Text|Question)\s*:)\s*$", re.IGNORECASE)
DSPY_TASK = re.compile(r"your objective is:\s*(.*)\Z", re.DOTALL)
DSPY_FIELD = re.compile(r"`\[\[ ## (\w+) ## \]\]`")
DSPY_KEYS = re.compile(r"JSON object in the following order of fields: (.+?)\.\n?")
WARMTH = 0.3  # share of the tasks whose draws change at temperature 1
CHATTER = ("Sure! Here is the record: ", "Here you go: ", "The record for this note is: ", "Of course, I can do that. ")
REASONING = "First I look for the date, then I look for the name and the rest. So the record is: "
SALAD = "the of order and to with the a note is of the from by and record the of a line to in with the of"

RULE_BITS = {rule.lost: 1 << bit for bit, rule in enumerate(RULES)}
HARM_LOSSES = tuple((1 << bit, harm.lost) for bit, harm in enumerate(HARMS))
REASONS = 1  # the bit of the first harm, which shows its working


@dataclass(frozen=True, slots=True)
class Question:
    """A request for one record, taken apart; `wrapper` is `plain`, `fields` (DSPy's sections) or `json`."""

    task: Task
    instruction: str
    wrapper: str = "plain"
    names: tuple[str, ...] = ()


def question_of(ask: Ask, tasks: Mapping[str, Task]) -> Question | None:
    """Take a request apart; None when it does not end with the note of one of *tasks*."""
    if not ask.messages:
        return None
    last = ask.messages[-1].content
    numbers = NUMBER.findall(last[-4000:])
    task = tasks.get(numbers[-1]) if numbers else None
    place = last.rfind(task.note) if task else -1
    if task is None or place < 0 or len(last) - place - len(task.note) > TAIL:
        return None
    system = "\n".join(message.content for message in ask.messages[:-1] if message.role == "system")
    before, tail = last[:place], last[place + len(task.note) :]
    objective = DSPY_TASK.search(system)
    if objective is not None:
        return dspy_question(task, objective[1], tail)
    head, mark, _ = before.rpartition("\n---\n")
    text = head if mark else LABEL.sub("", before)
    return Question(task, f"{system}\n{text}".strip())


def dspy_question(task: Task, instruction: str, tail: str) -> Question:
    """Read which sections, or which JSON keys, DSPy's adapters want."""
    keys = DSPY_KEYS.search(tail)
    if keys is not None:
        return Question(task, instruction.strip(), "json", tuple(re.findall(r"`(\w+)`", keys[1])))
    names = tuple(name for name in DSPY_FIELD.findall(tail) if name != "completed")
    return Question(task, instruction.strip(), "fields" if names else "plain", names)


def answered(seed: int, question: Question, ask: Ask) -> Answer:
    """Write the record as well as the instruction makes the model able to."""
    task = question.task if ask.temperature == 0 else warmed(seed, question.task, ask)
    text = wrapped(record(task, read_instruction(question.instruction)), question)
    return Answer(mind="task", tokens=quick_tokens(text, task.number))


def warmed(seed: int, task: Task, ask: Ask) -> Task:
    """Draw a task's slips anew for some of the seeds of a warm request."""
    key = (seed, task.number, ask.tag, ask.seed)
    if chance("warm", *key) >= WARMTH * ask.temperature:
        return task
    keys = {name for name, _ in task.parts}
    return replace(task, misses=drawn_misses(keys, key), spoils=drawn_spoils(keys, key))


def record(task: Task, reading: Reading) -> str:
    """Write the line with every slip that the reading allows."""
    if task.patience < reading.spoiled:
        return SALAD[task.misses % 30 :].strip()
    missed = task.misses & ~reading.rules
    harmed = task.spoils & reading.harms
    lost = {harm for bit, harm in HARM_LOSSES if harmed & bit}
    return around(line(task, missed, lost, stubborn=task.stubborn), task, missed, harmed, lost)


def line(task: Task, missed: int, lost: set[str], *, stubborn: bool) -> str:
    """Write the parts."""
    slipped = f"{task.number[:-1]}{(int(task.number[-1]) + 1) % 10}"
    number = slipped if stubborn or "wrong-value" in lost else task.number
    values = [f"order={number}"]
    for key, part in task.parts[: -1 if "part-missing" in lost else None]:
        rule = next(rule for rule in RULES if rule.key == key)
        value = part.naive if missed & RULE_BITS[rule.lost] else part.right
        if key == "item" and "item-case" in lost:
            value = value.upper()
        if value:
            values.append(f"{key}={value}")
    return (" / " if missed & RULE_BITS["separator-wrong"] else "; ").join(values)


def around(text: str, task: Task, missed: int, harmed: int, lost: set[str]) -> str:
    """Put what was not asked for around the line."""
    if "no-record" in lost:
        return json.dumps({"record": text.replace("=", " ")})
    if "extra-text" in lost:
        return (REASONING if harmed & REASONS else "Hello and thank you for this order! ") + text
    if missed & RULE_BITS["extra-text"]:
        return (
            choose(CHATTER, "chatter", task.number)
            + text
            + choose(("", " (I hope this helps.)"), "ending", task.number)
        )
    return text


def wrapped(text: str, question: Question) -> str:
    """Put the answer into the form that the request asks for; fields beside the last one get a short thought."""
    names = question.names
    values = {name: text if name == names[-1] else "I follow the instruction." for name in names}
    if question.wrapper == "json":
        return json.dumps(values)
    if question.wrapper == "fields":
        return "\n\n".join(
            [*(f"[[ ## {name} ## ]]\n{value}" for name, value in values.items()), "[[ ## completed ## ]]"]
        )
    return text


def quick_tokens(text: str, key: str) -> tuple[Token, ...]:
    """Cut an answer into fluent tokens with one hash, since a search asks for thousands of them."""
    noise = hashlib.blake2b(f"{key}\n{text}".encode(), digest_size=64).digest()
    return tuple(Token(word, -0.1 - noise[index % 64] / 365) for index, word in enumerate(pieces(text)))
