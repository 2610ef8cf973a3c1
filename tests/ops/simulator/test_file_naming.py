"""The naming mind on 230 real pairs: better prompts score better, by the rules in them and by nothing else."""

from __future__ import annotations

import re
import statistics
from collections import Counter

import pytest

from ops.simulator.world import Ask, Message
from ops.simulator.worlds.file_naming import FileNamingWorld
from ops.simulator.worlds.frames import taken_apart
from ops.simulator.worlds.generator_stock import NAMING
from ops.simulator.worlds.naming_rules import Rule, read_rules, word_counts

QWEN = "qwen2.5-coder:3b"
SEED = "Generate a descriptive filename based on visual content."
MID = "Rename the file by its content. Use kebab-case."
BEST = (
    f"{SEED} Use kebab-case. Leave out filler words such as 'screenshot of' and articles. Use at most five words taken from "
    "the description, main subject first. Keep the original extension. Use well-known abbreviations. "
    "Answer with the file name only."
)
GIBBERISH = (
    "lantern of the copper seven drift quick under maps the of",
    "name the name the name the name the name the name the name the",
    "#@ kebab $$ qwrtz %% ~~ xvqk",
    "The weather is often nice in spring and people go for long walks.",
)


def stem(word: str) -> str:
    """Take light endings off a word."""
    for ending in ("ing", "ies", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(name: str) -> Counter[str]:
    """Count the stems of a name's words."""
    return Counter(stem(word) for word in re.split(r"[-_\s]+", name.lower()) if word)


def correct(answer: str, pair: dict[str, str]) -> bool:
    """Tell whether stem F1 is at least 0.5 and the extension is the original one."""
    found, accepted = stems(answer.rpartition(".")[0]), stems(pair["accepted_name"].rpartition(".")[0])
    shared = sum((found & accepted).values())
    kept = answer.rpartition(".")[2] == pair["original_name"].rpartition(".")[2]
    return kept and 2 * shared >= 0.5 * (sum(found.values()) + sum(accepted.values()))


def answer(world: FileNamingWorld, prompt: str, pair: dict[str, str], seed: int = 1, temperature: float = 0.0) -> str:
    """Let the world name one file."""
    text = (
        f"{prompt}\n---\nDescription: {pair['description']}\nOriginal name: {pair['original_name']}\n\nNew file name:"
    )
    ask = Ask(tag=QWEN, messages=(Message("user", text),), seed=seed, temperature=temperature)
    return "".join(token.text for token in world.answer(ask).tokens)


def accuracy(world: FileNamingWorld, prompt: str, pairs: list[dict[str, str]]) -> float:
    """Share of pairs that a prompt gets right."""
    return statistics.fmean(correct(answer(world, prompt, pair), pair) for pair in pairs)


def test_the_seed_prompt_is_mediocre(world: FileNamingWorld, pairs: list[dict[str, str]]) -> None:
    """Between 0.50 and 0.70 on the 230 pairs."""
    assert 0.50 <= accuracy(world, SEED, pairs) <= 0.70


def test_naming_the_format_helps(world: FileNamingWorld, pairs: list[dict[str, str]]) -> None:
    """The middling prompt is between 0.60 and 0.74."""
    assert 0.60 <= accuracy(world, MID, pairs) <= 0.74


def test_the_best_combination_is_good(world: FileNamingWorld, pairs: list[dict[str, str]]) -> None:
    """All good rules together reach 0.80, and no prompt is perfect."""
    assert 0.80 <= accuracy(world, BEST, pairs) <= 0.88


@pytest.mark.parametrize("prompt", GIBBERISH)
def test_gibberish_fails(world: FileNamingWorld, pairs: list[dict[str, str]], prompt: str) -> None:
    """Salad, loops, noise and other subjects stay at or below 0.35."""
    assert accuracy(world, prompt, pairs) <= 0.35


def test_the_calibration_does_not_hang_on_one_seed(pairs: list[dict[str, str]]) -> None:
    """Over four worlds the means keep their order and their places."""
    worlds = [FileNamingWorld(seed=seed) for seed in range(20, 24)]
    seed, mid, best = (statistics.fmean(accuracy(one, text, pairs) for one in worlds) for text in (SEED, MID, BEST))

    assert 0.48 < seed < 0.60 < mid + 0.04 < 0.74
    assert seed + 0.04 < mid < best - 0.10


@pytest.mark.parametrize(
    "harm",
    [
        "Add today's date.", "Write it in camelCase.", "Make it as short as possible.", "Start with the prefix img.",
        "Be creative and use synonyms.", "Write everything in upper case.",
    ],
)  # fmt: skip
def test_harmful_rules_are_obeyed_too(world: FileNamingWorld, pairs: list[dict[str, str]], harm: str) -> None:
    """Each of them costs at least five points."""
    assert accuracy(world, f"{SEED} {harm}", pairs) < accuracy(world, SEED, pairs) - 0.05


@pytest.mark.parametrize(
    "help_",
    [
        "Leave out filler words and articles.",
        "Use common abbreviations.",
        "Use words from the description.",
        "Use at most five words.",
    ],
)
def test_good_rules_help(world: FileNamingWorld, pairs: list[dict[str, str]], help_: str) -> None:
    """Each of them gains by itself."""
    assert accuracy(world, f"{SEED} {help_}", pairs) > accuracy(world, SEED, pairs) + 0.01


def test_long_and_crowded_prompts_are_obeyed_less(world: FileNamingWorld, pairs: list[dict[str, str]]) -> None:
    """The same rules buried in 200 words are worth less."""
    buried = f"{BEST} " + "Think of the person who will look for this file one day. " * 18

    assert accuracy(world, buried, pairs) < accuracy(world, BEST, pairs) - 0.02


def test_paraphrases_behave_alike(world: FileNamingWorld, pairs: list[dict[str, str]]) -> None:
    """Nine answers in ten stay the same when a prompt is only reworded."""
    other = SEED.replace("Generate", "Please create").replace("filename", "file name")
    same = statistics.fmean(answer(world, SEED, pair) == answer(world, other, pair) for pair in pairs)

    assert 0.9 < same < 1.0


def test_seeds_vary_the_answers_only_above_temperature_zero(
    world: FileNamingWorld, pairs: list[dict[str, str]]
) -> None:
    """Greedy answers are equal under all seeds, drawn ones are not."""
    assert all(answer(world, SEED, pair, 1) == answer(world, SEED, pair, 2) for pair in pairs[:40])
    assert any(answer(world, SEED, pair, 1, 0.7) != answer(world, SEED, pair, 2, 0.7) for pair in pairs[:40])


WORDINGS = {
    Rule.KEBAB: ["Use kebab-case.", "Join words with hyphens.", "Separate words by dashes.", "Write it as a slug.", "Hyphens instead of underscores."],
    Rule.LOWER: ["Use lowercase.", "Write lower-case letters.", "Only small letters.", "No capital letters.", "Never use uppercase."],
    Rule.EXTENSION: [
        "Keep the original extension.", "Do not change the extension.", "Preserve the file's extension.", "The extension must stay the same.",
        "End with the same file extension.", "Never drop the suffix.",
    ],
    Rule.FILLER: [
        "Leave out filler words.", "Skip articles and prepositions.", "Do not write 'screenshot of'.", "Remove stop words.",
        "Use only the keywords.", "Avoid words like image or picture.",
    ],
    Rule.SUBJECT: [
        "Put the main subject first.", "Start with the main subject.", "Begin with the most important word.", "Keep the order of the description.",
        "The subject comes first.",
    ],
    Rule.ONLY: [
        "Answer with the file name only.", "Return only the filename.", "Reply with nothing but the name.", "Do not explain.",
        "No commentary.", "Output just the new name.", "Give a single line.",
    ],
    Rule.BARE: ["No quotes.", "Without quotation marks.", "Do not use quotes.", "Avoid backticks.", "Do not put it in quotes."],
    Rule.OWN_WORDS: [
        "Use words from the description.", "Do not invent words.", "Never use synonyms.", "Use the exact words.",
        "Take terms from the caption.", "Do not paraphrase.",
    ],
    Rule.NUMBERS: ["Keep numbers.", "Preserve version markers.", "Do not drop digits.", "Numbers must be kept.", "Include version numbers."],
    Rule.SPECIFIC: ["Be specific.", "Avoid generic names.", "Use a descriptive name.", "Say what the image shows.", "Be precise.", "Not vague."],
    Rule.ABBREVIATIONS: [
        "Use abbreviations.", "Prefer acronyms.", "Use common short forms.", "Abbreviate product names.", "Use the usual shorthand.",
    ],
    Rule.DATE: ["Add the date.", "Include today's date.", "Append a timestamp.", "Put the day, month and year.", "Begin with YYYY."],
    Rule.CAMEL: ["Use camelCase.", "Write in camel case.", "PascalCase please.", "Apply pascal case.", "Format: camelCase."],
    Rule.SNAKE: ["Use underscores.", "snake_case please.", "Join with underscores.", "Use snake case.", "Put an underscore between words."],
    Rule.TITLE: ["Use Title Case.", "Capitalize each word.", "Capitalise every word.", "Write in title case.", "Capitalize the first letter."],
    Rule.UPPER: ["Use uppercase.", "Write in upper case.", "All caps.", "Use capital letters.", "In capitals."],
    Rule.SHORT: ["Make it very short.", "As short as possible.", "Use one or two words.", "A single word.", "The shortest name."],
    Rule.PREFIX: ["Add a prefix.", "Start with img.", "Use the prefix img.", "Begin with 'image'.", "Prefix it with img."],
    Rule.FLOWERY: ["Be creative.", "Use synonyms.", "Be poetic.", "Choose evocative words.", "In your own words.", "Invent a title."],
}  # fmt: skip


@pytest.mark.parametrize("rule", WORDINGS)
def test_each_rule_is_understood_in_five_wordings(rule: Rule) -> None:
    """Every wording of the table is read as its rule."""
    assert len(WORDINGS[rule]) >= 5
    assert [text for text in WORDINGS[rule] if rule not in read_rules(text).rules] == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Never add a date.", Rule.DATE),
        ("Do not use camelCase.", Rule.CAMEL),
        ("Use hyphens, never spaces, underscores or capitals.", Rule.SNAKE),
        ("Avoid synonyms.", Rule.FLOWERY),
        ("No prefix.", Rule.PREFIX),
        ("Do not write in upper case.", Rule.UPPER),
        ("Keep the filler words.", Rule.FILLER),
    ],
)
def test_a_denied_rule_is_not_followed(text: str, rule: Rule) -> None:
    """A denial takes the rule back, also further along an enumeration."""
    assert rule not in read_rules(text).rules


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("use at most five words", (0, 5)),
        ("three to five words", (3, 5)),
        ("3-5 words", (3, 5)),
        ("no more than 6 words", (0, 6)),
        ("fewer than six words", (0, 5)),
        ("at least two words", (2, 0)),
        ("four lowercase words", (0, 4)),
        ("under 40 characters", (0, 5)),
        ("be brief", (0, 0)),
    ],
)
def test_numbers_of_words_are_understood(text: str, counts: tuple[int, int]) -> None:
    """Digits, number words, ranges and limits are read as least and most."""
    assert word_counts(text) == counts


def test_the_task_mind_understands_the_sound_sentences() -> None:
    """Whatever the generator says that is sound and no platitude can be obeyed."""
    sound = [one for one in NAMING if one.sound and one.topic != "neutral"]
    understood = [one for one in sound if read_rules(one.text.lower()).rules or read_rules(one.text).most]

    assert len(understood) == len(sound)


def test_frames_are_read_in_any_order() -> None:
    """Labels may change places; text after the mark belongs to the input."""
    frame = taken_apart("Name it.\n---\nOriginal name: a.png\nDescription: a red\nbus")

    assert (frame.instruction, frame.description, frame.original_name) == ("Name it.", "a red bus", "a.png")
    assert taken_apart("Name it.\nCaption: a cat").description == "a cat"
