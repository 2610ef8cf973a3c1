"""The twelve rules of a record line and the habits that spoil it: how each is recognised in an instruction.

A rule is known by its *lost word*, which the scorer gives when the rule was missing. An instruction states a rule when one
of its sentences says it in any of many wordings; a negated sentence ("do not use ISO dates") takes the rule back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ops.simulator.worlds.coherence import incoherence
from ops.simulator.worlds.requests import sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, or one habit that does harm.

    Attributes:
        lost: the scorer's word for what is lost without the rule, or through the habit.
        key: the part of the record it is about; empty when it is about the whole line.
        rate: share of the concerned tasks that go wrong without the rule, or through the habit.
        says: patterns that state it, unless a negation stands before them.
        bans: patterns that state it by a negation of their own.
    """

    lost: str
    key: str = ""
    rate: float
    says: tuple[str, ...]
    bans: tuple[str, ...] = ()


NOT = r"\b(?:never|not|don't|no|avoid|without|nor)\b"

RULES: tuple[Rule, ...] = (
    Rule(lost="date-format", key="date", rate=0.18,
         says=(r"\biso\b(?:[ -]?8601)?.{0,30}\b(?:date|day)|\b(?:date|day)s?\b.{0,60}\biso\b", r"\byyyy\W?mm\W?dd\b",
               r"\b(?:date|day|calendar)s?\b.{0,50}\byear\b.{0,20}\bmonth\b.{0,20}\bday\b",
               r"\b(?:date|day)s?\b.{0,50}\byear (?:first|before|in front)", r"\byear[- ]first\b.{0,30}\bdate")),
    Rule(lost="name-order", key="name", rate=0.14,
         says=(r"\b(?:family|last) ?names?\b.{0,30}\b(?:first|in front|before|then|followed|comma|precedes?)\b", r"\bsurnames?\b.{0,30}\b(?:first|in front|before|then|followed|comma|precedes?)\b",
               r"\b(?:begin|start|lead|open)\w*\b.{0,30}\b(?:family name|last name|surname)\b", r"\b(?:given|first) names?\b.{0,20}\b(?:after|behind|last)\b")),
    Rule(lost="unit-missing", key="qty", rate=0.20,
         says=(r"\b(?:with|keep|add|include|state|write|append|put|give)\w*\b.{0,40}\bunits?\b", r"\b(?:quantit|amount|number)\w*\b.{0,50}\b(?:and|with|plus)\b.{0,15}\bunit",
               r"\bunits?(?: of measure(?:ment)?)?\b.{0,30}\b(?:after|beside|behind|follow\w*|belongs?|stays?)\b", r"\bevery (?:quantity|number)\b.{0,20}\bneeds\b.{0,10}\bunit"),
         bans=(rf"{NOT}.{{0,40}}\bwithout\b.{{0,15}}\bunit", rf"{NOT}.{{0,20}}\b(?:drop|omit|forget|leave out|lose|skip)\w*\b.{{0,30}}\bunit")),
    Rule(lost="item-case", key="item", rate=0.18,
         says=(r"\b(?:item|article|product|goods)\w*\b.{0,50}\b(?:lower[- ]?case|small letters)", r"\b(?:lower[- ]?case|small letters)\b.{0,50}\b(?:item|article|product|goods)"),
         bans=(rf"{NOT}.{{0,20}}\b(?:capitals?|capital letters?|upper[- ]?case|capitali[sz]\w*)\b.{{0,30}}\b(?:item|article|product|goods)",
               rf"\b(?:item|article|product|goods)\b.{{0,30}}{NOT}.{{0,20}}\b(?:capital|upper[- ]?case)")),
    Rule(lost="currency-code", key="price", rate=0.15,
         says=(r"\b(?:three|3)[- ](?:letter|character)\b.{0,25}\bcurrency", r"\bcurrency\b.{0,40}\b(?:code|three[- ]letter|abbreviation)", r"\biso\b.{0,15}\bcurrency",
               r"\b(?:price|amount|sum)s?\b.{0,60}\b(?:eur|usd|gbp)\b", r"\b(?:codes?|abbreviations?)\b.{0,30}\bcurrenc(?:y|ies)\b"),
         bans=(rf"{NOT}.{{0,20}}\b(?:currency|dollar|euro|money) (?:sign|symbol)s?\b",)),
    Rule(lost="phone-format", key="phone", rate=0.13,
         says=(r"\b(?:phone|telephone|tel)\w*\b.{0,60}\b(?:international|e\.?164|plus sign|leading \+|country prefix|with \+)", r"\b(?:international|e\.?164)\b.{0,40}\b(?:phone|telephone)",
               r"\bphone\b.{0,40}\+\d\d", r"\b(?:plus sign|\+)\W.{0,40}\b(?:phone|telephone)"),
         bans=(rf"{NOT}.{{0,30}}\b(?:spaces|brackets|dashes|double zero)\b.{{0,40}}\b(?:phone|telephone)",)),
    Rule(lost="code-format", key="code", rate=0.10,
         says=(r"\b(?:article|product|item)[- ](?:code|number)s?\b.{0,60}\b(?:four digits|leading zeros|zeros|padded|pad|hyphen|upper[- ]?case letters|capital letters)",
               r"\b(?:pad|fill)\b.{0,30}\b(?:article |product |item )?codes?\b", r"\b(?:four digits|leading zeros|padded|hyphen)\b.{0,40}\b(?:article|product|item)[- ]?(?:code|number)",
               r"\bcodes?\b.{0,40}\b(?:ab-\d{4}|aa-\d{4}|leading zeros|four digits)")),
    Rule(lost="language-code", key="lang", rate=0.08,
         says=(r"\blanguages?\b.{0,60}\b(?:two[- ]letter|2-letter|two letters|iso|code|abbreviat\w+)", r"\b(?:two[- ]letter|2-letter|two letters|iso|code|abbreviat\w+)\b[^,;]{0,40}\blanguages?\b", r"\blang\b.{0,40}\b(?:two|iso|code)\b"),
         bans=(rf"{NOT}.{{0,20}}\b(?:spell|write)\w* out\b.{{0,25}}\blanguage", rf"\blanguage\b.{{0,20}}{NOT}.{{0,20}}\b(?:in full|spelled out)")),
    Rule(lost="country-code", key="country", rate=0.06,
         says=(r"\b(?:country|countries|destination)\b.{0,50}\b(?:two[- ]letter|2-letter|two (?:capital )?letters|iso|code|abbreviat\w+)", r"\b(?:two[- ]letter|2-letter|two capital letters|iso|codes?|abbreviat\w+)\b[^,;]{0,40}\bcountr(?:y|ies)\b"),
         bans=(rf"{NOT}.{{0,20}}\b(?:spell|write)\w* out\b.{{0,25}}\bcountr", rf"\bcountry\b.{{0,20}}{NOT}.{{0,20}}\b(?:in full|spelled out)")),
    Rule(lost="flag-missing", key="flag", rate=0.16,
         says=(r"\b(?:mark|flag|tag|label)\w*\b.{0,40}\b(?:urgent|urgency|rush|express|hurr(?:y|ied))", r"\b(?:urgent|urgency|rush|express|hurry)\b.{0,50}\b(?:flag|mark|tag|flag=urgent)",
               r"\b(?:add|set|write|put)\b.{0,15}\bflag\b"),
         bans=(rf"{NOT}.{{0,25}}\b(?:forget|omit|lose|drop|overlook|leave out|miss)\w*\b.{{0,30}}\b(?:flag|urgen\w+)",)),
    Rule(lost="separator-wrong", rate=0.11,
         says=(r"\bsemi-?colons?\b",), bans=(rf"{NOT}.{{0,20}}\b(?:slash|slashes|commas)\b.{{0,30}}\bbetween\b",)),
    Rule(lost="extra-text", rate=0.16,
         says=(r"\b(?:only|just|solely)\b.{0,25}\b(?:record|line)\b", r"\b(?:record|line)\b.{0,40}\b(?:only|alone|nothing else|and nothing more)\b", r"\bnothing (?:but|except|other than)\b.{0,25}\b(?:record|line)\b",
               r"\b(?:omit|skip|leave out|drop)\b.{0,25}\b(?:greetings?|comments?|introductions?|explanations?)\b"),
         bans=(rf"{NOT}.{{0,25}}\b(?:explanations?|comments?|chatter|introductions?|greetings?|other text|extra text|anything else|additional text|text around)\b",)),
)  # fmt: skip
"""The rules in the order of their bits."""

