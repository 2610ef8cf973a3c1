"""The records world: its rules are recognised by meaning, its accuracy is exact, and its generator is as able as it says."""

from __future__ import annotations

import importlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable

import pytest

from ops.simulator.__main__ import load_world
from ops.simulator.server import SimulatorServer
from ops.simulator.skill_world import SkillWorld
from ops.simulator.world import Ask, Message
from ops.simulator.worlds.records import INCUMBENT, LOST_WORDS, RecordsWorld
from ops.simulator.worlds.records_generator import TALENTS
from ops.simulator.worlds.records_requests import read_request
from ops.simulator.worlds.records_rules import HARMS, LONG, RULES, read_instruction, read_sentence
from ops.simulator.worlds.records_score import lost_words
from ops.simulator.worlds.records_stock import CUES, HARMFUL, NEUTRAL, OPENINGS, SOUND
from ops.simulator.worlds.records_tasks import POPULATION
from pipeline.meta_prompt import Failure
from pipeline.operators import crossover, direct, hyper_zero, zero_order
from pipeline.skills import parse_template, render

QWEN, SMOLLM = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M"
UNSEEN: dict[str, tuple[str, ...]] = {
    "date-format": (
        "Dates are given in the form yyyy-mm-dd.", "The date must follow ISO 8601.",
        "Convert the date to year, month, day.", "For the delivery date, put the year first.",
    ),
    "name-order": (
        "The customer's surname precedes the first name.", "Start with the family name of the buyer.",
        "Give the last name followed by the first name.", "Place the given name after the family name.",
    ),
    "unit-missing": (
        "Include the unit in the quantity.", "Quantities are a number and a unit.",
        "Don't drop the unit.", "Every number needs its unit.",
    ),
    "item-case": (
        "The item must be lowercase.", "All goods are written in small letters.",
        "Never capitalize the item.", "Use lower-case for product names.",
    ),
    "currency-code": (
        "Use 3-letter currency abbreviations for the price.", "State the currency by its ISO code.",
        "Amounts end in EUR, USD or GBP.", "Avoid currency signs; the price carries a code.",
    ),
    "phone-format": (
        "Telephone numbers should be international.", "Write phones with +49 and so on.",
        "The phone number begins with a leading + and has no spaces.", "Use the international notation for every phone.",
    ),
    "code-format": (
        "The article number has four digits.", "Fill the product code up with zeros.",
        "Write codes like AB-0042.", "Item codes need leading zeros.",
    ),
    "language-code": (
        "Languages are two-letter abbreviations.", "Write lang as an ISO code.",
        "The language is never written in full.", "Use two letters for the language.",
    ),
    "country-code": (
        "Countries are given as ISO codes.", "Use the two-letter code for the destination country.",
        "Never spell out the country.", "The destination is abbreviated to two letters.",
    ),
    "flag-missing": (
        "When an order is urgent, add the flag.", "Tag rush orders as urgent.",
        "Do not overlook the urgency of an order.", "Express orders get flag=URGENT.",
    ),
    "separator-wrong": (
        "Parts are divided by a semicolon.", "Use ; i.e. a semi-colon, as the separator.",
        "Between two parts stands a semicolon.", "Never put slashes between the parts.",
    ),
    "extra-text": (
        "Output the record and nothing else.", "Skip all greetings and comments.",
        "No chatter, please.", "Reply solely with the record.",
    ),
}  # fmt: skip
"""Wordings that the generator does not know."""


def rules_of(text: str) -> set[str]:
    """Name the rules that an instruction states."""
    found = read_instruction(text).rules
    return {rule.lost for bit, rule in enumerate(RULES) if found >> bit & 1}


def said(
    world: SkillWorld, prompt: str, *, tag: str = SMOLLM, seed: int = 0, temperature: float = 0.8, schema: str = ""
) -> str:
    """Ask the world one question."""
    ask = Ask(tag=tag, messages=(Message("user", prompt),), seed=seed, temperature=temperature, schema=schema)
    return "".join(token.text for token in world.answer(ask).tokens)


def outputs(world: SkillWorld, instruction: str, count: int) -> list[tuple[float, tuple[str, ...]]]:
    """Score the answers to *count* samples under an instruction."""
    template = parse_template(world.template()).with_instruction(instruction)
    samples = world.samples(count, 1)
    answers = [said(world, render(template, dict(s.fields)), tag=QWEN, temperature=0) for s in samples]
    return [world.score(answer, s.expected, s.fields) for answer, s in zip(answers, samples, strict=True)]


