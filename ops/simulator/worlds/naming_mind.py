"""Names files as the instruction says: the better the instruction, the better the names on real data.

Nothing here knows the accepted names. The mind has habits (it chats, takes generic names, drops extensions, keeps filler
words), and each rule that it finds in the instruction and obeys for this input replaces a habit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ops.simulator.worlds.coherence import incoherence
from ops.simulator.worlds.draws import chance, choose
from ops.simulator.worlds.frames import Frame
from ops.simulator.worlds.naming_rules import Reading, Rule, read_rules
from ops.simulator.worlds.naming_words import (
    EMBELLISHMENTS,
    FILLERS,
    GENERIC,
    STOP_WORDS,
    SYNONYMS,
    WEAK,
    shortened_terms,
    split_words,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How the mind behaves where no rule is obeyed; every figure is a probability, chosen to fit the calibration facts.

    Attributes:
        obeys: that a rule found in the instruction is obeyed for one input.
        long_prompt: that a rule is obeyed less in a prompt of more than `LONG` words.
        crowded: the same, for every rule beyond `MANY`.
        generic: that an undescribed kind of name is generic.
        lost: that a prompt which is no instruction on naming gets no name at all.
    """

    obeys: float = 0.985
    long_prompt: float = 0.12
    crowded: float = 0.015
    generic: float = 0.35
    specific_generic: float = 0.015
    chats: float = 0.04
    quotes: float = 0.02
    drops_extension: float = 0.03
    changes_extension: float = 0.02
    drops_numbers: float = 0.12
    synonyms: float = 0.08
    drops_stop_words: float = 0.6
    slug_drops_stop_words: float = 0.9
    count_drops_stop_words: float = 0.9
    embellishes: float = 0.12
    brief: float = 0.7
    skips_first: float = 0.12
    lost: float = 0.8
    wobbles: float = 0.03


LONG = 180  # words in an instruction
MANY = 8  # rules in an instruction
HABITUAL_WORDS = 9  # words in a name when nothing is said about its length
BRIEF_WORDS = 5
SHORT_WORDS = 2
CONFUSED = 0.5  # incoherence from which a text is no instruction
DATE = "2026-08-21"


