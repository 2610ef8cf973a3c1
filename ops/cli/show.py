"""`show` and `diff`: one run, skill or variant in full, and two prompts side by side."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.compare import current, difference
from ops.cli.output import lines_of, moment, number, show, table
from ops.cli.skill import SKILL
from ops.cli.words import SIMULATED, accuracy, arrow, run_name, run_state, since
from pipeline.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.report_details import RunDetail, VariantLine
    from models.report_values import PromotionLine, SkillStatus, VersionLine

RUN = re.compile(r"r(\d{1,9})")
VARIANT = re.compile(r"\d{1,9}|variant_[a-z]")
_LEAST_LIKELY = 10.0  # of the mean of log-probabilities, taken negative
BRED = ("alive", "replaced", "refused", "dropped", "merged")  # fates of those that never left the search


@command("show", examples="evoctl show file-naming\nevoctl show r7\nevoctl show variant_a\nevoctl show 42 --json")
@click.argument("name", metavar="RUN|SKILL|VARIANT")
@click.option("--all", "everything", is_flag=True, help="Of a run, list every variant and not only the finalists.")
@pass_call
def show_command(call: Call, name: str, *, everything: bool) -> None:
    """Show a run, a skill or a variant in full.

    A run is written as r7, a variant as variant_a (of the newest run that has it) or by its number.
    """
    run = RUN.fullmatch(name)
    if run is not None:
        _show_run(call, int(run[1]), everything=everything)
    elif VARIANT.fullmatch(name):
        _show_variant(call, name)
    else:
        _show_skill(call, name)


@command(
    "diff",
    examples="evoctl diff file-naming previous current\nevoctl diff file-naming v1 v2\n"
    "evoctl diff file-naming current variant_a",
)
@SKILL
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@pass_call
def diff(call: Call, skill: str, a: str, b: str) -> None:
    """Compare two prompts of a skill.

    A and B are v1, current, previous, variant_a or a variant's number.
    """
    from models import report_details

    overview = call.overview()
    name = overview.config.skill(skill).name
    with overview.read() as session:
        old, new = (
            current(overview, name) if one == "current" else report_details.named_prompt(session, name, one)
            for one in (a, b)
        )
    found = difference(old, new)
    data = {"skill": name, "old": old, "new": new, "same": not found.lines, "diff": found.lines}
    call.result("diff", data, found.text)


def _show_run(call: Call, run: int, *, everything: bool) -> None:
    from models import report_details

    with call.overview().read() as session:
        found = report_details.run_detail(session, run)
    call.result("show.run", found, lambda: _run_text(found, everything=everything, plain=call.plain))


def _show_variant(call: Call, name: str) -> None:
    from models import report_details

    with call.overview().read() as session:
        line = report_details.variant_detail(session, report_details.find_variant(session, name))
    call.result("show.variant", {"variant": line[0], "ancestors": line[1:]}, lambda: _variant_text(line))


def _show_skill(call: Call, name: str) -> None:
    from models import reports

    overview = call.overview()
    try:
        rules = overview.rules(name)
    except NotFound as missing:
        raise NotFound(missing.what, hint=missing.hint or "A run is written as r7.") from missing
    with overview.read() as session:
        status = reports.skill_status(session, rules)
        versions = reports.versions(session, rules)
        promotions = reports.promotions(session, skill=name)
    data = {
        "status": status,
        "versions": versions,
        "promotions": promotions,
        "poor_candidate": rules.skill.poor_candidate,
    }
    call.result("show.skill", data, lambda: _skill_text(status, versions, promotions, plain=call.plain))


def _run_text(found: RunDetail, *, everything: bool, plain: bool) -> str:
    line = found.line
    parts = [
        f"Run {run_name(line)} of {line.skill}: {line.kind}, asked for by {line.trigger}",
        f"Because  {show(line.reason)}" if line.reason else "",
        f"Time     {since(line)}",
        f"State    {run_state(line)}",
        "",
        table(
            ("STAGE", "VISIT", "ATTEMPTS", "SLICES", "STATE", "FROM", "TO", "NOTE"),
            [
                (s.stage, s.visit, s.attempt, s.slices, s.state, moment(s.created_at), moment(s.updated_at), s.error or s.waiting_for)
                for s in found.steps
            ],
            plain=plain,
        ),
    ]  # fmt: skip
    if found.calls:
        parts += ["", "Model calls", _calls_table(found, plain=plain)]
    if found.loads:
        each = ", ".join(f"{show(one.tag)} {one.loads}" for one in found.loads)
        parts.append(f"Models were loaded {sum(one.loads for one in found.loads)} times: {each}")
    for wait in found.waits:
        parts.append(
            f"Waited {wait.times} time{'s' * (wait.times != 1)}, {wait.seconds:.1f} s, for {wait.reason}; {wait.preempted} calls were cut off"
        )
    chosen = [one for one in found.variants if everything or one.fate not in BRED]
    if found.variants:
        parts += ["", f"Variants ({len(chosen)} of {len(found.variants)} shown)", _variants_table(chosen, plain=plain)]
    if refused := Counter(one.fate_reason.partition(" (")[0] for one in found.variants if one.fate == "refused"):
        counts = ", ".join(f"{reason} {count}" for reason, count in refused.most_common())
        parts.append(f"Refused before they were run: {show(counts)}")
    if found.operators:
        parts += ["", "Operators", _operators_table(found, plain=plain)]
    parts += [_promotion(one) for one in found.promotions]
    if line.simulated:
        parts.append(f"This run is {SIMULATED}: no figure here is a real model's.")
    return "\n".join(part for index, part in enumerate(parts) if part or index > 1)


def _calls_table(found: RunDetail, *, plain: bool) -> str:
    return table(
        ("ROLE", "MODEL TAG", "ANSWERED", "FAILED", "CUT OFF", "TOKENS IN", "TOKENS OUT", "SECONDS"),
        [
            (c.role, c.tag, c.answered, c.failed, c.cancelled, c.prompt_tokens, c.tokens, round(c.seconds, 1))
            for c in found.calls
        ],
        plain=plain,
    )


def _of(right: int, tested: int) -> str:
    return f"{right} of {tested}" if tested else "-"


def _variants_table(variants: Sequence[VariantLine], *, plain: bool) -> str:
    return table(
        ("ID", "NAME", "GENERATION", "OPERATOR", "PARENT", "FITNESS", "RIGHT", "FRESH", "JUDGE", "FATE"),
        [
            (
                v.variant, v.name, v.generation, v.mutation_type, v.parent, number(v.fitness, ".3f"),
                _of(v.right, v.tested), _of(v.fresh_right, v.fresh_tested), number(v.overall, ".0f"), v.fate,
            )
            for v in variants
        ],
        plain=plain,
    )  # fmt: skip


def _operators_table(found: RunDetail, *, plain: bool) -> str:
    return table(
        ("OPERATOR", "APPLIED", "IMPROVED", "SHARE"),
        [(one.name, one.applied, one.improved, number(one.improved / one.applied)) for one in found.operators],
        plain=plain,
    )


def _perplexity(mean_logprob: float) -> str:
    """Write exp(-mean); a reply in which nothing was likely at all has no number worth reading."""
    return f"{math.exp(-mean_logprob):.1f}" if mean_logprob > -_LEAST_LIKELY else f"above {math.exp(_LEAST_LIKELY):.0f}"


def _variant_text(line: tuple[VariantLine, ...]) -> str:
    one = line[0]
    name = f"Variant {one.variant} ({one.name})" if one.name else f"Variant {one.variant}"
    mark = f" ({SIMULATED})" if one.simulated else ""
    head = [f"{name} of {one.skill}, run r{one.run}{mark}: {one.fate}"]
    if one.fate_reason:
        head.append(f"Fate     {show(one.fate_reason)}")
    head.append(f"Written  {one.mutation_type}, generation {one.generation}")
    if one.reasoning:
        head.append(f"Why      {show(one.reasoning, limit=500)}")
    if one.mean_logprob is not None:
        least = f", least sure token {math.exp(min(one.min_logprob, 0.0)):.1%}" if one.min_logprob is not None else ""
        head.append(f"Sure     perplexity {_perplexity(one.mean_logprob)} as its writer saw it{least}")
    head += [f"Flag     {show(flag)}" for flag in one.flags]
    low, high = one.interval
    sure = f" (95 % interval {low:.2f} to {high:.2f})" if one.fitness is not None else ""
    fresh = f"; on fresh samples {_of(one.fresh_right, one.fresh_tested)}" if one.fresh_tested else ""
    head.append(
        f"Fitness  {number(one.fitness, '.3f')}, {_of(one.right, one.tested)} right{fresh}{sure}; "
        f"judge {number(one.overall, '.0f')}"
    )
    tail = ["", "It comes from"] if len(line) > 1 else []
    tail += [
        f"  variant {v.variant}: {v.mutation_type}, generation {v.generation}, fitness {number(v.fitness, '.3f')}"
        for v in line[1:]
    ]
    return "\n".join([*head, "", lines_of(one.text), *tail])


def _skill_text(
    status: SkillStatus, versions: Sequence[VersionLine], promotions: Sequence[PromotionLine], *, plain: bool
) -> str:
    parts = [
        f"{status.skill}: prompt v{status.version}, run by {show(status.task_model)}, scored by {show(status.scorer)}",
        f"Accuracy   {accuracy(status.accuracy)}; the threshold is {status.threshold:.2f}",
        f"Watch      {show(status.watch)}",
        f"Last check {moment(status.checked_at)} {show(status.finding)}".rstrip(),
        *(f"Open       {run_name(line)} {line.kind}: {run_state(line)}" for line in status.open),
    ]
    if versions:
        rows = [
            (f"v{v.version}", "in use" if v.active else "-", moment(v.created_at), v.template, v.variant,
             number(v.accuracy.value), v.accuracy.n)
            for v in versions
        ]  # fmt: skip
        parts += ["", table(("PROMPT", "", "FROM", "FILE", "VARIANT", "ACCURACY", "SAMPLES"), rows, plain=plain)]
    if promotions:
        parts += ["", *(_promotion(one) for one in promotions)]
    return "\n".join(parts)


def _promotion(one: PromotionLine) -> str:
    evidence = f", evidence {one.e_value:.3g} from {one.votes} votes" if one.e_value is not None and one.votes else ""
    accuracies = arrow(one.accuracy_before, one.accuracy_after)
    measured = f", accuracy {accuracies} on samples nothing was selected on" if accuracies != "-" else ""
    mark = f" ({SIMULATED})" if one.simulated else ""
    by = f" by {one.actor}" if one.actor else ""
    return (
        f"{moment(one.applied_at or one.created_at)}  {one.kind} v{one.from_version} to v{one.to_version}, {one.state}, "
        f"run r{one.run}{mark}{by}{evidence}{measured}: {show(one.reason, limit=300)}"
    )
