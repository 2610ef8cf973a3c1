"""The answerer of one job: journal(budget(live)). A flow never sees any of it.

The live models are loaded at the first request that needs one, so that detect and promote start fast.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from models import journal
from models.steps import Claim
from pipeline.algorithms.tokens import estimate
from pipeline.domain import RunKind, Stage
from pipeline.flow import Embed, Failed, FailureKind, Generate, Generated, Publish, Reply, Request, ScoreOutside
from workers.clock import now
from workers.home import Home
from workers.sessions import Database
from workers.trouble import check_room, check_writing, patiently

if TYPE_CHECKING:
    from workers.live import LiveModels
    from workers.present import Present
    from workers.scorers import OutsideScorers


class Answering:
    """Answers a flow's requests under one claim, from the journal first.

    Args:
        home: where things are.
        opened: the database.
        mine: the claim; every write is fenced by it.
        waited: the job waited for the gate before; a shut gate ends it at once.
    """

    def __init__(self, home: Home, opened: Database, mine: Claim, *, waited: bool) -> None:
        self._home, self._opened, self._mine, self._waited = home, opened, mine, waited
        with opened.read() as session:
            self._replies = journal.load_replies(session, mine)
            self._spent = journal.spent(session, mine.run)
        self._made: Counter[str] = Counter()
        self._roomy = False  # the disk has taken something since the job began
        self._marked = False  # the run is known to be simulated
        self._present: Present | None = None
        self._models: LiveModels | None = None
        self._scorers: OutsideScorers | None = None

    def __call__(self, request: Request) -> Reply:
        """Answer from the journal, or live and into the journal.

        Raises:
            StepAside: the job must make room.
            Unreachable: a server that is needed does not answer, or there is no room for its reply.
            Fenced: another attempt took the step over.
            RunOver: the skill's scorer is no longer the one that this run began with.
        """
        served_by = self._live().served_by(request) if isinstance(request, Generate | Embed) else ""
        sha = journal.request_sha(request, served_by)
        key = (sha, self._made[sha])
        self._made[sha] += 1
        known = self._replies.get(key)
        return known if known is not None else self._answered(request, key, served_by)

    def count(self, text: str) -> int | None:
        """Return the tokens of *text* by the generator's own vocabulary; None where it cannot be read."""
        return self._live().count(text)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections, let the server's lock go and end the scorers' processes."""
        for held in (self._models, self._scorers):
            if held is not None:
                held.close()

    def _answered(self, request: Request, key: journal.Key, served_by: str) -> Reply:
        role, tag, simulated = type(request).__name__, "", False
        if isinstance(request, Publish | ScoreOutside):
            reply = self._effect(request)
        elif self._spent_out():
            # No call is made, so there is nothing to remember.
            return Failed(kind=FailureKind.BUDGET, message="the evolution's budget is spent")
        else:
            self._check_room()
            live = self._live()
            reply = live.ask(request)
            if isinstance(reply, Generated):
                reply = replace(reply, served_by=served_by)
            self._spent = self._spent.plus(reply)
            role = request.role.value if isinstance(request, Generate) else "embedder"
            tag, simulated = live.tag_of(request), live.simulated
        guess = estimate(request.system + request.prompt) if isinstance(request, Generate) else 0.0
        self._remember(key, reply, role=role, tag=tag, simulated=simulated, guess=guess)
        return reply

    def _check_room(self) -> None:
        """Ask no model whose reply could not be kept.

        Raises:
            Unreachable: the disk is full.
        """
        check_room(self._home.root, self._mine.rules.settings.work.min_free_mb)
        if not self._roomy:
            check_writing(self._home.root)  # once for each job
        self._roomy = True

    def _remember(self, key: journal.Key, reply: Reply, *, role: str, tag: str, simulated: bool, guess: float) -> None:
        """Write a reply that was paid for; a database that is locked, or a disk that is full, is waited for."""
        fresh = simulated and not self._marked

        def write() -> None:
            with self._opened.write() as session:
                journal.record(
                    session, self._mine, key, reply, role=role, tag=tag, simulated=fresh, now=now(), estimate=guess,
                )  # fmt: skip

        patiently(write)
        self._marked = self._marked or simulated

    def _effect(self, request: Publish | ScoreOutside) -> Reply:
        if isinstance(request, Publish):
            from workers.effects import publish  # noqa: PLC0415 - YAML is for few jobs only

            return publish(self._home, self._opened, self._mine, request)
        self._now().check_scorer(self._mine.rules.skill.name, request.scorer)
        if self._scorers is None:
            from workers.scorers import OutsideScorers  # noqa: PLC0415 - subprocess is for few jobs only

            self._scorers = OutsideScorers(self._home)
        return self._scorers.score(request)

    def _spent_out(self) -> bool:
        """Only the search is held to the budget: a test that has begun is not broken off for it."""
        searching = self._mine.kind is RunKind.EVOLUTION and self._mine.stage is Stage.MUTATE
        search = self._mine.rules.settings.search
        return searching and (self._spent.calls >= search.budget_calls or self._spent.minutes >= search.budget_min)

    def _now(self) -> Present:
        """Return what the configuration says now."""
        if self._present is None:
            from workers.present import Present  # noqa: PLC0415 - YAML is for few jobs only

            self._present = Present(self._home)
        return self._present

    def _live(self) -> LiveModels:
        if self._models is None:
            from workers.live import LiveModels  # noqa: PLC0415 - the client costs half a second

            self._models = LiveModels(
                self._home, self._opened, self._mine, self._now().rules(self._mine.rules), waited=self._waited,
                begun=self._spent.calls > 0,
            )  # fmt: skip
        return self._models
