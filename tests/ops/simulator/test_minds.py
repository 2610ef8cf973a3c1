"""The minds behind the models: deterministic, independent of one another, and right as often as set."""

from __future__ import annotations

import ast
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

import ops.simulator
from ops.simulator.world import Ask, Message, pieces
from ops.simulator.worlds.coherence import incoherence
from ops.simulator.worlds.embedding import hashed_vector
from ops.simulator.worlds.file_naming import FileNamingWorld
from ops.simulator.worlds.generator_mind import Rates
from ops.simulator.worlds.generator_stock import NAMING
from ops.simulator.worlds.json_tasks import JsonTasksWorld
from ops.simulator.worlds.requests import sentences

ROOT = Path(ops.simulator.__file__).parent
QWEN, SMOL = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M"
PARENT = "Generate a descriptive filename based on visual content. Use at most five words."
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "maxLength": 60},
            **{name: {"type": "integer", "minimum": 0, "maximum": 100} for name in ("coherence", "actionability", "specificity", "overall")},
        },
    }
)  # fmt: skip


def said(world: FileNamingWorld, text: str, tag: str = QWEN, **keys: Any) -> str:
    """Ask a world and join what it says."""
    return "".join(token.text for token in world.answer(Ask(tag=tag, messages=(Message("user", text),), **keys)).tokens)


def mutation(parent: str = PARENT, failures: str = "", task: str = "direct") -> str:
    """Write a request for a new instruction."""
    fence = f"<<<FAILURES\n{failures}\nFAILURES>>>\n" if failures else ""
    return f"TASK: {task}\nThe task: name files by their content\n<<<PROMPT\n{parent}\nPROMPT>>>\n{fence}INSTRUCTION MUTANT:"


def children(world: FileNamingWorld, count: int = 400, **keys: Any) -> list[str]:
    """Ask for many children."""
    return [said(world, mutation(**keys), SMOL, seed=seed) for seed in range(count)]


def judged(world: FileNamingWorld, candidate: str, **keys: Any) -> dict[str, Any]:
    """Let the judge rate a candidate."""
    text = f"TASK: judge\nThe task it is for: name files by their content\n<<<PROMPT\n{candidate}\nPROMPT>>>"
    return json.loads(said(world, text, schema=SCHEMA, **keys))


def test_equal_worlds_answer_equally(world: FileNamingWorld) -> None:
    """Another instance with the same seed writes the same; another seed another text."""
    ask = {"text": mutation(), "tag": SMOL, "seed": 5}

    assert said(world, **ask) == said(FileNamingWorld(seed=7), **ask)
    assert len({said(FileNamingWorld(seed=seed), **ask) for seed in range(8)}) > 1


def test_at_temperature_zero_the_seed_does_not_matter(world: FileNamingWorld) -> None:
    """Greedy decoding has no chance to draw; any other temperature has."""
    assert len({said(world, mutation(), SMOL, seed=seed, temperature=0.0) for seed in range(8)}) == 1
    assert len({said(world, mutation(), SMOL, seed=seed) for seed in range(8)}) > 3


def test_pieces_join_to_the_text() -> None:
    """Cutting into tokens loses nothing."""
    text = "Ein Ding, 123 süße\n\n Wörter_x —\tund mehr"

    assert "".join(pieces(text)) == text


def test_the_simulator_imports_none_of_the_product() -> None:
    """No module of it imports the worker's libraries or the floors above and below it."""
    imported = {name for file in ROOT.rglob("*.py") for name in imports(file)}

    assert not {name.split(".")[0] for name in imported} & {"rq", "redis", "ollama", "workers", "pipeline", "models"}


def test_the_generator_does_not_know_how_prompts_are_obeyed() -> None:
    """Neither its mind nor its stock can reach the task mind's rules, not even through others."""
    reached, todo = set(), ["ops.simulator.worlds.generator_mind", "ops.simulator.worlds.generator_stock"]
    while todo:
        name = todo.pop()
        file = ROOT.parents[1] / (name.replace(".", "/") + ".py")
        if name not in reached and file.exists():
            reached.add(name)
            todo += imports(file)

    assert not [name for name in reached if "naming_" in name]