HARMS: tuple[Rule, ...] = (
    Rule(lost="extra-text", rate=0.35,
         says=(r"\b(?:explain|show|describe|write down|justify)\b.{0,30}\b(?:reasoning|thinking|steps|choices|working|why)\b", r"\bstep[- ]by[- ]step\b", r"\bthink (?:out loud|aloud)\b")),
    Rule(lost="wrong-value", rate=0.22, says=(r"\b(?:be|get|feel)\b.{0,12}\bcreative\b", r"\b(?:vivid|poetic|evocative|flowery|colou?rful)\b", r"\bsynonyms?\b", r"\bimaginat\w+")),
    Rule(lost="part-missing", rate=0.20, says=(r"\bas (?:short|brief) as (?:possible|you can)\b", r"\b(?:shorten|summari[sz]e)\b.{0,30}\b(?:note|order|record|line|parts)\b", r"\bleave out\b.{0,20}\b(?:details|unimportant|minor)")),
    Rule(lost="wrong-value", rate=0.18, says=(r"\btranslate\b.{0,40}\b(?:french|german|spanish|english|language|everything)\b",)),
    Rule(lost="no-record", rate=0.30, says=(r"\b(?:in|as|into|return|use)\b.{0,20}\b(?:json|xml|yaml|markdown|html|bullet)\b", r"\b(?:bullet points?|bulleted list)\b")),
    Rule(lost="extra-text", rate=0.30, says=(r"\b(?:add|start|begin|include|open|end)\b.{0,25}\b(?:greeting|friendly|thank|polite|salutation|summary)\b", r"\bthank the customer\b")),
    Rule(lost="item-case", key="item", rate=0.45, says=(r"\b(?:everything|all (?:the )?(?:words|text|letters)|the (?:whole|entire) (?:line|record))\b.{0,25}\b(?:capitals?|capital letters|upper[- ]?case)\b", r"\bcapitali[sz]e\b.{0,20}\b(?:every|each|all)\b")),
    Rule(lost="wrong-value", rate=0.16, says=(r"\bround\b.{0,30}\b(?:number|amount|price|quantit|value|figure)", r"\b(?:approximate|estimate|guess)\b.{0,30}\b(?:number|amount|price|quantit|value|missing)")),
)  # fmt: skip
"""Habits that lower accuracy, in the order of their bits; no rule can undo them."""

