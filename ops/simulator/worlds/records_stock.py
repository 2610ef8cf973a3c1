"""What a simulated generator may say about record lines: wise, idle and unwise sentences, and orders to an editor.

The generator picks sentences by the scorer's lost words alone; how far the task model heeds them is another mind's affair.
"""

from __future__ import annotations

SOUND: dict[str, tuple[str, ...]] = {
    "date-format": (
        "Write every date as YYYY-MM-DD.", "Use ISO format for the date.",
        "Give the date with the year first, then the month and the day.", "Dates go in as year, month and day, joined by hyphens.",
    ),
    "name-order": (
        "Write the family name first, then a comma and the given name.", "Put the surname before the given name.",
        "Names begin with the family name.", "The last name comes first, followed by a comma and the rest.",
    ),
    "unit-missing": (
        "Give every quantity with its unit.", "Keep the unit of measure beside the number.",
        "Never write a quantity without its unit.", "The unit follows the number.",
    ),
    "item-case": (
        "Write the item in lower case.", "Use small letters for the item.",
        "The name of the product stays in lowercase letters.", "Do not use capital letters for the item.",
    ),
    "currency-code": (
        "Give prices with the three-letter currency code.", "Write the currency as a code such as EUR or USD.",
        "Do not use currency symbols in the price.", "Prices have two decimals and the ISO code of the currency.",
    ),
    "phone-format": (
        "Write phone numbers in the international form.", "Put the phone number in E.164 form.",
        "Phone numbers start with a plus sign and the country prefix.", "Use a plus sign and digits alone for the telephone.",
    ),
    "code-format": (
        "Write the article code with capital letters, a hyphen and four digits.", "Pad the article code with zeros to four digits.",
        "Article codes look like AB-0042, with leading zeros.", "Give the product code with a hyphen and padded digits.",
    ),
    "language-code": (
        "Give the language as a two-letter code.", "Use the ISO code for the language.",
        "Abbreviate the language to two letters.", "Do not spell out the language.",
    ),
    "country-code": (
        "Give the country as a two-letter code.", "Use the ISO code of the country in capitals.",
        "Abbreviate the country to two capital letters.", "Do not write out the country.",
    ),
    "flag-missing": (
        "Mark urgent orders with flag=URGENT.", "Add a flag when the customer is in a hurry.",
        "If the note sounds urgent, set the flag.", "Never forget the flag of an urgent order.",
    ),
    "separator-wrong": (
        "Separate the parts with semicolons.", "Put a semicolon and a space between the parts.",
        "Join all parts by semicolons.", "Use semicolons, not slashes.",
    ),
    "extra-text": (
        "Answer with the record line only.", "Write nothing but the record.",
        "Do not add any explanation.", "Return just the line, without a comment.",
    ),
}  # fmt: skip
"""Four wordings of each rule, under the lost word that asks for it."""

NEUTRAL: tuple[str, ...] = (
    "Read the whole note first.", "Work carefully and consistently.", "You are a careful clerk in a warehouse.",
    "Good records help the people who pack the goods.", "Take the reader's point of view.", "Check your result before you send it.",
    "The notes come from many different people.", "Stay close to the facts of the note.", "Accuracy matters more than speed.",
    "Consider what the warehouse needs to know.", "Remember to drink enough water.", "Notes may contain small talk.",
)  # fmt: skip
"""Sentences that change nothing."""

HARMFUL: tuple[str, ...] = (
    "Explain your reasoning in front of the record.", "Think step by step and show each step.", "Be creative with the wording.",
    "Use synonyms to make the record more interesting.", "Make the line as short as possible.", "Leave out details that seem minor.",
    "Translate everything into French if you can.", "Answer in JSON.", "Use bullet points for the parts.",
    "Begin with a friendly greeting.", "Add a short summary at the end.", "Write everything in capital letters.",
    "Capitalize every word.", "Round the numbers to whole values.", "Guess missing values from the context.",
)  # fmt: skip
"""Sentences that sound helpful and do harm."""

OPENINGS: tuple[str, ...] = (
    "Turn the order note into one record line.", "Rewrite the note as a record of keys and values.",
    "Take the facts out of the order note and write them as a record.",
)  # fmt: skip
"""First sentences of an instruction written from nothing."""

MUTATIONS: tuple[str, ...] = (
    "Add one rule that would have prevented the mistakes.", "Rewrite the instruction so that it names the exact form of each part.",
    "Make every sentence a rule that can be checked.", "Shorten the instruction without losing a rule.",
    "State clearly what must not stand in the answer.", "Replace general advice by a concrete rule.",
    "Say for each part of the record how it is written.", "Put the most important rule first and drop the weakest one.",
)  # fmt: skip
"""Orders to an editor of instructions."""

CUES: dict[str, str] = {
    "date-format": r"\bformat of (?:the )?dates?|\bdates? (?:is|are|was|were|has|have|in) (?:in )?(?:the |a )?(?:wrong|bad) (?:format|form)",
    "name-order": r"\border of (?:the )?names?|\bnames? (?:is|are|was|were|in) (?:in )?(?:the )?wrong order",
    "unit-missing": r"\bmissing unit|\bno unit\b|\bunit (?:is|are|was|were) (?:missing|lost|dropped)|\blacks? (?:its|the|a) unit",
    "item-case": r"\bcase of (?:the )?item|\bitem (?:is|are|was|were|in) (?:in )?(?:the )?wrong case|\bitem (?:is|are|was|were) capitali[sz]ed",
    "currency-code": r"\bcode of (?:the )?currency|\bcurrency (?:is|are|was|were) (?:wrong|no code|a symbol)|\bno currency code",
    "phone-format": r"\bformat of (?:the )?phone|\bphone(?: number)? (?:is|are|was|were|in) (?:in )?(?:the |a )?wrong (?:format|form)",
    "code-format": r"\bformat of (?:the )?(?:article )?code|\b(?:article )?code (?:is|are|was|were|in) (?:in )?(?:the |a )?wrong (?:format|form)",
    "language-code": r"\bcode of (?:the )?language|\blanguage (?:is|are|was|were) (?:no code|spelled out|written out)",
    "country-code": r"\bcode of (?:the )?country|\bcountry (?:is|are|was|were) (?:no code|spelled out|written out)",
    "flag-missing": r"\bmissing flag|\bno flag\b|\bflag (?:is|are|was|were) (?:missing|lost|dropped)",
    "separator-wrong": r"\bwrong separators?|\bseparators? (?:is|are|was|were) wrong",
    "extra-text": r"\btext around the (?:record|line)|\bchatter\b|\btoo much text",
}
"""Plain words for each loss, beside its own lost word."""
