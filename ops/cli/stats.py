"""`stats`: accuracy by skill and version, and how well evolution works."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.failures import NEGATIVE
from ops.cli.finite import FiniteRange
from ops.cli.output import number, table
from ops.cli.skill import OPTIONAL_SKILL
from ops.cli.words import SIMULATED, failure, minutes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from models.judge_votes import JudgeAgreement
    from models.report_values import SkillStatus, VersionLine
    from pipeline.metrics import Alert, Metric, Report
    from pipeline.rules import Rules

UNITS = {"h": 1, "d": 24, "w": 7 * 24}  # hours
LONGEST = 5  # digits of a span of time
ALL = "all skills"
AGREEMENT = ("SKILL", "RANK", "95 %", "VARIANTS", "AUC", "95 %", "DECIDED")


def span(ctx: click.Context, param: click.Parameter, value: str | None) -> timedelta | None:
    """Read a span of time as people write it: `36h`, `30d` or `8w`."""
    if value is None:
        return None
    digits, unit = value[:-1], value[-1:]
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= LONGEST and unit in UNITS and int(digits)):
        raise click.BadParameter("a span of time is written as 36h, 30d or 8w", ctx, param)
    return timedelta(hours=int(digits) * UNITS[unit])


@command(
    "stats",
    examples="evoctl stats\nevoctl stats file-naming --since 30d\nevoctl stats file-naming --fail-under 0.8",
)
@OPTIONAL_SKILL
@click.option(
    "--since", metavar="SPAN", callback=span, help="Metrics of the last 36h, 30d or 8w; default: of all time."
)
@click.option(
    "--fail-under", type=FiniteRange(0, 1), metavar="X", help="Exit 6 when an accuracy is below X or unknown."
)
@pass_call
def stats(call: Call, skill: str | None, *, since: timedelta | None, fail_under: float | None) -> int:
    """Show accuracy by skill and version, and evolution's metrics.

    The window holds the newest judged samples of the version in use, as many as the drift check looks at. The metrics
    below it have targets; where one is missed by much, the alert says what to do. Judge and votes: how the judge's scores
    went with the shares of the votes (RANK, Spearman) and with what was promoted or voted out (AUC).
    """
    from models import judge_votes, reports
    from workers.clock import now

    overview = call.overview()
    rules = (overview.rules(skill),) if skill else overview.all_rules()
    begin = now() - since if since else None
    with overview.read() as session:
        found = [(reports.skill_status(session, one), reports.versions(session, one)) for one in rules]
        metrics = _reports(session, rules, begin)
        judged = {str(one.skill.name): judge_votes.agreement(session, one.skill.name) for one in rules}
    below = [
        one.skill
        for one, _ in found
        if fail_under is not None and (one.accuracy.value is None or one.accuracy.value < fail_under)
    ]
    data = {
        "skills": [
            _fields(one, versions, metrics[one.skill]) | {"judge_and_votes": judged[one.skill]} for one, versions in found
        ],
        "metrics": metrics.get(ALL, ()), "since": begin, "interval": "wilson-95", "fail_under": fail_under,
        "below": below,
    }  # fmt: skip
    call.result("stats", data, lambda: _text(found, metrics, judged, begin, plain=call.plain))
    if below:
        call.note(f"Below {fail_under:g} or unknown: {', '.join(below)}.")
    return NEGATIVE if below else 0


def _reports(session: Session, rules: Sequence[Rules], begin: datetime | None) -> dict[str, tuple[Report, ...]]:
    """Return the metrics of every skill by its name, and those of all skills together where there are several."""
    from models import metrics
    from pipeline.metrics import report

    found = {
        str(one.skill.name): tuple(
            report(figures, one.skill.name) for figures in metrics.figures(session, skill=one.skill.name, since=begin)
        )
        for one in rules
    }
    if len(rules) > 1:
        found[ALL] = tuple(report(figures) for figures in metrics.figures(session, since=begin))
    return found


def _fields(one: SkillStatus, versions: Sequence[VersionLine], metrics: Sequence[Report]) -> dict[str, object]:
    return {
        "skill": one.skill, "version": one.version, "threshold": one.threshold, "samples": one.samples,
        "window": one.accuracy, "versions": [{"version": v.version, "accuracy": v.accuracy} for v in versions],
        "metrics": metrics, "failed": one.failed,
    }  # fmt: skip


def _text(
    found: Sequence[tuple[SkillStatus, Sequence[VersionLine]]],
    metrics: dict[str, tuple[Report, ...]],
    judged: dict[str, tuple[JudgeAgreement, ...]],
    begin: datetime | None,
    *,
    plain: bool,
) -> str:
    from ops.cli.output import moment

    parts = [_accuracies(found, plain=plain)]
    whose = ALL if ALL in metrics else next(iter(metrics), ALL)
    since = f" since {moment(begin)}" if begin else ""
    for report in metrics.get(whose, ()):
        mark = f" ({SIMULATED}: no figure here is a real model's)" if report.figures.simulated else ""
        parts.append(f"Metrics of {whose}{since}{mark}\n{_table(report, plain=plain)}")
    if len(metrics.get(whose, ())) > 1:
        parts.append(f"Real and {SIMULATED} runs are counted apart.")
    rows = [_agreement(one) for every in judged.values() for one in every]
    if rows:
        parts.append(f"Judge and votes\n{table(AGREEMENT, rows, plain=plain)}")
    alerts = [f"Alert, sure: {failure(one.failed)}" for one, _ in found if one.failed] + _alerts(metrics)
    return "\n\n".join([*parts, "\n".join(alerts)] if alerts else parts)


def _agreement(one: JudgeAgreement) -> tuple[object, ...]:
    """Write how the judge's scores went with later votes."""
    mark = f"{one.skill} ({SIMULATED})" if one.simulated else one.skill
    ends = [
        "-" if figure.low is None or figure.high is None else f"{figure.low:.2f} to {figure.high:.2f}"
        for figure in (one.rank, one.winners)
    ]
    return mark, number(one.rank.value), ends[0], one.rank.n, number(one.winners.value), ends[1], one.winners.n