OTHER_LOSSES = ("wrong-value", "part-missing", "no-record")
"""What the scorer may call lost besides the rules' own words."""

ALL_RULES = (1 << len(RULES)) - 1
LONG = 200  # words from which a prompt begins to lose accuracy
PER_WORD = 0.002  # share of all tasks that each further word costs
SALAD = 0.45  # incoherence from which a sentence is taken for word salad

AIMLESS = 0.9  # share of all tasks that a prompt loses when it never speaks of the task

_SUBJECT = re.compile(
    r"\b(?:notes?|orders?|records?|lines?|parts?|keys?|items?|dates?|names?|quantit(?:y|ies)|units?|prices?|phones?|countr(?:y|ies)|"
    r"languages?|currenc(?:y|ies)|semicolons?|codes?|flags?)\b",
    re.IGNORECASE,
)
_SAYS = tuple(tuple(re.compile(one, re.IGNORECASE) for one in rule.says) for rule in (*RULES, *HARMS))
_BANS = tuple(tuple(re.compile(one, re.IGNORECASE) for one in rule.bans) for rule in (*RULES, *HARMS))
_NEGATED = re.compile(
    r"\b(?:not|n't|never|avoid|without|no need|stop|instead of|rather than|nor)\b[^,;:]{0,40}$|n't\b[^,;:]{0,40}$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an instruction says, as far as the task model cares.

    Attributes:
        rules, harms: bit sets over `RULES` and `HARMS`.
        spoiled: share of all tasks that fail through length, word salad, or an instruction about something else.
    """

    rules: int
    harms: int
    spoiled: float


@lru_cache(maxsize=65_536)
def read_sentence(sentence: str) -> tuple[int, int, int]:
    """Give the bits of the rules that a sentence states, that it takes back, and of the harms it orders."""
    stated = denied = 0
    for bit, patterns in enumerate(_SAYS):
        matches = [match for pattern in patterns for match in pattern.finditer(sentence)]
        negated = [bool(_NEGATED.search(sentence[: match.start()])) for match in matches]
        if any(pattern.search(sentence) for pattern in _BANS[bit]) or not all(negated):
            stated |= 1 << bit
        elif negated:
            denied |= 1 << bit
    return stated & ALL_RULES, denied & ALL_RULES, stated >> len(RULES)


@lru_cache(maxsize=65_536)
def read_instruction(text: str) -> Reading:
    """Find the rules and the harms in an instruction, and how far it is too long or no language."""
    stated = denied = harms = salad = 0
    parts = sentences(text)
    for part in parts:
        says, denies, harm = read_sentence(part)
        stated, denied, harms = stated | says, denied | denies, harms | harm
        salad += len(part.split()) * (incoherence(part) >= SALAD)
    words = sum(len(part.split()) for part in parts)
    aimless = 0.0 if _SUBJECT.search(text) else AIMLESS
    broken = incoherence(text) >= SALAD or not words
    spoiled = 1.0 if broken else min(1.0, 2.0 * salad / words + PER_WORD * max(words - LONG, 0) + aimless)
    return Reading(stated & ~denied, harms, spoiled)
