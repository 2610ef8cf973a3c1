"""The Python client: everything a host or a command does with the pipeline, one method each.

Every change is one transaction in the database; the bell that follows is best effort, because the step table is the
outbox. A client is for one thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from sqlalchemy.exc import IntegrityError

from models import assign, ballots, checks, feedback, prompts, steps, votes
from models.feedback import Feedback, Noted
from models.runs import Bell, cancel
from models.stages.promote import give_up
from models.tables import VariantRow
from models.work_tables import RunRow, StepRow
from pipeline.algorithms.invisible import is_hidden
from pipeline.detect import DetectDecision
from pipeline.domain import Choice, Ending, Fate, Stage, StepState
from pipeline.errors import BadInput, NotFound, Refused
from pipeline.settings import Settings
from pipeline.skills import parse_template
from workers.clock import now
from workers.estimate import examined
from workers.open_home import OpenHome
from workers.refusal import refuse_without_options

MAX_VARIANTS = 10
CHUNK = 100  # samples written in one transaction, about a tenth of a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A run that was started.

    Attributes:
        rung: False when Redis was away; `evoctl tick` rings when it is back.
        finding: what the drift check would say without a person's order.
        replaced: runs that waited, and that were cancelled because this one takes their place.
    """

    run: int
    rung: bool
    finding: DetectDecision | None = None
    replaced: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one feedback command did.

    Attributes:
        check: the run that the feedback set off, if any.
    """

    name: str
    notes: tuple[Noted, ...]
    check: int | None


class Evolution(OpenHome):
    """The pipeline of one home.

    Args:
        home: where things are.

    Example::

        from workers.client import Evolution
        from workers.home import find_home

        with Evolution(find_home()) as evolution:
            prompt = evolution.assign("file-naming", "task-17")
    """

    # --- evolving ---------------------------------------------------------------------------------------------------

    def enqueue(
        self, skill: str, *, force: bool = False, settings: Settings | None = None, seed: int | None = None
    ) -> Started:
        """Start an evolution because a person asks for it; accuracy need not have fallen.

        It takes the place of a run that nobody asked for and that still waits for a quiet moment.

        Raises:
            Refused: cooldown or poor candidate (unless *force*), a test under way, or too little feedback.
            BadInput: the budget cannot test three proposals.
        """
        rules = self.rules(skill, settings)
        text = self.template(rules)
        with self.database.write() as session:
            finding = examined(session, rules, self.config, force=force)
            replaced = checks.replace_waiting(session, rules.skill.name, now())
            bell = checks.start_check(session, rules, text, now(), trigger="person", forced=True, seed=seed)
        return Started(run=bell.run, rung=self.ring([bell]), finding=finding, replaced=replaced)

    def create(
        self, skill: str, instructions: tuple[str, ...], *, reason: str, settings: Settings | None = None
    ) -> Started:
        """Put prompts that a person wrote to the vote, without any generator.

        Raises:
            BadInput: no prompt, too many, or one that cannot be used.
            Refused: another evolution of the skill is open, or no load options for the user's own model are set.
        """
        rules = self.rules(skill, settings)
        refuse_without_options(rules, self.config)
        text = self.template(rules)
        known = {parse_template(text).instruction.strip()}
        for number, instruction in enumerate(instructions, start=1):
            if not instruction.strip() or instruction.strip() in known:
                raise BadInput(f"Variant {number} is empty or the same as another prompt of the test.")
            if any(is_hidden(char) for char in instruction if char not in "\n\t"):
                raise BadInput(f"Variant {number} has characters that nobody sees.", hint="Save it as plain text.")
            known.add(instruction.strip())
        if not 1 <= len(instructions) <= MAX_VARIANTS:
            raise BadInput(f"A test takes 1 to {MAX_VARIANTS} variants.")
        try:
            with self.database.write() as session:
                bell = checks.start_manual(session, rules, text, instructions, now(), reason)
        except IntegrityError as error:
            raise Refused(f"An evolution of {skill} is under way.", hint=f"evoctl results {skill}") from error
        return Started(run=bell.run, rung=self.ring([bell]))

    def cancel(self, run: int, reason: str) -> None:
        """Stop a run.

        Raises:
            NotFound: there is none.
            Refused: it has ended.
        """
        with self.database.write() as session:
            row = session.get(RunRow, run)
            if row is None:
                raise NotFound(f"There is no run r{run}.", hint="evoctl runs")
            if row.ended_at is not None:
                raise Refused(f"Run r{run} has ended ({row.ending}).")
            if steps.promoting(session, run):
                raise Refused(f"Run r{run} is changing the configuration right now.", hint="evoctl status")
            ballots.close_ballots(session, run, now())
            cancel(session, row, reason, now())

    # --- deciding ---------------------------------------------------------------------------------------------------

    def next_ballot(self, skill: str | None = None) -> ballots.Shown | None:
        """Return the next ballot to vote on, None when there is none."""
        with self.database.read() as session:
            return ballots.next_ballot(session, skill)

    def vote(
        self, ballot: int, choice: Choice, *, position: int | None = None, voter: str = "", took_ms: int | None = None
    ) -> votes.Counted:
        """Count a vote and decide; what the vote sets off is rung at once.

        Raises:
            NotFound, BadInput, Refused: see `models.votes.record_vote`.
        """
        with self.database.write() as session:
            counted = votes.record_vote(
                session, ballot, choice, position=position, voter=voter, took_ms=took_ms, now=now()
            )
        self.ring(counted.bells)
        return counted

    def undo_vote(self, ballot: int) -> bool:
        """Take the newest vote of a test back; False when the ballot has none.

        Raises:
            NotFound, Refused: see `models.votes.undo_vote`.
        """
        with self.database.write() as session:
            return votes.undo_vote(session, ballot)

    def promote(self, skill: str, variant: int, *, force: bool = False, reason: str = "") -> str:
        """Put a variant in use now, in this process; returns the run's ending in words.

        Raises:
            NotFound: the skill has no such variant.
            Refused: a guard or the configuration said no.
        """
        rules = self.rules(skill)
        text = self.template(rules)
        with self.database.write() as session:
            row = session.get(VariantRow, variant)
            if row is None or row.skill_name != rules.skill.name:
                raise NotFound(f"{skill} has no variant {variant}.", hint=f"evoctl results {skill}")
            if row.fate == Fate.REFUSED and not force:
                hint = f"evoctl show {variant}, and evoctl promote --force if you want it all the same"
                raise Refused(f"The search refused variant {variant}.", why=f"{row.fate_reason}.", hint=hint)
            bell = checks.start_promotion(
                session, rules, text, variant, now(), forced=force, reason=reason or "promoted by a person"
            )
        return self._work_now(bell)

    def rollback(self, skill: str, *, to: int | None = None, reason: str = "") -> str:
        """Put an earlier version back in use now, in this process; returns the run's ending in words.

        Raises:
            NotFound: there is no such version.
            Refused: there is nothing to go back to, or the configuration said no.
        """
        rules = self.rules(skill)
        text = self.template(rules)
        with self.database.write() as session:
            bell = checks.start_rollback(session, rules, text, to, now(), reason or "rolled back by a person")
        return self._work_now(bell)

    # --- feedback and hosts -----------------------------------------------------------------------------------------

    def feedback(self, skill: str, items: Iterable[Feedback]) -> Batch:
        """Write samples and labels as one batch, and start a check when they give reason for one.

        Raises:
            BadInput: an item cannot be used; then none is written.
        """
        rules = self.rules(skill)
        text = self.template(rules)
        name = f"b{secrets.token_hex(4)}"
        notes: list[Noted] = []
        with self.database.write() as session:
            prompts.note_version(session, rules.skill, text, now())
        try:
            for chunk in _chunks(items, CHUNK):
                with self.database.write() as session:
                    notes += feedback.note_all(session, rules, chunk, batch=name, now=now())
        except BadInput:
            with self.database.write() as session:
                feedback.undo(session, rules, now(), batch=name)
            raise
        with self.database.write() as session:
            bell = checks.start_if_worth(session, rules, text, now())
            bells = votes.news(session, rules.skill.name, now())
        self.ring([bell, *bells] if bell else bells)
        return Batch(name=name, notes=tuple(notes), check=bell.run if bell else None)

    def undo(self, skill: str) -> tuple[str, int]:
        """Take the newest feedback batch back; returns its name and size, ("", 0) when there is none."""
        rules = self.rules(skill)
        with self.database.write() as session:
            return feedback.undo(session, rules, now())

    def assign(self, skill: str, task_id: str) -> assign.Assigned:
        """Return the prompt to use for a task; the same one when asked again."""
        rules = self.rules(skill)
        text = self.template(rules)
        with self.database.write() as session:
            return assign.assign(session, rules, text, task_id, now())

    def outcome(self, skill: str, item: Feedback) -> Noted:
        """Record how an assigned task went.

        Raises:
            NotFound: nothing was assigned for it.
        """
        rules = self.rules(skill)
        text = self.template(rules)
        with self.database.write() as session:
            row = assign.outcome(session, rules.skill.name, item.task_id)
            batch = f"b{secrets.token_hex(4)}"
            item = replace(item, version=row.version, variant=row.variant_id)
            noted = feedback.note(session, rules, item, batch=batch, now=now(), ballot=row.ballot)
            row.outcome, row.outcome_at = noted.label, (row.outcome_at or now()) if noted.label else None
            bell = checks.start_if_worth(session, rules, text, now())
            bells = votes.news(session, rules.skill.name, now())
        self.ring([bell, *bells] if bell else bells)
        return noted

    def _work_now(self, bell: Bell) -> str:
        """Do a promotion or rollback here and now; a killed process leaves it to the worker."""
        from workers.turn import take_turn  # noqa: PLC0415 - only these two commands work themselves

        said = take_turn(Stage.PROMOTE, bell.step, bell.attempt, self.home)
        with self.database.read() as session:
            run = session.get_one(RunRow, bell.run)
            step = session.get_one(StepRow, bell.step)
            ending, reason, state, waits = run.ending, run.ending_reason, step.state, step.waiting_for
        if ending in (Ending.REFUSED, Ending.FAILED):
            raise Refused(f"Nothing was changed: {reason}", hint="evoctl doctor")
        if state == StepState.READY and waits:
            # A person is here and can see to it, so nothing is to happen later by itself.
            with self.database.write() as session:
                cancel(session, session.get_one(RunRow, bell.run), waits, now())
                give_up(session, bell.run, waits)
            raise Refused(f"Nothing was changed: {waits}", hint="Then give the command again.")
        if state != StepState.DONE:
            self.ring([bell])
            return f"queued: {said}"
        return ending


def _chunks(items: Iterable[Feedback], size: int) -> Iterator[list[Feedback]]:
    """Cut a batch up, so that nobody waits for the database as long as a large import takes."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk
