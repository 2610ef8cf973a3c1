"""Rates instructions as a small judge does: with an opinion of its own, set rates of error, in one word, a letter or JSON."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from ops.simulator.world import Answer, Ask, Token
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
        (r"one per line", r"single paragraph|one paragraph"),
        (r"at most \w+ words", r"at least \w+ (?:full )?sentences"),
        (r"\bline: rule", r"do not give line numbers"),
        (r"list broken links", r"do not mention links"),
    )
)
VAGUE = re.compile(
    r"\b(?:do|make|try|be|give)\b.{0,40}\b(?:good|well|nice|best|better|great|properly|carefully|helpful|right)\b"
)
VAGUE_WORDS = 9  # a longer text says more than that
FORM = vocabulary("word words answer output reply extension hyphen hyphens lowercase kebab json list item items format")
"""Words on the form of an answer, which any task may speak of."""

QUESTION = re.compile(r"^Question: (.+)$", re.MULTILINE)
FAULT_FINDING = re.compile(
    r"\b(?:contradict|besides|broken|lack)", re.IGNORECASE
)  # a question whose Yes speaks against the text
FLOW = re.compile(r"<output>\n(.*?)\n</output>.*<scoring_rubric>", re.DOTALL)
FLOW_ABOUT = re.compile(r"The task it is for: (.+)")
FIRST_PLACE = 0.08  # by how much the first of two is liked better for its place

TO_THE_JUDGE = re.compile(r"\bevaluator\b|highest score|answer yes to", re.IGNORECASE)
CHATTER = re.compile(
    r"^(?:sure|certainly)\b|\bi(?: have|'ve)? (?:rewritten|made it)\b|i hope this helps|\blet me know\b|this variant is|improved version of",
    re.IGNORECASE,
)
FOREIGN = re.compile(r"\b(?:e-mail to|refund|recipes?|dinner|puppy|into french)\b", re.IGNORECASE)
SMALL_WORD = re.compile(r"\b(?:the|a|an|of|in|to|for|with|is|it|each|and|not|no)\b")
BROKEN = re.compile(
    r"\bof which (?:descriptive|twelve)|\bwhich the words it|\bis be\b|\bby which the\b|\bto be that it is\b"
)
HEAP = 8  # words without a small one among them, from which on they are a heap
BE = re.compile(
    r"\bbe (?:descriptive|useful|clear|good|helpful)\b|what is important|useful feedback|find the actions\."
)

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
        brief, flow, asked = read_brief(ask.text), FLOW.search(ask.text), QUESTION.search(ask.text)
        candidate = brief.prompts[-1] if brief.prompts else ask.messages[-1].content
        about = brief.about
        if flow is not None:
            task = FLOW_ABOUT.search(ask.text)
            candidate, about = flow[1], task[1] if task else ""
        noise = None if ask.temperature == 0 else ask.seed
        key = (self.seed, ask.tag, candidate, about, noise)
        reason = fault_of(candidate, about)
        right = chance("right", *key) < (self.tnr if reason else self.tpr)
        favourable = (not reason) == right
        if asked is not None and "A or B" in asked[1]:
            return Answer(mind="judge", tokens=preferred(brief.prompts, about, self.seed))
        if asked is not None:
            yes = favourable != bool(FAULT_FINDING.search(asked[1]))
            if ask.schema:
                return Answer(mind="judge", tokens=spoken(json.dumps({"answer": "Yes" if yes else "No"}), *key))
            return Answer(mind="judge", tokens=(word_token(("Yes", "No"), sure(asked[1], key, yes=yes)),))
        if flow is not None:
            score = between(4, 5, "flow", ask.text, *key) if favourable else between(1, 3, "flow", ask.text, *key)
            text = f"<feedback>{rating('', 'string', key, reason if right else '', favourable=favourable)}</feedback>\n<score>{score}</score>"
            return Answer(mind="judge", tokens=spoken(text, *key))
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


def sure(question: str, key: tuple[object, ...], *, yes: bool) -> float:
    """Give the probability of a Yes: never quite sure, and another one for each question."""
    share = 0.78 + 0.2 * chance("sure", question, *key)
    return share if yes else 1 - share


def word_token(words: tuple[str, str], share: float) -> Token:
    """Write the likelier of two words, with what else might have stood there: the other one, other spellings, some rest."""
    first, second = words if share >= 0.5 else words[::-1]  # noqa: PLR2004 - the likelier
    most = max(share, 1 - share)
    shares = ((first, 0.9 * most), (second, 0.9 * (1 - most)), (f" {first}", 0.06 * most), (f" {second}", 0.06 * (1 - most)),
              (first.lower(), 0.02 * most), (second.lower(), 0.02 * (1 - most)), ("The", 0.012), ("It", 0.005))  # fmt: skip
    listed = sorted(((text, math.log(max(value, 1e-9))) for text, value in shares), key=lambda pair: -pair[1])
    return Token(listed[0][0], listed[0][1], tuple(listed[1:]))


def preferred(prompts: tuple[str, ...], about: str, seed: int) -> tuple[Token, ...]:
    """Prefer the text without a fault; of two alike, by a liking of its own and a little for the first place."""
    first, second = (*prompts, "", "")[:2]
    likings = [0.4 * (not fault_of(text, about)) + 0.3 * chance("liking", seed, text) for text in (first, second)]
    share = 0.5 + (likings[0] - likings[1]) / 1.5 + FIRST_PLACE
    return (word_token(("A", "B"), min(max(share, 0.02), 0.98)),)


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
        ("it speaks to its judge", bool(TO_THE_JUDGE.search(text))),
        ("it talks about itself", bool(CHATTER.search(text))),
        ("the words are a heap", len(words) >= HEAP and not SMALL_WORD.search(lower)),
        ("its grammar is broken", bool(BROKEN.search(lower))),
        ("it is vague", len(words) <= VAGUE_WORDS and bool(BE.search(lower))),
        ("it is about something else", bool(FOREIGN.search(lower)) or not on_subject(words, about)),
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