def imports(file: Path) -> list[str]:
    """Name all modules that a file imports."""
    names = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module)
    return names


def test_the_generator_keeps_to_its_rates(world: FileNamingWorld) -> None:
    """Of 400 children about 12 % are gibberish and 20 % copies or paraphrases (three standard errors)."""
    nothing = {"edited": 0.0, "gibberish": 0.0, "redundant": 0.0, "malformed": 0.0}
    texts = children(world)

    for kind, rate in (("gibberish", 0.12), ("redundant", 0.2)):
        pure = children(FileNamingWorld(seed=7, rates=Rates(**nothing | {kind: 1.0})))
        share = statistics.fmean(text == other for text, other in zip(texts, pure, strict=True))
        assert abs(share - rate) < 3 * math.sqrt(rate * (1 - rate) / 400)


def test_the_rates_can_be_set() -> None:
    """A generator that only copies and paraphrases brings nothing new."""
    world = FileNamingWorld(rates=Rates(edited=0.0, gibberish=0.0, redundant=1.0, malformed=0.0))

    assert {len(sentences(text.removeprefix("Please do the following. "))) for text in children(world, 50)} == {2}


def test_gibberish_is_unlikely_and_loops_are_certain() -> None:
    """Mean log-probabilities order as they do for models: salad below fluent text below loops."""
    world = FileNamingWorld(rates=Rates(edited=0.0, gibberish=1.0, redundant=0.0, malformed=0.0))
    fluent = FileNamingWorld(rates=Rates(edited=1.0, gibberish=0.0, redundant=0.0, malformed=0.0))

    def means(source: FileNamingWorld) -> list[float]:
        answers = [
            source.answer(Ask(tag=SMOL, messages=(Message("user", mutation()),), seed=seed)) for seed in range(60)
        ]
        return [statistics.fmean(token.logprob for token in answer.tokens) for answer in answers]

    noisy = means(world)
    assert all(-0.9 < value < -0.2 for value in means(fluent))
    assert min(noisy) < -2.5
    assert max(noisy) > -0.1


@pytest.mark.parametrize(
    ("cue", "words"),
    [
        ("extension in 5 of 9", "extension"),
        ("too-long in 4 of 9", "words"),
        ("chatter in 4 of 9", "only"),
        ("case in 3 of 9", "hyphen"),
    ],
)
def test_failures_direct_the_generator(world: FileNamingWorld, cue: str, words: str) -> None:
    """A cue in the failures makes sentences on its subject much more frequent."""
    parent = "Give the file a name."
    told = sum(words in text for text in children(world, 150, parent=parent, failures=f"What was lost: {cue}"))
    untold = sum(words in text for text in children(world, 150, parent=parent))

    assert told > 1.5 * untold


def test_crossover_merges_both_parents(world: FileNamingWorld) -> None:
    """Most children hold sentences of either parent and no others."""
    text = mutation(
        parent="Name the file. Use hyphens.\nPROMPT>>>\n<<<PROMPT\nRename it. Keep the extension.", task="crossover"
    )
    parts = [set(sentences(said(world, text, SMOL, seed=seed))) for seed in range(100)]
    pure = [
        found for found in parts if found <= {"Name the file.", "Use hyphens.", "Rename it.", "Keep the extension."}
    ]

    assert len(pure) > 60
    assert any("Keep the extension." in found and "Use hyphens." in found for found in pure)


def test_zero_order_writes_a_numbered_list(world: FileNamingWorld) -> None:
    """Without a parent the generator lists instructions."""
    texts = [said(world, "TASK: zero-order\nThe task: name files\n1.", SMOL, seed=seed) for seed in range(40)]

    assert sum(text.startswith("1. ") and "\n2. " in text for text in texts) > 24


