"""Writes new instructions out of old ones, as a small model asked by PromptBreeder's operators does: well, badly, or not at all.

It never sees how an instruction is obeyed or scored. It has a stock of sentences, edits its parents with them, and takes
hints from the failures it is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ops.simulator.world import Answer, Ask
from ops.simulator.worlds.draws import between, chance, choose, shuffled
from ops.simulator.worlds.generator_stock import GENERAL, MUTATIONS, NAMING, SALAD, Sentence
from ops.simulator.worlds.requests import Brief, read_brief, sentences
from ops.simulator.worlds.speech import FLUENT, UNSURE, spoken

NAMING_TASK = re.compile(r"\bfile|\bnam(?:e|ing)\b|slug", re.IGNORECASE)
LONG = 110  # words from which a parent is rather shortened or changed than lengthened
CUES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), topics)
    for pattern, topics in (
        (r"\bextension\b", ("extension",)),
        (r"too[- ]long|extra[- ]words|characters", ("length", "filler")),
        (r"chatter|not-a-name|other text|explanation", ("only", "quotes")),
        (r"\bcase\b|separator|underscor|spaces", ("case",)),
        (r"\bgeneric\b|vague|too-short", ("specific", "words")),
        (r"missing[- ]words|wrong[- ]subject", ("words", "order", "filler", "short forms")),
        (r"version|number", ("numbers",)),
        (r"not-json|schema|format", ("only", "case")),
    )
)
ORDERS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), topics)
    for pattern, topics in (
        (r"form of|format|look like|nothing else", ("case", "only", "quotes")),
        (r"limit|how long|length", ("length",)),
        (r"left out|leave out|filler|vague|essential", ("filler", "specific")),
        (r"must be kept|must stay|unchanged|which part|words to keep", ("words", "extension", "numbers")),
        (r"first|order", ("order",)),
        (r"specific|precis|concrete", ("specific", "words")),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often the generator does what; the first four add up to 1.

    Attributes:
        edited: a real change, well written; whether it is wise is another matter.
        gibberish: word salad, loops, noise.
        redundant: a copy or a paraphrase of the parent.
        malformed: wrapped in chatter, cut off, or an answer instead of an instruction.
        sound: that a sentence from the stock is a sound one.
        heeds_failures: that a shown failure decides the topic of the new sentence.
        heeds_order: the same for the mutation prompt.
    """

    edited: float = 0.6
    gibberish: float = 0.12
    redundant: float = 0.2
    malformed: float = 0.08
    sound: float = 0.62
    heeds_failures: float = 0.6
    heeds_order: float = 0.35


@dataclass(frozen=True, slots=True)
class GeneratorMind:
    """Answers every request for instructions and mutation prompts."""

    seed: int
    rates: Rates

    def answer(self, ask: Ask) -> Answer:
        """Write the answer with its log-probabilities."""
        brief, key = read_brief(ask.text), (self.seed, ask.key)
        draw = chance("outcome", *key)
        if draw < self.rates.gibberish:
            text, style = gibberish(key)
            return Answer(mind="generator", tokens=spoken(text, *key, style=style))
        if brief.task == "mutation-prompt":
            text = self._mutation(brief, key)
        elif draw < self.rates.gibberish + self.rates.malformed:
            text = malformed(self._edited(brief, key), key)
        elif draw < self.rates.gibberish + self.rates.malformed + self.rates.redundant and brief.prompts:
            text = paraphrased(choose(brief.prompts, "parent", *key), key)
        else:
            text = self._edited(brief, key)
        return Answer(mind="generator", tokens=spoken(text, *key, style=FLUENT))

    def _mutation(self, brief: Brief, key: tuple[object, ...]) -> str:
        if not brief.mutations or chance("fresh", *key) < 0.5:  # noqa: PLR2004 - half of them start afresh
            return choose(MUTATIONS, "mutation", *key)
        old = brief.mutations[-1].rstrip(".")
        return f"{old}, and {choose(MUTATIONS, 'more', *key).lower()}"

    def _edited(self, brief: Brief, key: tuple[object, ...]) -> str:
        if brief.task == "zero-order" or not brief.prompts:
            return self._afresh(brief, key)
        if brief.task == "crossover" or len(brief.prompts) > 1:
            return crossed(brief.prompts, key)
        return self._changed(brief, sentences(brief.prompts[0]), key)

    def _afresh(self, brief: Brief, key: tuple[object, ...]) -> str:
        opening = "Give the file a name that fits its content." if naming(brief) else "Do the task that is described."
        items = []
        for number in range(between(2, 4, "items", *key)):
            count = between(1, 3, "sentences", number, *key)
            chosen = [self._new(brief, (*key, number, index)) for index in range(count)]
            items.append(f"{number + 1}. {' '.join(dict.fromkeys([opening, *chosen]))}")
        return "\n".join(items)

    def _changed(self, brief: Brief, parts: list[str], key: tuple[object, ...]) -> str:
        words = sum(len(part.split()) for part in parts)
        draw, place = chance("edit", *key), between(0, len(parts) - 1, "place", *key)
        shorten = "horten" in brief.text[:400]
        if len(parts) > 1 and (shorten or draw < (0.5 if words > LONG else 0.12)):
            return " ".join(parts[:place] + parts[place + 1 :])
        new = self._new(brief, key)
        if new in parts:
            new = self._new(brief, (*key, "again"))
        if draw < (0.9 if words > LONG else 0.35) and place > 0:
            return " ".join([*parts[:place], new, *parts[place + 1 :]])
        extra = [self._new(brief, (*key, "second"))] if draw > 0.8 else []  # noqa: PLR2004 - one edit in five adds two
        return " ".join(dict.fromkeys([*parts, new, *extra]))

    def _new(self, brief: Brief, key: tuple[object, ...]) -> str:
        stock = NAMING if naming(brief) else GENERAL
        topics: set[str] = set()
        if chance("heeds failures", *key) < self.rates.heeds_failures:
            topics = cued(CUES, brief.failures, key)
        if not topics and chance("heeds order", *key) < self.rates.heeds_order:
            topics = cued(ORDERS, "\n".join(brief.mutations), key)
        fitting = [one for one in stock if one.topic in topics]
        if not fitting:
            wanted = chance("sound", *key) < self.rates.sound
            fitting = [one for one in stock if one.sound == wanted]
        return choose_topic(fitting, key).text