def perfect(without: str = "") -> str:
    """Write a prompt with every rule but one."""
    return " ".join([OPENINGS[0], *(wordings[0] for lost, wordings in SOUND.items() if lost != without)])


def failing(count: int = 8, *, reasons: bool = True) -> tuple[Failure, ...]:
    """Make failures that lost every rule the incumbent lacks."""
    lost = ("date-format", "name-order", "currency-code", "phone-format")
    expected = "order=48213; date=2026-03-04; name=Berg, Anna; price=12.00 EUR; phone=+49301234"
    output = "order=48213; date=March 4; name=Anna Berg; price=12 euros; phone=0049 30 1234"
    one = Failure(shown="Order 48213 came in.", output=output, expected=expected, lost=lost if reasons else ())
    return (one,) * count


def within(hits: int, draws: int, rate: float) -> bool:
    """Tell whether a count lies within five standard deviations of its binomial mean."""
    return abs(hits - draws * rate) <= 5 * math.sqrt(draws * rate * (1 - rate)) + 1e-9


@pytest.fixture(name="small", scope="module")
def _small() -> RecordsWorld:
    return RecordsWorld(1, "small")


@pytest.fixture(name="strong", scope="module")
def _strong() -> RecordsWorld:
    return RecordsWorld(1, "strong")


@pytest.mark.parametrize("lost", [rule.lost for rule in RULES])
def test_each_rule_is_recognised_in_eight_wordings(lost: str) -> None:
    """Four wordings of the generator's and four that it does not know state this rule, no other one, and no harm."""
    for wording in (*SOUND[lost], *UNSEEN[lost]):
        found = {rule.lost for bit, rule in enumerate(RULES) if read_sentence(wording)[0] >> bit & 1}
        assert (wording, found, read_sentence(wording)[1:]) == (wording, {lost}, (0, 0))
        assert rules_of(wording.upper()) == {lost}


def test_the_unseen_wordings_are_no_part_of_the_stock() -> None:
    """Half of the wordings are known to nobody but this test."""
    stock = {wording.lower() for wordings in SOUND.values() for wording in wordings}

    assert set(UNSEEN) == set(SOUND) == {rule.lost for rule in RULES} == set(CUES)
    assert not stock & {wording.lower() for wordings in UNSEEN.values() for wording in wordings}


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("Do not use ISO dates.", "date-format"),
        ("Never put semicolons between the parts.", "separator-wrong"),
        ("There is no need to write phone numbers in the international form.", "phone-format"),
        ("Avoid lower case for the item.", "item-case"),
    ],
)
def test_a_negated_rule_is_none_and_takes_the_rule_back(text: str, lost: str) -> None:
    """A sentence that forbids a rule does not state it, and cancels a sentence that does."""
    assert lost not in rules_of(text)
    assert lost not in rules_of(f"{SOUND[lost][0]} {text}")
    assert lost in rules_of(f"Do not hurry, and be exact. {SOUND[lost][0]}")


def test_neutral_sentences_change_nothing(small: RecordsWorld) -> None:
    """Idle sentences state no rule and no harm, and leave the accuracy where it is."""
    assert {read_sentence(one) for one in (*NEUTRAL, *OPENINGS)} == {(0, 0, 0)}
    assert small.accuracy(f"{INCUMBENT} {' '.join(NEUTRAL[:6])}") == small.floor()


def test_each_harmful_sentence_lowers_accuracy(small: RecordsWorld) -> None:
    """Every unwise sentence costs the best prompt at least five points, and each of the harms can be ordered."""
    harms = 0
    for sentence in HARMFUL:
        assert small.accuracy(f"{perfect()} {sentence}") < small.ceiling() - 0.05, sentence
        harms |= read_sentence(sentence)[2]

    assert harms == (1 << len(HARMS)) - 1


@pytest.mark.parametrize("seed", [1, 2, 3, 40, 500])
def test_floor_and_ceiling_leave_38_points(seed: int) -> None:
    """In every world the incumbent has about 58 %, and the best prompt, which states every rule, about 96 %."""
    world = RecordsWorld(seed)

    assert world.floor() == pytest.approx(0.58, abs=0.03)
    assert world.ceiling() == pytest.approx(0.96, abs=0.02)
    assert world.accuracy(perfect()) == world.ceiling()
    assert world.accuracy(parse_template(world.template()).instruction) == world.floor()
    assert 3 <= len(rules_of(INCUMBENT)) <= 4