def _accuracies(found: Sequence[tuple[SkillStatus, Sequence[VersionLine]]], *, plain: bool) -> str:
    rows: list[tuple[object, ...]] = []
    for one, versions in found:
        lines = [("window", one.version, one.accuracy), *(("all", v.version, v.accuracy) for v in versions)]
        for what, version, a in lines:
            if a.n or what == "window":
                interval = f"{a.low:.2f} to {a.high:.2f}" if a.n else "-"
                rows.append((one.skill, f"v{version}", what, number(a.value), interval, a.n, a.basis))
    return table(("SKILL", "PROMPT", "OVER", "ACCURACY", "95 %", "SAMPLES", "JUDGED"), rows, plain=plain)


def _table(report: Report, *, plain: bool) -> str:
    rows = [(_name(one), _value(one, report), _interval(one), _target(one), one.state) for one in report.metrics]
    return table(("METRIC", "VALUE", "95 %", "TARGET", "STATE"), rows, plain=plain)


def _alerts(metrics: dict[str, tuple[Report, ...]]) -> list[str]:
    """One line per alert of a skill; one over all skills is told where no skill has it by itself."""
    told: set[tuple[str, bool]] = set()
    lines: list[str] = []
    for whose, reports in metrics.items():
        for report in reports:
            for alert in report.alerts:
                key = (alert.metric, report.figures.simulated)
                if whose != ALL or key not in told:
                    lines.append(_alert(whose, report, alert))
                told.add(key)
    return lines


def _alert(whose: str, report: Report, alert: Alert) -> str:
    from pipeline.metrics import GOALS

    one = next(metric for metric in report.metrics if metric.name == alert.metric)
    goal = GOALS[one.name]
    beyond = f"{'above' if goal.low else 'below'} {goal.alert:.2f}"
    mark = f" ({SIMULATED})" if report.figures.simulated else ""
    surely = "sure" if alert.sure else "likely"
    return f"Alert, {surely}: {_name(one)} of {whose}{mark} is {beyond}: {_value(one, report, 3)}. {alert.action}"


def _name(metric: Metric) -> str:
    return metric.name.replace("_", " ")


def _value(metric: Metric, report: Report, digits: int = 2) -> str:
    """Write a figure with what it rests on; *digits* of a share, more where it must not look like its mark."""
    from pipeline.metrics import MICRODOLLARS, Name

    written, spending = report.figures.written, report.figures.spending
    if metric.value is None:
        unmeasured = report.figures.promotions
        return f"- (0 of {unmeasured} promotions measured)" if metric.name is Name.GAIN and unmeasured else "-"
    if metric.name is Name.USEFUL:
        return f"{metric.value:.{digits}f} ({written.useful} of {written.variants})"
    if metric.name is Name.CLOUD:
        unused = "" if spending.cloud else "; the cloud is not used"
        return f"{metric.value:.{digits}f} ({spending.cloud} of {metric.n}{unused})"
    if metric.name is Name.GAIN:
        return f"{metric.value:+.{digits}f} ({metric.n} of {report.figures.promotions} promotions measured)"
    over = f"({metric.n} evolution{'s' if metric.n > 1 else ''})"
    if metric.name is Name.COST:
        return f"${metric.value / MICRODOLLARS:.4f} {over}"
    return f"{minutes(metric.value)} {over}" if metric.name is Name.MINUTES else f"{metric.value:.0f} {over}"


def _interval(metric: Metric) -> str:
    from pipeline.metrics import Name

    if metric.low is None or metric.high is None:
        return "-"
    sign = "+" if metric.name is Name.GAIN else ""
    return f"{metric.low:{sign}.2f} to {metric.high:{sign}.2f}"


def _target(metric: Metric) -> str:
    from pipeline.metrics import GOALS, MICRODOLLARS, Name

    goal = GOALS.get(metric.name)
    if goal is None:
        return "-"
    if metric.name is Name.COST:
        return f"below ${goal.target / MICRODOLLARS:.2f}"
    return (
        f"below {goal.target:.2f}"
        if goal.low
        else f"{goal.target:{'+' if metric.name is Name.GAIN else ''}.2f} or more"
    )
