"""Monitors: the stream of matured labels of each prompt version, in a few numbers.

A label enters once, when it has matured, and never again: a later correction changes what is shown, not the stream. A check
costs the same whether the history has ten samples or a million.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from models import prompts, samples
from models.tables import PromptVersionRow, SampleRow, SkillRow
from models.watch_tables import MonitorRow
from pipeline.domain import Label, LabelSource
from pipeline.monitor import Entry, Monitor, Thresholds, acknowledged, begin, enter, refuted
from pipeline.rules import Rules
from pipeline.setting import from_data, to_data
from pipeline.strata import stratum_of

_BEFORE = 200  # newest labels of the replaced prompt that say how accurate it was
_BEFORE_LEAST = 20  # fewer say nothing
NEVER = 0  # place of a label that is not to enter
_CATCH_UP = 2000  # newest labels that a version without a monitor is begun with
_PRIOR = (9, 1)  # of the baseline: Beta(9, 1), decision study B3


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Labels that wait for older tasks without a verdict, and when silence will have judged the last of those."""

    labels: int
    until: datetime


def feed(session: Session, rules: Rules, now: datetime) -> None:
    """Enter the labels that have matured into the stream of the version in use, in the order of their tasks.

    A task that silence may still judge holds the later ones back: complaints come at once and silence only after a day, so
    that without it the first day of every prompt would be all complaints (drift study, B4).
    """
    in_use = prompts.active(session, rules.skill.name)
    if in_use is None:
        return
    hold(session, rules)
    session.flush()
    kept = _begun(session, rules, in_use, now)
    first = kept.base == 0 and prompts.previous(session, in_use.skill_name, in_use.version) is None
    monitor = before = _read(kept)
    for row in session.scalars(_ready(session, rules, in_use)).all():
        if _counts(row, rules) and (first or _of_this_spell(row, in_use)):
            kept.entered += 1
            row.entered = kept.entered
            monitor = enter(monitor, _entry(row))
        else:
            row.entered = NEVER
    if monitor is not before:
        _write(kept, monitor, now)


def hold(session: Session, rules: Rules) -> None:
    """Let the changes of a skill's stream come one after the other; taken before any of its samples is changed."""
    query = select(SkillRow.name).where(SkillRow.name == rules.skill.name)
    session.execute(query.with_for_update(key_share=True))  # weak enough for rows that refer to the skill


def current(session: Session, rules: Rules) -> Monitor | None:
    """Return what is remembered of the version in use; None before its first label, or before a new spell's."""
    in_use = prompts.active(session, rules.skill.name)
    kept = session.get(MonitorRow, (in_use.skill_name, in_use.version)) if in_use else None
    if in_use is None or kept is None or _earlier_spell(kept, in_use):
        return None
    return _read(kept)


def held_back(session: Session, rules: Rules) -> HeldBack | None:
    """Return what waits to enter the stream of the version in use; None when nothing does."""
    in_use = prompts.active(session, rules.skill.name)
    first = _first_silent(session, rules, in_use) if in_use else None
    if in_use is None or first is None:
        return None
    held = select(func.count(), func.max(SampleRow.created_at)).where(
        SampleRow.skill_name == in_use.skill_name, SampleRow.version == in_use.version, SampleRow.entered.is_(None),
        SampleRow.label.is_not(None), SampleRow.output.is_not(None), SampleRow.variant_id.is_(None),
        SampleRow.label_source.in_(rules.skill.labels), SampleRow.created_at >= first,
    )  # fmt: skip
    if in_use.activated_at is not None and prompts.previous(session, in_use.skill_name, in_use.version) is not None:
        held = held.where(SampleRow.judged_at >= in_use.activated_at)
    labels, newest = session.execute(held).one()
    if not labels:
        return None
    last = session.scalar(
        _silent(in_use).where(SampleRow.created_at <= newest).order_by(SampleRow.created_at.desc()).limit(1)
    )
    return HeldBack(labels=labels, until=(last or first) + timedelta(hours=rules.settings.triggers.implicit_ok_h))


def came_back(session: Session, rules: Rules) -> datetime | None:
    """Return since when the version in use is in use again; None where it was never replaced."""
    in_use = prompts.active(session, rules.skill.name)
    kept = session.get(MonitorRow, (in_use.skill_name, in_use.version)) if in_use else None
    spells = in_use is not None and kept is not None and (kept.base > 0 or _earlier_spell(kept, in_use))
    return in_use.activated_at if in_use is not None and spells else None


def acknowledge(session: Session, rules: Rules, now: datetime, *, warning_only: bool = False) -> None:
    """Begin the sums anew: what they had found was acted on, or refuted; of a refuted warning only its own sum."""
    hold(session, rules)
    in_use = prompts.active(session, rules.skill.name)
    key = (in_use.skill_name, in_use.version) if in_use else None
    kept = session.get(MonitorRow, key, populate_existing=True) if key else None
    if kept is not None:
        monitor = _read(kept)
        _write(kept, refuted(monitor) if warning_only else acknowledged(monitor), now)


def rebuild(session: Session, rules: Rules, now: datetime) -> None:
    """Count the stream of the version in use again, after labels were taken back.

    What had been raised and acted on, or refuted, is not raised a second time.
    """
    in_use = prompts.active(session, rules.skill.name)
    kept = session.get(MonitorRow, (in_use.skill_name, in_use.version)) if in_use else None
    if in_use is None or kept is None:
        return
    before, monitor = _read(kept), _begin(session, rules, in_use)
    rows = session.scalars(
        select(SampleRow)
        .where(
            SampleRow.skill_name == in_use.skill_name, SampleRow.version == in_use.version,
            SampleRow.entered > kept.base, SampleRow.label.is_not(None),
        )
        .order_by(SampleRow.entered)
    )  # fmt: skip
    for row in rows:
        monitor = enter(monitor, _entry(row))
    _write(kept, _no_news(before, monitor), now)


