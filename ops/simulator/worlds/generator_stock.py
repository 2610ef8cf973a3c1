"""What a small model may say about naming files: sentences of all kinds, as people write them, wise and unwise ones.

The sentences know nothing of how a prompt is obeyed; that is another mind's affair.
"""

from __future__ import annotations

from dataclasses import dataclass

from ops.simulator.worlds.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence about a topic; `sound` is whether an experienced person would agree with it."""

    topic: str
    text: str
    sound: bool


def _all(topic: str, sound: bool, *texts: str) -> tuple[Sentence, ...]:  # noqa: FBT001 - a table reads best without names
    return tuple(Sentence(topic, text, sound) for text in texts)


NAMING: tuple[Sentence, ...] = (
    *_all("case", True,
          "Write the name in kebab-case.", "Join the words with hyphens and use lowercase letters only.",
          "Use small letters with dashes between the words.", "Format the result as a lowercase slug with hyphens.",
          "Separate words with single hyphens, never with spaces or underscores.", "Do not use capital letters or underscores."),
    *_all("extension", True,
          "Keep the original file extension.", "The new name must end with the same extension as the original file.",
          "Do not change the extension.", "Preserve the extension of the file exactly as it was.",
          "Leave the file extension unchanged."),
    *_all("length", True,
          "Use at most five words.", "Limit the name to five words.", "Use three to five words.", "Keep it to no more than five words.",
          "A good name has four or five words.", "Stay under 45 characters."),
    *_all("filler", True,
          "Leave out filler words such as 'screenshot of' and articles.", "Skip articles, prepositions and other small words.",
          "Do not include words like 'image', 'picture' or 'showing'.", "Keep only the meaningful words.",
          "Remove stop words and anything that adds no meaning.", "Use only the most important keywords."),
    *_all("words", True,
          "Use words from the description.", "Take the terms from the description instead of inventing new ones.",
          "Do not replace words by synonyms.", "Stick to the exact words of the caption.", "Never make up words that are not in the description."),
    *_all("order", True,
          "Put the main subject first.", "Begin with the most important thing, in the order of the description.",
          "Start with the main subject and keep the words in the same order."),
    *_all("only", True,
          "Answer with the file name only.", "Reply with nothing but the new file name.", "Do not add any explanation or other text.",
          "Return only the filename on a single line.", "Give just the name, without a comment."),
    *_all("quotes", True, "Do not put quotes around the name.", "No quotation marks or backticks."),
    *_all("numbers", True,
          "Keep numbers and version markers.", "Preserve digits such as step numbers and versions.", "Never drop numbers or versions."),
    *_all("specific", True,
          "Be specific about what the picture shows.", "Avoid generic names such as image or untitled.",
          "The name should describe the content precisely.", "Make the name descriptive enough to find the file again."),
    *_all("short forms", True, "Use common abbreviations for product names.", "Prefer well-known acronyms and short forms."),
    *_all("neutral", True,
          "Think carefully before you answer.", "You are a helpful assistant for organising files.",
          "A good file name helps people to find things.", "Read the description first.", "Take the reader's point of view.",
          "Work carefully and consistently."),
    *_all("date", False, "Add today's date to the name.", "Include the date in the format YYYY-MM-DD.", "End the name with a timestamp."),
    *_all("bad case", False,
          "Write the name in camelCase.", "Use underscores between the words.", "Capitalize every word of the title.", "Write everything in upper case."),
    *_all("too short", False, "Make the name as short as possible.", "Use one or two words.", "A single word is enough."),
    *_all("prefix", False, "Start every name with the prefix img.", "Add a prefix to each file name."),
    *_all("flowery", False,
          "Be creative and choose evocative words.", "Use synonyms to make the name more interesting.", "Invent a catchy title.",
          "Describe the mood in poetic language."),
    *_all("irrelevant", False,
          "Remember to drink enough water.", "The weather often changes in spring.", "Translate the answer into French if you can.",
          "Use two spaces for indentation.", "Consider the budget of the project."),
)  # fmt: skip
"""Sentences on naming files, and some that have strayed in."""

GENERAL: tuple[Sentence, ...] = (
    *_all("only", True, "Answer with JSON only.", "Return nothing but valid JSON.", "Do not add any text before or after the JSON.",
          "Give only the result, without an explanation."),
    *_all("words", True, "Use the words of the input.", "Do not invent anything that is not in the input.", "Quote names and numbers exactly."),
    *_all("length", True, "Keep each item under ten words.", "Be concise."),
    *_all("specific", True, "List every item that is asked for.", "Name who does what, and by when.", "Leave nothing important out."),
    *_all("case", True, "Begin each item with a verb.", "Follow the given format exactly."),
    *_all("order", True, "Keep the order of the input.", "Put the most important item first."),
    *_all("filler", True, "Leave out greetings and small talk.", "Skip everything that asks nobody to do anything."),
    *_all("neutral", True, "Read the whole input first.", "Work carefully.", "You are a precise assistant."),
    *_all("flowery", False, "Be creative.", "Write a vivid story around the facts.", "Explain your answer at length."),
    *_all("irrelevant", False, "Remember to drink enough water.", "Use two spaces for indentation.", "Mention the weather."),
)  # fmt: skip
"""Sentences for any other task."""

MUTATIONS: tuple[str, ...] = (
    "Rewrite the instruction so that it names the exact form of the answer.",
    "Add one rule that would have prevented the mistakes.", "Make every sentence a rule that can be checked.",
    "Shorten the instruction without losing a rule.", "Say more precisely which words to keep and which to leave out.",
    "Add a limit on the length of the answer.", "Put the most important rule first and drop the weakest one.",
    "State clearly what must not appear in the answer.", "Replace general advice by a concrete rule.",
    "Explain what has to stay unchanged.", "Combine rules that say nearly the same.", "Describe what a perfect answer looks like.",
)  # fmt: skip
"""Orders to an editor of instructions."""

SALAD: tuple[str, ...] = tuple(
    sorted(
        vocabulary(
            "lantern copper drift seven quick under maps blue verb cotton the of river glass into paper run never oxide",
            "window with marble slowly harbor and fig tangent to winter spool green between mostly is cracked a pillow",
            "engine about saffron orbit",
        )
    )
)
"""Words of no text in particular."""
