"""What makes a prompt suspect without making it gibberish: talk about itself, words to its judge, another subject.

These signs flag and never refuse: a good prompt may say "here is" too. They go with the variant, for the judge's question
on "only instructions" and for whoever reads it.
"""

from __future__ import annotations

import re

import numpy as np

from pipeline.algorithms.similarity import hashed_ngrams
from pipeline.algorithms.text_signals import Sign, content_words

CHATTER, INJECTION, RELEVANCE = "chatter", "injection", "relevance"

_MOST_CHARS = 65_536  # of a text that are looked at
_RELEVANT = 0.06  # cosine with the parent: of 84 real changes the least has 0.062, of 4 unrelated texts the most 0.058
_LEAST_WORDS = 5  # content words of both; fewer have too few letters to be compared

_CHATTER = (
    ("an opening", r"^[^\w\n]{0,40}(?:sure|certainly|of course|okay|absolutely)\b\s*[!,.:]|^[^\w\n]{0,40}(?:i'm|i am) sorry\b"),
    (
        "an announcement",
        (r"\bhere(?:'s| is| are) (?:an?|the|some|three|two|your|my)\b.{0,60}\b(?:prompts?|versions?|variants?|instructions?|file ?names?|(?:re)?named|"
        r"alternatives?|suggestions?)\b"),
    ),
    ("a closing", r"\blet me know\b|\bi hope (?:this|that|it)\b|\bfeel free to (?:ask|contact|reach)\b|\bhappy to help\b"),
    ("talk of itself", r"\bas an? (?:ai|a\.i\.|artificial|large)\b|\b(?:i (?:can't|cannot|am unable to|do not have access)|language model)\b"),
    (
        "praise of itself",
        (r"\bthis (?:new |revised |improved )?(?:prompt|variant|version|instruction) (?:is|was|works|fixes|improves|makes|will)\b|"
        r"\bworks better because\b|\bimproved version of\b"),
    ),
    ("a heading of a reply", r"^[^\S\n]{0,40}(?:reasoning|explanation|rationale|variant_\w+|new prompt|improved prompt)\s*:"),
    ("a blank to be filled", r"\[your [a-z ]{1,30}\]|\[why [a-z ]{1,30}\]|\[insert [a-z ]{1,30}\]"),
    ("an account of failures", r"\bthe failures? (?:happened|occurred|was|were)\b|\bfailed because\b"),
)  # fmt: skip
_FILE_ALONE = re.compile(r"\s*[\"'`]?[\w-]{1,120}\.[A-Za-z0-9]{2,5}[\"'`]?\s*")
_INJECTION = (
    ("words to a judge", r"\b(?:note|message|instruction|attention|dear)s?\b[^.\n]{0,20}\b(?:evaluators?|judges?|graders?|reviewers?|raters?|scorers?)\b"),
    (
        "an order to a judge",
        (r"\b(?:answer|say|reply|respond|vote)\b[^.\n]{0,20}\b(?:yes|no|true)\b[^.\n]{0,30}\b(?:every|all|each|any)\b[^.\n]{0,20}\bquestions?\b|"
        r"\b(?:give|assign|award|rate|score|grade|mark)\b[^.\n]{0,40}\b(?:(?:highest|maximum|top|perfect|best possible|full) (?:score|marks?|rating|grade)|"
        r"100 ?(?:/|out of) ?100|10 ?/ ?10|five stars|as (?:excellent|perfect))"),
    ),
    ("a claim of approval", r"\b(?:verified|approved|certified|validated|endorsed|pre-?approved)\b[^.\n]{0,20}\b(?:by|as)\b[^.\n]{0,20}\b(?:experts?|humans?|openai|anthropic|the (?:team|authors?))\b"),
)  # fmt: skip
_PATTERNS = tuple(
    (flag, tuple((what, re.compile(pattern, re.IGNORECASE | re.MULTILINE)) for what, pattern in group))
    for flag, group in ((CHATTER, _CHATTER), (INJECTION, _INJECTION))
)


def flags(text: str, parent: str = "") -> tuple[Sign, ...]:
    """Return what makes *text* suspect, at most one sign of each kind.

    Args:
        text: a prompt's rules.
        parent: the rules that it comes from; without any its relevance is not looked at.

    >>> [str(sign) for sign in flags("Sure! Here is the new prompt: name the file.")]
    ['chatter (an opening; an announcement)']
    >>> flags("Name the file after what it shows.")
    ()
    """
    text = text[:_MOST_CHARS]
    found: list[Sign] = []
    for flag, patterns in _PATTERNS:
        seen = [what for what, pattern in patterns if pattern.search(text)]
        if flag == CHATTER and _FILE_ALONE.fullmatch(text):
            seen.append("an answer in place of rules")
        if seen:
            found.append(Sign(flag, "; ".join(seen)))
    return (*found, *_irrelevant(text, parent[:_MOST_CHARS]))


def relevance(text: str, parent: str) -> float:
    """Return how alike two prompts are by the hashed letters of their content words, a cosine in [-1, 1]."""
    return _alike(content_words(text), content_words(parent))


def _alike(words: list[str], others: list[str]) -> float:
    return float(np.dot(hashed_ngrams(" ".join(words)), hashed_ngrams(" ".join(others))))


def _irrelevant(text: str, parent: str) -> tuple[Sign, ...]:
    words, others = content_words(text), content_words(parent)
    if min(len(words), len(others)) < _LEAST_WORDS:
        return ()
    alike = _alike(words, others)
    return (Sign(RELEVANCE, f"{alike:.2f} like its parent; at least {_RELEVANT:.2f}"),) if alike < _RELEVANT else ()
