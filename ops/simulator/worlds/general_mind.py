"""Answers the prompts of any skill that is not file naming: JSON where JSON is wanted, actions out of transcripts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ops.simulator.world import Answer, Ask
from ops.simulator.worlds.coherence import incoherence
from ops.simulator.worlds.documents import RULE_ID, asks_for_action, broken_rules, headings
from ops.simulator.worlds.draws import chance, choose
from ops.simulator.worlds.frames import Frame, taken_apart
from ops.simulator.worlds.json_shapes import Json, Leaf, filled
from ops.simulator.worlds.speech import spoken

WANTS_JSON = re.compile(r"\bjson\b", re.IGNORECASE)
ONLY_JSON = re.compile(
    r"\b(?:only|just|nothing (?:but|else)|solely)\b.{0,40}\bjson\b|\bjson\b.{0,30}\b(?:only|alone|nothing else)\b|valid json",
    re.IGNORECASE,
)
ACTION = re.compile(
    r"\b(?:will|should|must|need(?:s)? to|has to|have to|please|let's|let us|don't forget|make sure|remember to|going to|can you|could you|"
    r"I'll|we'll|to-?do|action)\b",
    re.IGNORECASE,
)
LEAD = re.compile(
    r"^(?:(?:and|so|okay|ok|well|then|also|right|alright)\b[, ]*)*(?:please|let's|let us|don't forget to|make sure to|remember to|"
    r"(?:i|we|you|they|he|she|[A-Z]\w+)(?:'ll| will| should| must| needs? to| has to| have to| are going to| is going to| can| could)|"
    r"(?:can|could) you(?: please)?)\s+",
    re.IGNORECASE,
)
DISCIPLINED = re.compile(
    r"small talk|greetings?|verb|imperative|who does|every (?:item|action|task)|each (?:item|action|task)|exactly",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class GeneralMind:
    """Does what the prompt of an unknown skill asks for, as well as the prompt says it.

    Attributes:
        valid, valid_if_told: chance of clean JSON without a given format, and when the prompt asks for nothing else.
    """

    seed: int
    valid: float = 0.7
    valid_if_told: float = 0.97

    def answer(self, ask: Ask) -> Answer:
        """Write the answer."""
        frame = taken_apart(ask.text)
        key = (self.seed, ask.tag, frame.description, None if ask.temperature == 0 else ask.seed)
        found = self._kept(found_items(frame), frame.instruction, key)
        if ask.schema:
            text = json.dumps(filled(json.loads(ask.schema), self._leaf(frame, found, key)), ensure_ascii=False)
        elif ask.json_mode:
            text = json.dumps({"items": found}, ensure_ascii=False)
        elif WANTS_JSON.search(frame.instruction):
            text = self._loosely(json.dumps(loose_value(frame, found), ensure_ascii=False), frame.instruction, key)
        else:
            text = "\n".join(found) or without_items(frame)
        return Answer(mind="task", tokens=spoken(text, *key))

    def _leaf(self, frame: Frame, found: list[str], key: tuple[object, ...]) -> Leaf:
        titles = headings(frame.body)

        def leaf(path: str, kind: str) -> Json:
            if kind == "array":
                return list[Json](titles if "head" in path else found)
            if kind in ("integer", "number", "choice"):
                return int(chance("number", path, *key) * 10)
            if kind == "boolean":
                return asks_for_action(frame.body)
            return titles[0] if titles and "title" in path else " ".join(frame.description.split()[:8]) or path

        return leaf

    def _kept(self, found: list[str], instruction: str, key: tuple[object, ...]) -> list[str]:
        # A better instruction loses fewer actions; a senseless one loses most.
        keeps = 0.72 + 0.09 * len({match.lower() for match in DISCIPLINED.findall(instruction)})
        keeps = min(keeps, 0.97) * (1 - 0.7 * incoherence(instruction))
        return [item for item in found if chance("action", item, *key) < keeps]

    def _loosely(self, text: str, instruction: str, key: tuple[object, ...]) -> str:
        told = ONLY_JSON.search(instruction) is not None
        if chance("valid", *key) < (self.valid_if_told if told else self.valid):
            return text
        return choose(
            (f"Here is the JSON you asked for:\n{text}\nI hope this helps!", text[:-2], text.replace('"', "'")),
            "spoilt",
            *key,
        )


def found_items(frame: Frame) -> list[str]:
    """List what the instruction asks to be listed: broken rules where it defines rules, else actions."""
    if RULE_ID.search(frame.instruction):
        return broken_rules(frame.instruction, frame.body)
    return actions(frame.description)


def loose_value(frame: Frame, found: list[str]) -> Json:
    """Build JSON without a schema: the keys that the instruction quotes, or a plain list."""
    keys = re.findall(r"\"(\w+)\"", frame.instruction)
    titles = headings(frame.body)
    known: dict[str, Json] = {
        "title": titles[0] if titles else "", "headings": list(titles), "kind": "other", "needs_action": asks_for_action(frame.body),
    }  # fmt: skip
    if keys:
        return {name: known.get(name, list(found)) for name in keys}
    return list(found)


def without_items(frame: Frame) -> str:
    """Answer when there is nothing to list: the agreed word, the first words of the input, or a question."""
    if re.search(r"\bnone\b", frame.instruction, re.IGNORECASE):
        return "none"
    return " ".join(frame.description.split()[:12]) or "Sure! What would you like me to do?"


def actions(transcript: str) -> list[str]:
    """Find what a transcript asks somebody to do, in short form.

    >>> actions("Hello all. Anna will send the report. We should book a room.")
    ['Send the report', 'Book a room']
    """
    found = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\n", transcript):
        if ACTION.search(sentence):
            short = LEAD.sub("", re.sub(r"^\w+:\s*", "", sentence.strip())).strip(" .!?;")
            if short:
                found.append(short[0].upper() + short[1:])
    return found