def test_accuracy_is_what_the_models_answers_score(small: RecordsWorld) -> None:
    """Asked for all of its tasks through its template, the task model scores exactly what the referee says."""
    for instruction in (
        INCUMBENT,
        perfect("name-order"),
        f"{INCUMBENT} Be creative.",
        f"{INCUMBENT} {'Work carefully. ' * 20}",
    ):
        results = outputs(small, instruction, POPULATION)

        assert sum(value for value, _ in results) / POPULATION == small.accuracy(instruction)
        assert {value for value, _ in results} <= {0.0, 1.0}
        assert {word for _, lost in results for word in lost} <= set(LOST_WORDS)
        assert all(bool(lost) == (value == 0.0) for value, lost in results)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.lost)
def test_a_missing_rule_shows_as_its_lost_word(small: RecordsWorld, rule: object) -> None:
    """Without a rule its own lost word appears, beside nothing but the value that no prompt gets right."""
    lost = getattr(rule, "lost", "")
    counted = Counter(word for _, words in outputs(small, perfect(lost), 1000) for word in words)

    assert set(counted) == {lost, "wrong-value"}
    assert counted[lost] >= 10


def test_long_prompts_lose_slowly_and_salad_destroys(small: RecordsWorld) -> None:
    """Up to 200 words cost nothing, 300 cost some points; word salad, a loop or an empty text leave next to nothing."""
    full = perfect()
    long = f"{full} " + " ".join(f"Clerk number {n} reads the note of buyer {n} in room {n}." for n in range(15))

    assert len(full.split()) <= LONG < len(long.split())
    assert small.accuracy(full) == small.ceiling()
    assert small.ceiling() - 0.25 < small.accuracy(long) < small.ceiling() - 0.01
    for ruin in ("", "the of and note the the of with order a in", "record " * 60, "#@$% ~~ ^| xqzvkj 07 #@$% &&"):
        assert small.accuracy(ruin) < 0.05


def test_worlds_are_functions_of_their_seed(small: RecordsWorld) -> None:
    """Equal seeds give equal tasks and answers, other seeds other ones."""
    again, other = RecordsWorld(1), RecordsWorld(2)
    prompt = direct(INCUMBENT, small.about(), failing(), ())

    assert again.samples(50, 9) == small.samples(50, 9) != small.samples(50, 10)
    assert len({sample.id for sample in small.samples(POPULATION, 3)}) == POPULATION
    assert other.samples(50, 9) != small.samples(50, 9)
    assert [said(again, prompt, seed=n) for n in range(9)] == [said(small, prompt, seed=n) for n in range(9)]
    assert len({said(small, prompt, seed=n) for n in range(9)}) > 5


def test_a_task_is_answered_alike_however_it_is_put(small: RecordsWorld) -> None:
    """The template, a system message, a joined message and DSPy's sections give the same record."""
    template = parse_template(small.template())
    for sample in small.samples(40, 2):
        body = f"Order note: {sample.fields['note']}\n\nRecord:"
        system = f"Your input fields are:\n1. `note` (str)\nIn adhering to this structure, your objective is: \n        {INCUMBENT}"
        dspy = f"[[ ## note ## ]]\n{sample.fields['note']}\n\nRespond with the corresponding output fields, starting with the field `[[ ## record ## ]]`, and then ending with the marker for `[[ ## completed ## ]]`."
        asks = (
            (Message("user", render(template, dict(sample.fields))),),
            (Message("system", INCUMBENT), Message("user", body)),
            (Message("user", f"{INCUMBENT}\n{body}"),),
            (Message("system", system), Message("user", dspy)),
        )
        plain, parts, joined, sections = (
            "".join(t.text for t in small.answer(Ask(tag=QWEN, messages=turns, temperature=0)).tokens) for turns in asks
        )

        assert plain == parts == joined
        assert sections == f"[[ ## record ## ]]\n{plain}\n\n[[ ## completed ## ]]"


def test_warm_answers_vary_with_the_seed_and_cold_ones_do_not(small: RecordsWorld) -> None:
    """At temperature 1 some tasks go wrong for one seed and right for another; at 0 the seed is not looked at."""
    template = parse_template(small.template())
    prompts = [render(template, dict(sample.fields)) for sample in small.samples(60, 4)]

    assert any(len({said(small, p, tag=QWEN, seed=n, temperature=1.0) for n in range(6)}) > 1 for p in prompts)
    assert all(len({said(small, p, tag=QWEN, seed=n, temperature=0) for n in range(3)}) == 1 for p in prompts)


