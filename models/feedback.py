"""Writing samples and labels. Each command is a batch, and the newest batch can be taken back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import contents, monitors, prompts
from models.feedback_checks import known_of, refuse_unusable
from models.runs import ensure_skill
from models.samples import reference
from models.tables import AssignmentRow, BallotRow, LabelEventRow, SampleRow
from pipeline.algorithms.splits import fraction
from pipeline.domain import Label, LabelSource
from pipeline.errors import BadInput
from pipeline.rules import Rules
from pipeline.scoring import is_correct, needs_outside, score
from pipeline.splits import split_of

_COLUMNS = (
    *(
        "fields",
        "output",
        "expected",
        "label",
        "label_source",
        "lost",
        "split",
        "version",
        "variant_id",
        "ballot_wanted",
        "batch",
    ),
    "judged_at",
)
Content = Callable[[str], str]  # names the content of a row's fields
MATURED = 1000  # silent outputs that one transaction lets count as ok; the next round takes the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a host or a person says about one task.

    Attributes:
        task_id: the host's own; the same id again changes the same sample.
        fields: the input's named texts; empty leaves those of a known sample.
        output: what the skill answered.
        expected: a corrected answer, None where none was given.
        label: a person's verdict; None lets the scorer judge where `expected` is known.
        version: prompt version that wrote the output; None means the one that was in use at that time.
        at: when it was judged; None means now. Never in the future.
        history: the output is from some time in the past; without `at` nobody knows which prompt wrote it once there
            was more than one, and then it counts for none.
        variant: challenger that wrote the output, during a test in the live mode; None means the prompt in use.
    """

    task_id: str
    fields: tuple[tuple[str, str], ...] = ()
    output: str | None = None
    expected: str | None = None
    label: Label | None = None
    version: int | None = None
    at: datetime | None = None
    history: bool = False
    variant: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What became of one piece of feedback."""

    sample: int
    new: bool
    label: Label | None
    source: LabelSource | None


def note(
    session: Session, rules: Rules, feedback: Feedback, *, batch: str, now: datetime, ballot: bool = False
) -> Noted:
    """Write one sample or change its label, so that `undo` can take it back; a label that counts enters its stream.

    Raises:
        BadInput: an unknown sample without input, a time in the future, or text that cannot be kept.
    """
    (noted,) = note_all(session, rules, [feedback], batch=batch, now=now, ballot=ballot)
    return noted


def note_all(
    session: Session, rules: Rules, items: Iterable[Feedback], *, batch: str, now: datetime, ballot: bool = False
) -> list[Noted]:
    """Write several samples; their labels enter the stream together, in the order of maturity.

    Raises:
        BadInput: see `note`; the transaction is the caller's to roll back.
    """
    ensure_skill(session, rules.skill.name, now)
    monitors.hold(session, rules)
    content, known = contents.reader(session, rules.skill.name), known_of(session, rules)
    items = list(items)
    for item in items:
        texts = (item.output or "", item.expected or "")
        refuse_unusable(known, item.task_id, item.fields, texts, item.version, history=item.history)
    written = [_note(session, rules, item, content, batch=batch, now=now, ballot=ballot) for item in items]
    monitors.feed(session, rules, now)
    return [
        Noted(
            sample=row.id,
            new=new,
            label=Label(row.label) if row.label else None,
            source=LabelSource(row.label_source) if row.label_source else None,
        )
        for row, new in written
    ]


def _note(
    session: Session, rules: Rules, feedback: Feedback, content: Content, *, batch: str, now: datetime, ballot: bool
) -> tuple[SampleRow, bool]:
    skill = ensure_skill(session, rules.skill.name, now)
    row = session.scalar(select(SampleRow).where(SampleRow.skill_name == skill, SampleRow.task_id == feedback.task_id))
    new = row is None
    if row is None:
        if not feedback.fields:
            raise BadInput(
                f"Task {feedback.task_id!r} is not known, and its input was not given.",
                why="The first word about a task needs what went in, also where its prompt was assigned.",
                hint="Add --input KEY=VALUE for each field of the prompt.",
            )
        row = SampleRow(skill_name=skill, task_id=feedback.task_id, fields="{}", split="", created_at=now)
        before = ""
    else:
        before = json.dumps({name: _plain(getattr(row, name)) for name in _COLUMNS})
    said, was = (row.label, row.label_source, row.output), content(row.fields)
    _fill(session, row, rules, feedback, now)
    if not row.split or content(row.fields) != was:  # another input is another task; the same one keeps its part
        row.split = split_of(skill, content(row.fields))
    if row.entered == monitors.NEVER and said != (row.label, row.label_source, row.output):
        row.entered = None  # another verdict, or one on an output that was missing: this one may count
    live = new and not feedback.history
    fresh = live or (new and ((row.label is None and row.expected is None) or _assigned(session, row)))
    row.batch = batch
    row.ballot_wanted = row.ballot_wanted or ballot or (fresh and ballot_drawn(rules, feedback.task_id))
    row.audit = row.audit or (live and audit_drawn(rules, feedback.task_id))
    session.add(row)
    session.flush()
    session.add(LabelEventRow(sample_id=row.id, batch=batch, before=before, at=now))
    return row, new


def _assigned(session: Session, row: SampleRow) -> bool:
    """Tell whether a host has asked for this task's prompt: then it is new, however its outcome is told.

    Of an import, only that and tasks without a verdict may become ballots: tasks that were told because they failed would
    favour any challenger.
    """
    return session.get(AssignmentRow, (row.skill_name, row.task_id)) is not None


def undo(session: Session, rules: Rules, now: datetime, batch: str | None = None) -> tuple[str, int]:
    """Take *batch* of a skill back, or the newest one; samples that are on a ballot stay and only lose their label.

    Returns:
        The batch's name and how many samples were restored or removed; ("", 0) when there is nothing to undo.
    """
    skill = rules.skill.name
    monitors.hold(session, rules)
    newest = batch or session.scalar(
        select(LabelEventRow.batch)
        .join(SampleRow, SampleRow.id == LabelEventRow.sample_id)
        .where(SampleRow.skill_name == skill, LabelEventRow.undone.is_(False))
        .order_by(LabelEventRow.id.desc())
        .limit(1)
    )
    if newest is None:
        return "", 0
    events = session.scalars(
        select(LabelEventRow)
        .join(SampleRow, SampleRow.id == LabelEventRow.sample_id)
        .where(LabelEventRow.batch == newest, SampleRow.skill_name == skill, LabelEventRow.undone.is_(False))
        .order_by(LabelEventRow.id.desc())
    ).all()
    for event in events:
        event.undone = True
        _restore(session, session.get_one(SampleRow, event.sample_id), event.before)
    session.flush()
    if events:
        monitors.rebuild(session, rules, now)
    return newest, len(events)


def mature(session: Session, rules: Rules, now: datetime) -> int:
    """Let an output that nobody complained of count as an implicit ok after the set time. Returns how many."""
    triggers = rules.settings.triggers
    if not triggers.implicit_ok or LabelSource.IMPLICIT not in rules.skill.labels:
        return 0
    before = now - timedelta(hours=triggers.implicit_ok_h)
    monitors.hold(session, rules)
    silent = session.scalars(
        select(SampleRow)
        .where(
            SampleRow.skill_name == rules.skill.name,
            SampleRow.label.is_(None),
            SampleRow.output.is_not(None),
            SampleRow.expected.is_(None),
            SampleRow.created_at < before,
        )
        .order_by(SampleRow.created_at, SampleRow.id)
        .limit(MATURED)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    for row in silent:
        row.label, row.label_source, row.judged_at = Label.OK, LabelSource.IMPLICIT, now
    if silent:
        monitors.feed(session, rules, now)
    return len(silent)


def ballot_drawn(rules: Rules, task_id: str) -> bool:
    """Tell whether a task becomes a ballot: drawn from its id, so asking again gives the same answer."""
    return fraction(f"ballot:{rules.skill.name}:{task_id}") < rules.settings.voting.show_probability


def audit_drawn(rules: Rules, task_id: str) -> bool:
    """Tell whether a person is asked about a task, whatever happened: drawn from its id with a known probability."""
    return fraction(f"audit:{rules.skill.name}:{task_id}") < rules.settings.triggers.audit_probability


def _fill(session: Session, row: SampleRow, rules: Rules, feedback: Feedback, now: datetime) -> None:
    if feedback.at is not None and feedback.at > now + timedelta(minutes=5):
        raise BadInput(f"Task {feedback.task_id!r} was judged in the future ({feedback.at:%Y-%m-%d %H:%M} UTC).")
    if feedback.fields:
        row.fields = json.dumps(dict(feedback.fields), ensure_ascii=False)
    if feedback.output is not None:
        if row.output not in (None, feedback.output):
            row.label = row.label_source = None  # what was said of another answer does not hold for this one
        row.output = feedback.output
    if feedback.expected is not None:
        row.expected = feedback.expected
    if feedback.version is not None:
        row.version = feedback.version
    elif row.version is None:
        row.version = prompts.version_at(session, rules.skill, feedback.at, live=not feedback.history)
    if feedback.variant is not None:
        row.variant_id = feedback.variant
    _judge(row, rules, feedback.label)
    row.judged_at = (feedback.at or now) if row.label else None
    row.known = reference(row) is not None


def _judge(row: SampleRow, rules: Rules, label: Label | None) -> None:
    """A person's word holds; without one the scorer speaks where the right answer is known."""
    known = row.output is not None and row.expected is not None and not needs_outside(rules.skill)
    scored = score(rules.skill, row.output or "", row.expected or "", json.loads(row.fields)) if known else None
    row.lost = ",".join(scored.lost) if scored else ""
    if label is not None:
        row.label, row.label_source = label, LabelSource.PERSON
    elif scored is not None and row.label_source != LabelSource.PERSON and LabelSource.SCORER in rules.skill.labels:
        row.label, row.label_source = (Label.OK if is_correct(rules.skill, scored) else Label.BAD), LabelSource.SCORER


def _restore(session: Session, row: SampleRow, before: str) -> None:
    if before:
        kept = json.loads(before)
        for name in (name for name in _COLUMNS if name in kept):
            value = kept[name]
            setattr(row, name, datetime.fromisoformat(value) if name == "judged_at" and value else value)
        row.known = reference(row) is not None
        if row.label is None:
            row.entered = None  # the next word on it is its first
    elif session.scalar(select(BallotRow.id).where(BallotRow.sample_id == row.id).limit(1)):
        row.label = row.label_source = row.judged_at = row.entered = None
        row.known = reference(row) is not None
    else:
        session.delete(row)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
