"""Finds the instructions on file naming in a prompt: about twenty rules, each understood in many wordings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Rule(StrEnum):
    """What an instruction can ask of a file name."""

    KEBAB = "kebab"  # words joined by hyphens
    SNAKE = "snake"  # by underscores
    CAMEL = "camel"  # by capitals
    TITLE = "title"  # by spaces, each capitalised
    LOWER = "lower"  # lower case
    UPPER = "upper"  # upper case
    EXTENSION = "extension"  # keep the original extension
    FILLER = "filler"  # leave out words that say nothing
    SUBJECT = "subject"  # main subject first, words in order
    ONLY = "only"  # answer with nothing but the name
    BARE = "bare"  # no quotes
    OWN_WORDS = "own-words"  # take the description's words
    NUMBERS = "numbers"  # keep numbers and versions
    SPECIFIC = "specific"  # say what it shows, not `image`
    ABBREVIATIONS = "abbreviations"  # well-known short forms
    DATE = "date"  # add a date
    SHORT = "short"  # one or two words
    PREFIX = "prefix"  # begin with a fixed prefix
    FLOWERY = "flowery"  # other, nicer words than the description's


@dataclass(frozen=True, slots=True)
class Sign:
    """A wording of a rule: *pattern* in a clause, said plainly, denied, or either way."""

    rule: Rule
    pattern: re.Pattern[str]
    denied: bool | None = False


def _signs(rule: Rule, denied: bool | None, *patterns: str) -> list[Sign]:  # noqa: FBT001 - a table reads best without names
    return [Sign(rule, re.compile(pattern), denied) for pattern in patterns]


NAME = r"(?:file ?)?names?|filenames?|titles?"
SIGNS: tuple[Sign, ...] = (
    *_signs(Rule.KEBAB, False, r"kebab", r"hyphen", r"\bdash(?:es)?\b", r"\bslugs?\b", r"spinal.case"),
    *_signs(Rule.SNAKE, False, r"snake", r"underscor"),
    *_signs(Rule.CAMEL, False, r"camel", r"pascal.?case"),
    *_signs(Rule.TITLE, False, r"title.?case", r"capitali[sz]e (?:each|every|the first)", r"initial capital"),
    *_signs(Rule.LOWER, False, r"lower.?case", r"small letters"),
    *_signs(Rule.LOWER, True, r"capital", r"upper.?case"),
    *_signs(Rule.UPPER, False, r"upper.?case", r"all caps", r"(?:in|all) capitals?\b", r"capital letters"),
    *_signs(
        Rule.EXTENSION, False,
        r"(?:keep|keeping|preserv\w+|retain\w*|reuse|same|original|end\w*|leave|existing|unchanged|copy|carry)\b.{0,40}\b(?:extension|suffix|file type)",
        r"(?:extension|suffix|file type)\b.{0,40}(?:keep|kept|same|original|unchanged|preserv|intact|as it (?:is|was)|untouched|stay)",
        r"with its (?:original )?extension", r"includ\w+ the (?:file )?extension",
    ),
    *_signs(Rule.EXTENSION, True, r"(?:chang|alter|drop|los|remov|modif|replac|forget|touch)\w*.{0,25}(?:extension|suffix|file type)"),
    *_signs(
        Rule.FILLER, True,
        r"filler", r"articles?\b", r"stop.?words?", r"screenshot of", r"image of", r"picture of", r"function words?",
        r"small words", r"unnecessary words", r"generic words", r"empty words", r"prepositions", r"words (?:like|such as)",
        r"redundant words", r"connecting words", r"needless", r"meaningless words", r"words that (?:add|say|carry) (?:no|nothing)",
        r"(?:the words? )?[\"'`“]?(?:screenshot|the|image|picture)[\"'`”]",
    ),
    *_signs(Rule.FILLER, False, r"(?:only|just) (?:the )?(?:key ?words?|content words?|nouns|meaningful|important|significant|essential)",
            r"(?:key|content|meaningful|significant|informative) ?words (?:only|alone)", r"(?:most )?(?:meaningful|important|informative|significant|salient|key) (?:\w+ )?(?:words|keywords|nouns|terms)",
            r"use (?:the )?keywords", r"content words", r"concise noun"),
    *_signs(Rule.SUBJECT, False, r"(?:main |central |primary )?(?:subject|topic|object|thing) (?:\w+ ){0,3}(?:first|lead|front|start|begin)",
            r"(?:start|begin|lead|open)\w* with (?:the |its )?(?:main|central|primary|most important|subject|key)",
            r"order (?:of|in|they)", r"same order", r"in the order", r"most important (?:\w+ )?first"),
    *_signs(Rule.ONLY, False,
            rf"(?:only|just|nothing (?:but|else|more)|solely|exclusively|nothing other than)\b.{{0,40}}\b(?:{NAME}|answer|result)\b",
            rf"(?:{NAME})\b.{{0,30}}\b(?:only|and nothing (?:else|more)|alone|by itself|on its own)", r"single line", r"one line", r"nothing else"),
    *_signs(Rule.ONLY, True, r"expla(?:in|nation)", r"commentary", r"comments?\b", r"chat", r"introduc", r"preamble", r"(?:extra|other|additional|further|surrounding) (?:text|words|output)", r"say anything", r"sentences?\b"),
    *_signs(Rule.BARE, True, r"quot(?:e|ation|ing)", r"backticks?", r"markdown", r"decorat"),
    *_signs(Rule.OWN_WORDS, False,
            r"(?:words?|terms?|vocabulary|wording|phrases?|nouns?|keywords?) (?:\w+ ){0,4}(?:from|of|in|found in|taken from|used in|that appear\w* in) (?:the |its )?(?:visual |given )?(?:description|caption|text|content)",
            r"(?:description|caption)['\u2019]?s? (?:own )?(?:words|wording|vocabulary|terms)", r"(?:exact|same|literal|very) (?:words|wording|terms)",
            r"stick to the (?:description|words)", r"faithful to the description"),
    *_signs(Rule.OWN_WORDS, True, r"synonym", r"invent", r"paraphras", r"made.?up", r"make (?:up|things)", r"hallucinat", r"(?:add|new|other) (?:\w+ )?words (?:that|not|which)"),
    *_signs(Rule.NUMBERS, False, r"(?:keep|preserv|retain|includ|copy|carry|leave)\w*.{0,40}\b(?:numbers?|digits?|versions?|numerals?)", r"(?:numbers?|digits?|version\w*)\b.{0,40}(?:keep|kept|stay|preserv|retain|intact|must appear)"),
    *_signs(Rule.NUMBERS, True, r"(?:drop|remov|los|omit|forget|discard|skip|leave out)\w*.{0,20}(?:numbers?|digits?|versions?)"),
    *_signs(Rule.SPECIFIC, False, r"descriptive", r"specific", r"describ(?:e|es|ing)\b", r"meaningful (?:file ?)?name", r"concrete", r"what (?:it|the (?:image|picture|file|screenshot)) (?:shows|contains|depicts)",
            r"(?:visual |its )content", r"identif(?:y|ies|iable)", r"precise", r"informative", r"self.explanatory", r"(?:clear|clearly)\b.{0,20}(?:name|say|show)", r"by (?:its|the) (?:visual )?content"),
    *_signs(Rule.SPECIFIC, True, r"generic", r"vague", r"placeholder", r"meaningless name", r"\buntitled\b"),
    *_signs(Rule.ABBREVIATIONS, False, r"abbreviat", r"acronym", r"short forms?", r"usual short", r"shorthand"),
    *_signs(Rule.DATE, False, r"\bdates?\b", r"time.?stamp", r"today", r"\b(?:day|month)\b.{0,20}\b(?:month|year)", r"yyyy"),
    *_signs(Rule.SHORT, False, r"very short", r"as short as possible", r"extremely (?:short|brief)", r"ultra.?short", r"shortest", r"minimal(?:ist)?\b", r"tiny name", r"(?:one|single|a single|1|two|one or two|1-2) words?\b(?! per)", r"very brief", r"terse"),
    *_signs(Rule.PREFIX, False, r"prefix", r"(?:start|begin|beginning|starting) (?:\w+ ){0,3}with [\"'`“]?(?:img|image|file|pic|photo|doc)\b", r"put [\"'`“]?(?:img|image|file|pic)[\"'`”]? (?:in front|first|before)"),
    *_signs(Rule.FLOWERY, False, r"creativ", r"poetic", r"synonyms?\b", r"imaginative", r"evocative", r"fancy", r"catchy", r"playful", r"invent", r"metaphor", r"your own words", r"elegant"),
)  # fmt: skip
DENIAL = re.compile(
    r"\b(?:not|n't|never|no|avoid\w*|without|omit\w*|skip\w*|drop\w*|remov\w+|exclud\w+|leav\w+ (?:out|away|off)|instead of|rather than|"
    r"free of|nor|ignor\w+|strip\w*|cut\w*(?: out)?|discard\w*|eliminat\w+|refrain\w*|delet\w+|ban(?:ned)?|forget)\b|n't\b|n\u2019t\b"
)
VERB = re.compile(
    r"\b(?:use|using|keep|write|add|start|begin|make|put|include|join|separate|end|answer|reply|return|give|take|choose|prefer|"
    r"name|rename|generate|create|respond|output|pick|describe|limit|preserve|separated|joined|connected|is|are|must|should)\b"
)
NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
NUMBER = r"\d{1,2}|" + "|".join(NUMBER_WORDS)
COUNT = re.compile(
    r"(?:\b(?P<lead>fewer than|less than|under|below|at least|more than|over|minimum of)\s+)?"
    rf"\b(?P<low>{NUMBER})(?:\s*(?:to|-|\u2013|or|and)\s*(?P<high>{NUMBER}))?[\s-]+(?:[\w-]+\s+){{0,3}}?(?:words?|terms|keywords|tokens)\b"
)
CHARACTERS = re.compile(r"(?P<low>\d{2,3})\s*(?:characters|chars|letters)")
BRIEF = re.compile(r"\b(?:concise|brief|short|compact|succinct)\b")
TOPIC = re.compile(r"\b(?:re)?nam(?:e|es|ed|ing)\b|file ?name|\btitles?\b|\blabels?\b|\bslug\b")
LETTERS_A_WORD = 8  # characters, with the hyphen
BRIEF_WORDS = 5
MOST_WORDS = 12


@dataclass(frozen=True, slots=True)
class Reading:
    """What a prompt asks for.

    Attributes:
        rules: in order of first mention, without repetition.
        most, least: words a name may have; 0 when nothing is said.
        brief: whether it only says that names are short, without a number.
        on_topic: whether it speaks of naming at all.
        words: length of the prompt.
    """

    rules: frozenset[Rule]
    most: int
    least: int
    brief: bool
    on_topic: bool
    words: int


@lru_cache(maxsize=4096)
def read_rules(prompt: str) -> Reading:
    """Find the rules in an instruction text.

    >>> sorted(read_rules("Use kebab-case, not underscores. Keep the original extension.").rules)
    [<Rule.EXTENSION: 'extension'>, <Rule.KEBAB: 'kebab'>]
    """
    text = prompt.lower().replace("\u2019", "'")
    found: dict[Rule, bool] = {}
    for clause, denied_from in clauses(text):
        for sign in SIGNS:
            match = sign.pattern.search(clause)
            if match is None:
                continue
            if sign.denied is None or sign.denied == (0 <= denied_from <= match.start()):
                found[sign.rule] = True
    least, most = word_counts(text)
    rules = frozenset(found)
    if most > 2:  # noqa: PLR2004 - "one word" inside "at most four words, one word per idea" is no wish for short names
        rules -= {Rule.SHORT}
    return Reading(
        rules, most, least, bool(BRIEF.search(text)) and not most, bool(TOPIC.search(text)), len(text.split())
    )


def clauses(text: str) -> list[tuple[str, int]]:
    """Cut a text into clauses, each with the place from which it is denied; -1 when it is not.

    A part of an enumeration without a verb of its own shares the denial of the part before it.
    """
    cut: list[tuple[str, int]] = []
    for sentence in re.split(r"[.!?;:\n](?:\s|$)|\n", text):
        denied = False
        for part in re.split(
            r",|\(|\)| — | - |(?<!nothing )(?<!anything )\bbut\b|\band (?=(?:never|do not|don't|avoid|no |leave|keep|use|answer|start|write|reply))",
            sentence,
        ):
            if not part.strip():
                continue
            match = DENIAL.search(part)
            if match is not None:
                cut.append((part, match.start()))
                denied = True
            elif denied and not VERB.search(part):
                cut.append((part, 0))
            else:
                cut.append((part, -1))
                denied = False
    return cut


def word_counts(text: str) -> tuple[int, int]:
    """Find the least and most words a name may have; 0 when nothing is said.

    >>> word_counts("at most five words"), word_counts("three to five words"), word_counts("fewer than 6 words")
    ((0, 5), (3, 5), (0, 5))
    """
    for match in COUNT.finditer(text):
        low, high = as_number(match["low"]), as_number(match["high"] or "")
        if not 1 <= low <= MOST_WORDS:
            continue
        if high:
            return low, high
        lead = match["lead"] or ""
        before = text[max(match.start() - 4, 0) : match.start()]
        if lead in ("more than", "over") and before.endswith("no "):
            return 0, low
        if lead in ("at least", "more than", "over", "minimum of"):
            return low, 0
        return (0, low - 1) if lead else (0, low)
    letters = CHARACTERS.search(text)
    return (0, max(int(letters["low"]) // LETTERS_A_WORD, 1)) if letters else (0, 0)


def as_number(word: str) -> int:
    """Read a number in digits or as a word; 0 when it is none."""
    return int(word) if word.isdigit() else NUMBER_WORDS.get(word, 0)