FORMS: dict[str, Callable[[str], str]] = {
    "fence": lambda p: direct(p, "about", failing(), ()),
    "code": lambda p: (
        f"I gave these instructions:\n```\n{p}\n```\nExamples:\n```\n# Example 1\n## Generated Outputs\norder=48213; date=March 4\n\n## Feedback\nlost: date-format, name-order, currency-code, phone-format\n```\nProvide the new instructions within ``` blocks."
    ),
    "numbered": lambda p: (
        f"Prompt 1: Rewrite it simply.\nPrompt 2: Rewrite it well.\n\nNow these:\nPrompt 1: {p}\nPrompt 2: {p}\n2. Write it between <prompt> and </prompt>. It lost date-format, name-order, currency-code and phone-format."
    ),
    "tags": lambda p: (
        f"<prompt>{p}</prompt>\nThe date is in the wrong format, the names were in the wrong order, no currency code, wrong phone: format of the phone. Improve it."
    ),
    "sections": lambda p: (
        f"[[ ## basic_instruction ## ]]\n{p}\n\n[[ ## feedback ## ]]\ndate-format name-order currency-code phone-format\n\nRespond with the corresponding output fields, starting with the field `[[ ## proposed_instruction ## ]]`, then `[[ ## proposed_prefix_for_output_field ## ]]`, and then ending with the marker for `[[ ## completed ## ]]`."
    ),
    "variation": lambda p: (
        f"Write a variation that lost no date-format, name-order, currency-code or phone-format, starting with <prompt> and ending with </prompt> tags.\n\nInput: {p}\n\nOutput:"
    ),
    "quoted": lambda p: (
        f'The prompt "{p}" lost date-format, name-order, currency-code and phone-format. Write a better one.'
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_parents_and_hints_are_found_in_any_form(form: str) -> None:
    """The current prompt and the named losses are read from fences, code blocks, labels, tags, sections and quotes."""
    text = FORMS[form](INCUMBENT)

    request = read_request(text, text, "")

    assert set(request.parents) == {INCUMBENT}
    assert request.hints == {"date-format", "name-order", "currency-code", "phone-format"}


@pytest.mark.parametrize(
    "text",
    [
        direct(INCUMBENT, "about", failing(reasons=False), ()),
        "Expected: {wanted}\nGot: {got}\n",
        "## Generated Outputs\n{got}\n\n## Feedback\nThis is wrong. The correct answer is: {wanted}\n",
        '[[ ## oracle_metadata ## ]]\n{{"record": "{wanted}"}}\n[[ ## worse_program_outputs ## ]]\n{{\n  "record": "{got}"\n}}\n',
    ],
)
def test_differences_are_found_between_answers_and_wanted_records(text: str) -> None:
    """Without reasons the losses follow from what was got and what was wanted, in several layouts."""
    if "{got}" in text:
        text = text.format(got=failing()[0].output, wanted=failing()[0].expected)

    request = read_request(text, text, "")

    assert request.hints == frozenset()
    assert request.compared == {"date-format", "name-order", "currency-code", "phone-format"}


def test_replies_have_the_form_that_was_asked_for(strong: RecordsWorld) -> None:
    """Code fences, tags, sections, JSON keys and plain text are answered in kind; a mutation prompt is one sentence."""
    schema = json.dumps({"type": "object", "properties": {"instruction": {"type": "string"}}})

    assert said(strong, FORMS["code"](INCUMBENT)).startswith("```\n")
    assert said(strong, FORMS["numbered"](INCUMBENT)).endswith("</prompt>")
    sections = said(strong, FORMS["sections"](INCUMBENT))
    assert sections.startswith("[[ ## proposed_instruction ## ]]\n")
    assert sections.endswith("[[ ## completed ## ]]")
    assert list(json.loads(said(strong, FORMS["tags"](INCUMBENT).replace("Improve", "Better"), schema=schema))) == [
        "instruction"
    ]
    assert not {"`", "<"} & set(said(strong, FORMS["fence"](INCUMBENT)))
    assert said(strong, hyper_zero(strong.about(), "Be brief.")).count(".") == 1


def test_the_judge_answers_in_its_schema(small: RecordsWorld) -> None:
    """A judge's request is answered by the judge, in JSON with its four dimensions."""
    prompt = f"TASK: judge\nThe task: {small.about()}\n<<<PROMPT\n{INCUMBENT}\nPROMPT>>>"

    assert set(json.loads(said(small, prompt, temperature=0))) == {
        "coherence",
        "actionability",
        "specificity",
        "overall",
    }


@pytest.mark.parametrize("profile", ["small", "strong"])
def test_the_generator_is_as_able_as_its_profile_says(profile: str) -> None:
    """Sentences are kept, hints heeded, differences noticed and replies spoiled at the profile's rates, over 3000 draws."""
    world, talent, draws = RecordsWorld(1, profile), TALENTS[profile], 3000
    rich = direct(INCUMBENT, world.about(), failing(), ())
    plain = direct(INCUMBENT, world.about(), failing(reasons=False), ())
    good = 1 - talent.salad - talent.malformed
    # Malformed replies that still hold the whole text: chatter around it, or the text without marks.
    readable = good + talent.malformed * 2 / 5
    replies = [said(world, rich, seed=n) for n in range(draws)]
    noticed = [said(world, plain, seed=n) for n in range(draws)]

    kept = sum("Separate the parts with semicolons." in reply for reply in replies)
    heeded = sum("date-format" in rules_of(reply) for reply in replies)
    compared = sum("date-format" in rules_of(reply) for reply in noticed)

    assert abs(kept / draws - readable * talent.keep) < talent.malformed / 5 + 5 * math.sqrt(0.25 / draws)
    assert abs(heeded / draws - readable * talent.hint) < talent.malformed / 5 + 5 * math.sqrt(0.25 / draws)
    assert abs(compared / draws - readable * talent.compared) < talent.malformed / 5 + 5 * math.sqrt(0.25 / draws)
    empty = sum(not reply for reply in replies)
    assert within(empty, draws, talent.malformed / 5)
    assert within(sum(reply.startswith("order=") for reply in replies), draws, talent.malformed / 5)
    assert talent.compared == talent.hint / 2


def test_only_named_losses_become_rules(strong: RecordsWorld) -> None:
    """With hints in the request no rule is added that nobody asked for."""
    prompt = direct(INCUMBENT, strong.about(), failing(), ())
    allowed = rules_of(INCUMBENT) | set(failing()[0].lost)

    assert all(rules_of(said(strong, prompt, seed=n)) <= allowed for n in range(200))


def test_blind_rewriting_helps_little(small: RecordsWorld) -> None:
    """Without failures the mean child is worse than its parent, and few children are better."""
    prompt = crossover(INCUMBENT, INCUMBENT, small.about())
    scores = [small.accuracy(said(small, prompt, seed=n)) for n in range(400)]

    assert sum(scores) / len(scores) < small.floor()
    assert sum(score > small.floor() for score in scores) < 0.2 * len(scores)


def test_prompts_from_nothing_have_two_to_four_sentences_more(strong: RecordsWorld) -> None:
    """Where no parent is offered, an opening and two to four sentences are written, hints aside."""
    for n in range(100):
        reply = said(strong, zero_order(strong.about(), ()), seed=n)
        assert 2 <= reply.count(".") <= 5
        assert reply.startswith(OPENINGS)


def test_free_sentences_of_a_parent_are_kept_word_for_word(strong: RecordsWorld) -> None:
    """A sentence that the generator does not know is treated like any other."""
    free = "Mind the forklift in hall seven."
    prompt = direct(f"{INCUMBENT} {free}", strong.about(), failing(), ())

    kept = sum(free in said(strong, prompt, seed=n) for n in range(400))

    assert within(kept, 400, TALENTS["strong"].keep)


def test_cut_records_are_compared_as_far_as_they_go() -> None:
    """An ellipsis at the end of an answer or of a wanted record is no difference."""
    assert lost_words("order=48213; date=March 4; qty=12 k…", failing()[0].expected) == ("date-format",)
    assert lost_words("order=48213; qty=12 kg; lang=de", "order=48213; qty=12 kg; la…") == ()


def test_an_answer_takes_well_under_a_millisecond(small: RecordsWorld) -> None:
    """A search asks for thousands of answers, so one costs at most 0.3 ms of processor time on average."""
    template = parse_template(small.template())
    prompts = [render(template, dict(sample.fields)) for sample in small.samples(500, 6)]
    begin = time.process_time()
    for prompt in prompts:
        said(small, prompt, tag=QWEN, temperature=0)

    assert (time.process_time() - begin) / len(prompts) < 0.0003


def test_the_world_can_be_named_on_the_command_line() -> None:
    """`--world module:Class` finds the world, and the server plays it."""
    world = load_world("ops.simulator.worlds.records:RecordsWorld", 3)

    assert isinstance(world, importlib.import_module("ops.simulator.worlds.records").RecordsWorld)
    with SimulatorServer(world) as server:
        assert server.counts().inference == 0