def choose_topic(fitting: Sequence[Sentence], key: tuple[object, ...]) -> Sentence:
    """Draw a topic first and then a sentence on it, so that topics with many wordings are not favoured."""
    topic = choose(sorted({one.topic for one in fitting}), "topic", *key)
    return choose([one for one in fitting if one.topic == topic], "sentence", *key)


def cued(cues: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...], text: str, key: tuple[object, ...]) -> set[str]:
    """Pick the topics of one cue that occurs in *text*; none when none occurs."""
    found = [topics for pattern, topics in cues if text and pattern.search(text)]
    return set(choose(found, "cue", *key)) if found else set()


def naming(brief: Brief) -> bool:
    """Tell whether a request is about naming files."""
    return bool(NAMING_TASK.search(f"{brief.about}\n{brief.prompts}\n{brief.mutations}"))


def crossed(parents: Sequence[str], key: tuple[object, ...]) -> str:
    """Merge the sentences of two parents: the first one's opening, then a drawn part of all others."""
    lists = [sentences(parent) for parent in parents]
    opening = lists[0][:1]
    others = list(dict.fromkeys(part for parts in lists for part in parts))
    kept = [part for part in others if part not in opening and chance("kept", part, *key) < 0.75]  # noqa: PLR2004
    return " ".join(opening + kept)


SWAPS = (
    ("Use ", "Please use "), ("Keep ", "Make sure to keep "), ("file name", "filename"), ("Generate", "Create"), ("Rename", "Give a new name to"),
    ("Do not", "Never"), ("must", "has to"), ("descriptive", "clear, descriptive"), ("at most", "no more than"), ("Leave out", "Omit"),
    ("only", "just"), ("Write ", "Output "), ("based on", "according to"), ("with the", "using the"), ("Answer", "Respond"),
)  # fmt: skip


def paraphrased(parent: str, key: tuple[object, ...]) -> str:
    """Say the same in other words, or copy it: nothing is added, dropped or changed in meaning."""
    if chance("copy", *key) < 0.3:  # noqa: PLR2004 - a small model often just copies
        return parent
    text = parent
    for old, new in SWAPS:
        if chance("swap", old, *key) < 0.6:  # noqa: PLR2004
            text = text.replace(old, new, 1)
    return text if text != parent else f"Please do the following. {parent}"


def malformed(text: str, key: tuple[object, ...]) -> str:
    """Spoil a good instruction in one of the ways small models do."""
    kind = between(0, 5, "malformed", *key)
    if kind == 0:
        return f"Sure! Here is the improved instruction:\n\n{text}\n\nLet me know if you would like any changes!"
    if kind == 1:
        return f'"{text}"\n\nThis version is better because it is clearer.'
    if kind == 2:  # noqa: PLR2004 - one of six kinds
        return json.dumps({"prompt": text})
    if kind == 3:  # noqa: PLR2004
        return text[: max(len(text) * 2 // 3, 10)]
    return choose(
        ("golden-gate-bridge.png", "I cannot help with that.", "New file name: settings-page.png", ""), "answer", *key
    )


def gibberish(key: tuple[object, ...]) -> tuple[str, tuple[float, float]]:
    """Write word salad, a loop, noise, or the same word for ever, and say how likely its tokens are."""
    draw = chance("gibberish", *key)
    words = shuffled(SALAD, *key)[: between(12, 30, "length", *key)]
    if draw < 0.5:  # noqa: PLR2004 - half is salad
        return " ".join(words).capitalize() + ".", UNSURE
    if draw < 0.75:  # noqa: PLR2004
        return ("the name of the " + words[0] + " and ") * between(8, 16, "loops", *key), FLUENT
    if draw < 0.9:  # noqa: PLR2004
        return "".join(choose("#@$%&*~^|<>+=xqzvkj 0713", "noise", index, *key) for index in range(120)), UNSURE
    return (words[0] + " ") * 60, FLUENT
