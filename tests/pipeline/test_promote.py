"""Stage 6: the guard, a person's word, and a configuration that says no."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.domain import Ending, RunKind, SkillName, VariantId
from pipeline.flow import Publish, Published, Reply, Request, drive
from pipeline.promote import PromoteCase, Target, promote
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec

CASE = PromoteCase(
    rules=Rules(settings=Settings(), skill=SkillSpec(name=SkillName("x"), template="skills/x.md")),
    kind=RunKind.EVOLUTION,
    now=datetime(2026, 3, 1, 12, tzinfo=UTC),
    in_use=1,
    in_use_text="old\n---\n{{a}}\n",
    target=Target(version=2, text="new\n---\n{{a}}\n", template="skills/x-v2.md", variant=VariantId(7)),
    accuracy_before=0.6,
    accuracy_after=0.8,
    drop_probability=0.01,
    reason="won",
)


def _publishes(ok: bool = True, message: str = "") -> tuple[list[Publish], object]:  # noqa: FBT001, FBT002 - a test's knob
    seen: list[Publish] = []

    def answer(request: Request) -> Reply:
        assert isinstance(request, Publish)
        seen.append(request)
        return Published(ok=ok, template=request.template, message=message)

    return seen, answer


def test_the_winner_is_published_with_what_is_known_of_it() -> None:
    """One publication carries version, file, accuracies and time, and expects the version that was in use."""
    seen, answer = _publishes()

    decision = drive(promote(CASE), answer)  # type: ignore[arg-type]

    assert decision.next is Ending.PROMOTED
    assert [(p.version, p.template, p.expected_version, p.evolved_at) for p in seen] == [
        (2, "skills/x-v2.md", 1, "2026-03-01T12:00:00Z")
    ]
    assert (seen[0].previous_accuracy, seen[0].current_accuracy) == (0.6, 0.8)


@pytest.mark.parametrize("kind", [RunKind.ROLLBACK, RunKind.DRIFT_CHECK])
def test_a_rollback_ends_as_one(kind: RunKind) -> None:
    """The same publication under a rollback's run is a rollback."""
    _, answer = _publishes()

    assert drive(promote(replace(CASE, kind=kind)), answer).next is Ending.ROLLED_BACK  # type: ignore[arg-type]


def test_a_likely_drop_is_refused_before_anything_is_touched() -> None:
    """Above the set chance of a drop nothing is published."""
    seen, answer = _publishes()

    decision = drive(promote(replace(CASE, drop_probability=0.21)), answer)  # type: ignore[arg-type]

    assert decision.next is Ending.REFUSED
    assert seen == []
    assert "--force" in decision.reason


def test_a_person_overrides_the_guard() -> None:
    """Forced, even a certain drop is published."""
    _, answer = _publishes()

    assert drive(promote(replace(CASE, drop_probability=1.0, forced=True)), answer).next is Ending.PROMOTED  # type: ignore[arg-type]


def test_a_configuration_that_says_no_changes_nothing() -> None:
    """A refused publication ends the run with the configuration's own words."""
    _, answer = _publishes(ok=False, message="names version 3")

    decision = drive(promote(CASE), answer)  # type: ignore[arg-type]

    assert (decision.next, decision.applied, decision.reason) == (Ending.REFUSED, False, "names version 3")


def test_nothing_to_go_back_to_is_refused() -> None:
    """A rollback without an earlier version touches nothing."""
    seen, answer = _publishes()

    assert drive(promote(replace(CASE, target=None)), answer).next is Ending.REFUSED  # type: ignore[arg-type]
    assert seen == []
