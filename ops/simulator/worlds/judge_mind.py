"""Rates instructions as a small judge does: with an opinion of its own, set rates of error, and answers in JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from ops.simulator.world import Answer, Ask
from ops.simulator.worlds.coherence import incoherence
from ops.simulator.worlds.draws import between, chance
from ops.simulator.worlds.json_shapes import Json, filled
from ops.simulator.worlds.requests import read_brief
from ops.simulator.worlds.speech import spoken
from ops.simulator.worlds.vocabulary import vocabulary

DIMENSIONS = ("coherence", "actionability", "specificity", "overall")
PLAIN: Json = {"type": "object", "properties": {name: {"type": "integer"} for name in DIMENSIONS}}
ORDER = re.compile(
    r"\b(?:use|write|keep|name|rename|give|answer|return|reply|leave|skip|remove|put|start|begin|join|limit|preserve|list|extract|"
    r"generate|create|describe|avoid|do not|don't|never|make|take|choose|add|include|follow|output|produce|identify|stick|stay|prefer|check|report|find|tell|review|search|decide|convert|look|collect|outline|pick|read|require|need|read|say|fill|turn|respond|capitali[sz]e|translate|invent|preserve|omit|ensure|no|summari[sz]e|"
    r"separate|format|must|should)\b"
)
OPPOSITES: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...] = tuple(
    (re.compile(one), re.compile(other))
    for one, other in (
        (
            r"(?:use|in|write\w*) (?:\w+ ){0,3}(?:kebab|hyphen|dash)",
            r"(?:use|in|with) (?:\w+ )?(?:camel|underscores|title case)",
        ),
        (r"lower ?case", r"(?:in|all) (?:upper ?case|capitals)"),
        (r"\bas short as possible|one or two words", r"\b(?:long|detailed|full sentence|four|five|six)\b"),
        (r"words (?:from|of) the description", r"\b(?:use synonyms|invent)"),
    )
)
VAGUE = re.compile(
    r"\b(?:do|make|try|be|give)\b.{0,40}\b(?:good|well|nice|best|better|great|properly|carefully|helpful|right)\b"
)
VAGUE_WORDS = 9  # a longer text says more than that
FORM = vocabulary("word words answer output reply extension hyphen hyphens lowercase kebab json list item items format")
"""Words on the form of an answer, which any task may speak of."""

FEWEST, MOST = 4, 260  # words of a text that can be a usable instruction
INCOHERENT = 0.45
SHARED_STEM = 4  # letters that two words on one subject share at their beginning


@dataclass(frozen=True, slots=True)
class JudgeMind:
    """Rates the text between the prompt fences.

    Attributes:
        tpr: chance that a good instruction is rated good.
        tnr: chance that a bad one is rated bad.
    """

    seed: int
    tpr: float = 0.9
    tnr: float = 0.8

    def answer(self, ask: Ask) -> Answer:
        """Write the verdict, in the shape of the schema when there is one."""
        brief = read_brief(ask.text)
        candidate = brief.prompts[-1] if brief.prompts else ask.messages[-1].content
        noise = None if ask.temperature == 0 else ask.seed
        key = (self.seed, ask.tag, candidate, brief.about, noise)
        reason = fault_of(candidate, brief.about)
        right = chance("right", *key) < (self.tnr if reason else self.tpr)
        favourable = (not reason) == right
        schema: Json = json.loads(ask.schema) if ask.schema else PLAIN
        verdict = filled(
            schema, lambda path, kind: rating(path, kind, key, reason if right else "", favourable=favourable)
        )
        return Answer(mind="judge", tokens=spoken(json.dumps(verdict, ensure_ascii=False), *key))


def rating(path: str, kind: str, key: tuple[object, ...], reason: str, *, favourable: bool) -> Json:
    """Give one value of the verdict."""
    if kind in ("boolean", "choice"):
        return favourable if kind == "boolean" else int(not favourable)
    if kind == "array":
        return [] if favourable else [reason or "it is unclear"]
    if kind in ("integer", "number"):
        overall = between(65, 95, "overall", *key) if favourable else between(10, 55, "overall", *key)
        shift = 0 if path.endswith("overall") else between(-6, 6, "shift", path, *key)
        return min(max(overall + shift, 0), 100)
    if favourable:
        return "Each sentence says what to do, and the form of the answer is clear."
    return f"It cannot be used as it stands: {reason or 'it is unclear'}."


def fault_of(text: str, about: str) -> str:
    """Say in a few words what is wrong with an instruction; empty when nothing is."""
    lower = text.lower()
    words = re.findall(r"[a-z]+", lower)
    faults = (
        ("there is hardly any text", len(words) < FEWEST),
        ("it is far too long", len(words) > MOST),
        ("the words do not make sentences", incoherence(text) >= INCOHERENT),
        ("it asks for nothing", not ORDER.search(lower)),
        ("it is vague", len(words) < VAGUE_WORDS and bool(VAGUE.search(lower))),
        ("it contradicts itself", any(one.search(lower) and other.search(lower) for one, other in OPPOSITES)),
        (
            "it is an answer, not an instruction",
            len(words) < FEWEST * 2 and bool(re.search(r"\.\w{2,4}$", text.strip())),
        ),
        ("it is about something else", not on_subject(words, about)),
    )
    return next((fault for fault, holds in faults if holds), "")


def on_subject(words: list[str], about: str) -> bool:
    """Tell whether a text shares a word's stem with the description of the task, as far as there is one."""
    subject = {word[:SHARED_STEM] for word in re.findall(r"[a-z]{4,}", about.lower())} - {
        "with",
        "that",
        "this",
        "from",
        "what",
    }
    return not subject or any(word[:SHARED_STEM] in subject or word in FORM for word in words)