def test_a_mutation_prompt_is_one_order(world: FileNamingWorld) -> None:
    """`TASK: mutation-prompt` gives a sentence to an editor, not an instruction on file names."""
    text = "TASK: mutation-prompt\nThe task: name files\n<<<MUTATION\nMake it short.\nMUTATION>>>"
    texts = [said(world, text, SMOL, seed=seed) for seed in range(40)]

    assert sum("\n" not in one and incoherence(one) < 0.45 for one in texts) > 30


def test_the_generator_adapts_to_other_tasks(world: FileNamingWorld) -> None:
    """A parent about transcripts gets no rules on file names."""
    text = "TASK: direct\nThe task: list actions\n<<<PROMPT\nList what must be done.\nPROMPT>>>"

    assert not any("kebab" in said(world, text, SMOL, seed=seed) for seed in range(60))


def test_the_stock_is_rich_and_mixed() -> None:
    """At least forty sentences, sound ones and others, without repetition."""
    assert len({sentence.text for sentence in NAMING}) == len(NAMING) >= 40
    assert 8 < sum(not sentence.sound for sentence in NAMING) < len(NAMING) / 2


GOOD = [
    f"Name the file by its content. {first} {second}"
    for first in ("Use kebab-case.", "Keep the extension.", "Use at most five words.", "Leave out articles.", "Avoid generic names.")
    for second in (
        "Answer with the name only.", "Put the main subject first.", "Do not add any explanation.", "Keep numbers.",
        "Take the words from the description.", "Use lowercase letters.", "Be specific.", "Never use spaces.",
    )
]  # fmt: skip
BAD = [
    text
    for number in range(10)
    for text in (
        f"lantern {number} copper drift of the under maps the of cotton with",
        f"name the file {number} name the file {number} name the file {number} name the file {number} name the file",
        f"The weather is often nice in month {number}.",
        f"@@# {number} $$ %% && ** ~~ xx zz qq vv",
    )
]


def test_the_judge_is_right_as_often_as_set(world: FileNamingWorld) -> None:
    """Forty good and forty bad candidates: within three standard errors of 0.9 and 0.8."""
    right_on_good = statistics.fmean(judged(world, text)["overall"] >= 60 for text in GOOD)
    right_on_bad = statistics.fmean(judged(world, text)["overall"] < 60 for text in BAD)

    assert abs(right_on_good - 0.9) < 3 * math.sqrt(0.9 * 0.1 / 40)
    assert abs(right_on_bad - 0.8) < 3 * math.sqrt(0.8 * 0.2 / 40)


def test_a_perfect_judge_can_be_set() -> None:
    """With rates of 1 every verdict is right, and stays within its band."""
    world = FileNamingWorld(tpr=1.0, tnr=1.0)

    assert all(65 <= judged(world, text)["overall"] <= 95 for text in GOOD)
    assert all(10 <= judged(world, text)["overall"] <= 55 for text in BAD)


def test_the_verdict_follows_the_schema(world: FileNamingWorld) -> None:
    """Names and order are the schema's, and so are the bounds."""
    verdict = judged(world, GOOD[0])

    assert list(verdict) == ["reasoning", "coherence", "actionability", "specificity", "overall"]
    assert len(verdict["reasoning"]) <= 60
    assert all(isinstance(value, int) and 0 <= value <= 100 for value in list(verdict.values())[1:])


def test_a_schema_alone_makes_a_judge(world: FileNamingWorld) -> None:
    """Without the task line the four properties are enough."""
    ask = Ask(tag=QWEN, messages=(Message("user", "Rate: <<<PROMPT\nName it.\nPROMPT>>>"),), schema=SCHEMA)

    assert (world.mind(ask), world.answer(ask).mind) == ("judge", "judge")