def _no_news(before: Monitor, after: Monitor) -> Monitor:
    """Take down what labels that were left raise again although it was down before some were taken back."""
    serious = (
        after.alarmed and not before.alarmed,
        after.disappointed and not before.disappointed,
        after.rate_shifted and not before.rate_shifted,
    )
    if any(serious):
        return acknowledged(after)
    return refuted(after) if after.warned and not before.warned else after


def _begun(session: Session, rules: Rules, in_use: PromptVersionRow, now: datetime) -> MonitorRow:
    """Return the version's row; a missing one, or one of an earlier spell in use, begins here."""
    kept = session.get(MonitorRow, (in_use.skill_name, in_use.version), populate_existing=True)
    if kept is None:
        kept = MonitorRow(
            skill_name=in_use.skill_name, version=in_use.version, entered=0, base=0, started_at=now, updated_at=now,
            state=_text(_begin(session, rules, in_use)),
        )  # fmt: skip
        session.add(kept)
        session.flush()
        _forget_old(session, in_use)
    elif _earlier_spell(kept, in_use):
        kept.base, kept.started_at, kept.state = kept.entered, now, _text(_begin(session, rules, in_use))
    return kept


def _forget_old(session: Session, in_use: PromptVersionRow) -> None:
    """Leave all but the newest labels out of a stream that begins only now: a home of an earlier release may have a million."""
    labelled = [
        SampleRow.skill_name == in_use.skill_name, SampleRow.version == in_use.version, SampleRow.entered.is_(None),
        SampleRow.label.is_not(None),
    ]  # fmt: skip
    newest = select(SampleRow.id).where(*labelled).order_by(SampleRow.created_at.desc(), SampleRow.id.desc())
    old = update(SampleRow).where(*labelled, SampleRow.id.not_in(newest.limit(_CATCH_UP).scalar_subquery()))
    session.execute(old.values(entered=NEVER).execution_options(synchronize_session=False))


def _ready(session: Session, rules: Rules, in_use: PromptVersionRow) -> Select[SampleRow]:
    """Select the labels that wait to enter, oldest task first, up to the first task that silence may still judge."""
    query = select(SampleRow).where(
        SampleRow.skill_name == in_use.skill_name, SampleRow.version == in_use.version, SampleRow.entered.is_(None),
        SampleRow.label.is_not(None),
    )  # fmt: skip
    silent_since = _first_silent(session, rules, in_use)
    if silent_since is not None:
        query = query.where(SampleRow.created_at < silent_since)
    return query.order_by(SampleRow.created_at, SampleRow.judged_at, SampleRow.id)


def _first_silent(session: Session, rules: Rules, in_use: PromptVersionRow) -> datetime | None:
    triggers = rules.settings.triggers
    if not triggers.implicit_ok or LabelSource.IMPLICIT not in rules.skill.labels:
        return None
    return session.scalar(_silent(in_use).order_by(SampleRow.created_at).limit(1))


def _silent(in_use: PromptVersionRow) -> Select[datetime]:
    """Select when the tasks came that silence may still judge."""
    return select(SampleRow.created_at).where(
        SampleRow.skill_name == in_use.skill_name, SampleRow.version == in_use.version, SampleRow.label.is_(None),
        SampleRow.output.is_not(None), SampleRow.expected.is_(None), SampleRow.variant_id.is_(None),
    )  # fmt: skip


def _counts(row: SampleRow, rules: Rules) -> bool:
    """Tell whether a label is of a verdict that counts, on an output of the prompt itself."""
    return row.output is not None and row.variant_id is None and row.label_source in rules.skill.labels


def _of_this_spell(row: SampleRow, in_use: PromptVersionRow) -> bool:
    """Tell whether a label was given since the version came into use; what was judged before is another story."""
    return in_use.activated_at is None or row.judged_at is None or row.judged_at >= in_use.activated_at


def _earlier_spell(kept: MonitorRow, in_use: PromptVersionRow) -> bool:
    return in_use.activated_at is not None and kept.started_at < in_use.activated_at


def _begin(session: Session, rules: Rules, in_use: PromptVersionRow) -> Monitor:
    """Begin a stream; a promoted version is watched against the accuracy of the prompt that it replaced."""
    before = prompts.previous(session, in_use.skill_name, in_use.version)
    watch: float | None = None
    if before is not None:
        verdicts = samples.judged(session, rules, before.version, _BEFORE)
        if len(verdicts) >= _BEFORE_LEAST:
            watch = (_PRIOR[0] + sum(ok for ok, _ in verdicts)) / (sum(_PRIOR) + len(verdicts))
    triggers = rules.settings.triggers
    thresholds = Thresholds(
        baseline_labels=triggers.baseline_labels, floor=triggers.accuracy_threshold,
        false_alarm_labels=triggers.false_alarm_labels, warn_labels=triggers.warn_labels,
    )  # fmt: skip
    return begin(thresholds, watch=watch)


def _entry(row: SampleRow) -> Entry:
    return Entry(
        ok=row.label == Label.OK,
        explicit=row.label_source == LabelSource.PERSON,
        stratum=stratum_of(samples.fields_of(row)),
    )


def _read(kept: MonitorRow) -> Monitor:
    return from_data(Monitor, json.loads(kept.state))


def _text(monitor: Monitor) -> str:
    return json.dumps(to_data(monitor), separators=(",", ":"))


def _write(kept: MonitorRow, monitor: Monitor, now: datetime) -> None:
    kept.state, kept.updated_at = _text(monitor), now