class Naming:
    """One file to name: the frame, the reading of the instruction, and the chance of this input."""

    def __init__(self, frame: Frame, habits: Habits, key: tuple[object, ...]) -> None:
        self._habits = habits
        self._frame = frame
        self._reading: Reading = read_rules(frame.instruction)
        self._confusion = incoherence(frame.instruction)
        # Prompts with the same rules share their chances, so paraphrases name alike but for a few inputs.
        self._key: tuple[object, ...] = (*key, frame.description, frame.original_name)
        if chance("wobble", frame.instruction, *self._key) < habits.wobbles:
            self._key = (*self._key, frame.instruction)

    def answer(self) -> str:
        """Write the answer to the prompt."""
        if self._lost() and self._happens("lost", self._habits.lost):
            return choose(
                ("I'm sorry, could you clarify?", "image", "Sure! Here is some information about images.", self._frame.instruction[:60]),
                "lost-answer", *self._key,
            )  # fmt: skip
        name = self._stem() + self._extension()
        return self._wrapped(name)

    def _lost(self) -> bool:
        on_topic = self._reading.on_topic or len(self._reading.rules) > 1
        return not on_topic or self._confusion >= CONFUSED

    def _obeys(self, rule: Rule) -> bool:
        return rule in self._reading.rules and self._follows(rule.value)

    def _follows(self, what: str) -> bool:
        crowd = max(len(self._reading.rules) - MANY, 0)
        willing = self._habits.obeys - self._habits.crowded * crowd
        if self._reading.words > LONG:
            willing -= self._habits.long_prompt
        return self._happens(f"obeys {what}", willing * (1 - self._confusion))

    def _happens(self, what: str, probability: float) -> bool:
        return chance(what, *self._key) < probability

    def _stem(self) -> str:
        if self._generic():
            return choose(GENERIC, "generic-name", *self._key)
        words = self._cut(self._chosen_words())
        if self._obeys(Rule.PREFIX):
            words = ["img", *words]
        if self._obeys(Rule.DATE):
            words = [*words, *DATE.split("-")]
        return self._joined(words or ["image"])

    def _generic(self) -> bool:
        if self._obeys(Rule.SPECIFIC):
            return self._happens("generic", self._habits.specific_generic)
        helped = self._reading.rules & {Rule.FILLER, Rule.OWN_WORDS, Rule.SUBJECT}
        return self._happens("generic", self._habits.generic * (0.4 if helped else 1.0))

    def _chosen_words(self) -> list[str]:
        words = split_words(self._frame.description)
        if self._obeys(Rule.ABBREVIATIONS):
            words = shortened_terms(words)
        if self._obeys(Rule.FILLER):
            words = [word for word in words if word not in FILLERS and word not in STOP_WORDS]
        elif self._drops_stop_words():
            words = [word for word in words if word not in STOP_WORDS]
        if not self._obeys(Rule.NUMBERS) and self._happens("drops numbers", self._habits.drops_numbers):
            words = [word for word in words if not word.isdigit()]
        return self._reworded(list(dict.fromkeys(words)))

    def _drops_stop_words(self) -> bool:
        probability = self._habits.drops_stop_words
        if Rule.KEBAB in self._reading.rules:
            probability = max(probability, self._habits.slug_drops_stop_words)
        if self._reading.most or self._reading.brief:
            probability = max(probability, self._habits.count_drops_stop_words)
        return self._happens("stop words", probability)

    def _reworded(self, words: list[str]) -> list[str]:
        if self._obeys(Rule.OWN_WORDS):
            return words
        if self._obeys(Rule.FLOWERY):
            share = 0.7
        elif self._happens("synonyms", self._habits.synonyms):
            share = 0.4
        else:
            return words
        return [
            choose(SYNONYMS.get(word, ("view", "scene", "detail")), "synonym", word, *self._key)
            if self._happens(f"synonym {word}", share)
            else word
            for word in words
        ]

    def _cut(self, words: list[str]) -> list[str]:
        if self._obeys(Rule.SHORT):
            return words[:SHORT_WORDS]
        most = HABITUAL_WORDS
        if self._reading.most and self._follows("count"):
            most = self._reading.most
        elif self._reading.brief and self._happens("brief", self._habits.brief):
            most = BRIEF_WORDS
        ordered = self._obeys(Rule.SUBJECT) or not self._happens("skips first", self._habits.skips_first)
        if not ordered and len(words) > most:
            words = words[1:]
        return self._embellished(self._weightiest(words, most)[:most])

    def _weightiest(self, words: list[str], most: int) -> list[str]:
        # Where not all words fit, those that any screen shows go first.
        if Rule.FILLER not in self._reading.rules:
            return words
        spare = max(len(words) - most, 0)
        weak = [word for word in words if word in WEAK][:spare]
        return [word for word in words if word not in weak]

    def _embellished(self, words: list[str]) -> list[str]:
        restrained = (
            self._reading.rules & {Rule.FILLER, Rule.OWN_WORDS, Rule.KEBAB} or self._reading.most or self._reading.brief
        )
        if restrained or not self._happens("embellishes", self._habits.embellishes):
            return words
        return [*choose(EMBELLISHMENTS, "embellishment", *self._key), *words, "view"]

    def _joined(self, words: list[str]) -> str:
        style = self._style()
        if style is Rule.CAMEL:
            return words[0] + "".join(word.capitalize() for word in words[1:])
        if style is Rule.TITLE:
            return " ".join(word.capitalize() for word in words)
        stem = ("_" if style is Rule.SNAKE else "-").join(words)
        return stem.upper() if self._obeys(Rule.UPPER) else stem

    def _style(self) -> Rule:
        for rule in (Rule.CAMEL, Rule.TITLE, Rule.SNAKE, Rule.KEBAB):
            if self._obeys(rule):
                return rule
        habit = (Rule.KEBAB,) * 16 + (Rule.SNAKE,) * 4 + (Rule.TITLE,) * 3 + (Rule.CAMEL,)
        return choose(habit, "style", *self._key)

    def _extension(self) -> str:
        match = re.search(r"\.\w{1,5}$", self._frame.original_name)
        extension = match[0] if match else ""
        if self._obeys(Rule.EXTENSION):
            return extension
        if self._obeys(Rule.UPPER):
            return extension.upper()
        if self._happens("drops extension", self._habits.drops_extension):
            return ""
        if self._happens("changes extension", self._habits.changes_extension):
            return ".txt"
        return extension

    def _wrapped(self, name: str) -> str:
        bare = self._obeys(Rule.ONLY)
        if not bare and self._happens("chats", self._habits.chats):
            return choose(
                (f'Here is a suggested file name: "{name}"', f"Sure! You could call it {name}. It describes the picture well."),
                "chat", *self._key,
            )  # fmt: skip
        if not bare and not self._obeys(Rule.BARE) and self._happens("quotes", self._habits.quotes):
            return f'"{name}"'
        return name