def test_paraphrases_lie_close_and_other_subjects_far() -> None:
    """The cosine orders: equal, paraphrase, same subject, another subject."""

    def cosine(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(hashed_vector(one, 768), hashed_vector(other, 768), strict=True))

    text = "Generate a descriptive filename in kebab-case and keep the extension."
    near = cosine(text, "Generate a descriptive file name in kebab-case. Keep the original extension.")
    related = cosine(text, "Use at most five words for the filename and leave out articles.")
    far = cosine(text, "List every action item of this meeting transcript with its owner.")

    assert math.isclose(cosine(text, text), 1.0)
    assert near > 0.65 > related > far
    assert far < 0.2


def test_wordless_texts_have_a_vector_too() -> None:
    """Nothing to hash still gives length 1."""
    assert sum(value * value for value in hashed_vector("?!", 32)) == 1.0


def test_json_is_valid_whenever_a_schema_is_given(world: FileNamingWorld) -> None:
    """A grammar leaves no choice."""
    schema = json.dumps({"type": "object", "properties": {"actions": {"type": "array", "items": {"type": "string"}}}})
    text = "List the actions.\n---\nTranscript: Hello. Anna will send the report. We should book a room."

    assert json.loads(said(world, text, schema=schema))["actions"]


def test_json_is_cleaner_when_nothing_else_is_allowed(world: FileNamingWorld) -> None:
    """Of 100 answers more can be read when the prompt asks for only JSON."""

    def valid(instruction: str) -> int:
        texts = [said(world, f"{instruction}\n---\nTranscript: Tom will call customer {n}.") for n in range(100)]
        return sum(readable(text) for text in texts)

    assert valid("List the actions as JSON.") + 15 < valid("List the actions. Answer with only JSON.") >= 90


def readable(text: str) -> bool:
    """Tell whether a text is JSON."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_a_second_world_needs_only_four_methods() -> None:
    """The tiny world fills a schema with the input's words."""
    world = JsonTasksWorld(seed=1)
    schema = json.dumps(
        {"properties": {"n": {"type": "integer"}, "ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}}}
    )

    assert json.loads(said(world, "Do.\n---\nText: one two", schema=schema)) == {"n": 2, "ok": True, "kind": "a"}
    assert said(world, "Do.\n---\nText: one two") == "ONE TWO"
    assert world.mind(Ask(tag=QWEN, messages=())) == "rule"
    assert len(world.embed(QWEN, "x", 16)) == 16


def test_documents_are_described_by_their_headings(world: FileNamingWorld) -> None:
    """Title and headings come from the text, and whether it asks for something."""
    properties = {
        "title": {"type": "string"},
        "headings": {"type": "array", "items": {"type": "string"}},
        "needs_action": {"type": "boolean"},
    }
    text = "Describe it as JSON.\n---\nDocument:\n# Plan\nPlease read this.\n## Costs\nNone.\nJSON:"

    assert json.loads(said(world, text, schema=json.dumps({"type": "object", "properties": properties}))) == {
        "title": "Plan",
        "headings": ["Plan", "Costs"],
        "needs_action": True,
    }


def test_broken_rules_are_named_one_a_line(world: FileNamingWorld) -> None:
    """Of the rules that the instruction defines, those that the code breaks are listed; else the agreed word."""
    rules = "Name broken rules; if none is broken, write: none\nhardcoded-color: a literal\nconsole-output: prints\nunused-import: x"
    broken = {
        said(world, f"{rules}\n---\nCode:\nimport os\ncolor = '#fff{n}'\nBroken rules:", temperature=0.0)
        for n in range(8)
    }

    assert "hardcoded-color\nunused-import" in broken
    assert said(world, f"{rules}\n---\nCode:\nx = y\nBroken rules:") == "none"


def test_a_vague_order_is_judged_bad() -> None:
    """Doing it well is no instruction."""
    world = FileNamingWorld(tpr=1.0, tnr=1.0)

    assert judged(world, "Please do it well this time.")["overall"] < 60
