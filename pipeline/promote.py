"""Stage 6 of 6 — promote or roll back: make the host's configuration point at another prompt.

It asks no model and waits for no quiet time. The effect on the configuration is a request like any other, so a killed
step repeats it, and repeating it changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.domain import Ending, Next, RunKind, VariantId
from pipeline.flow import Flow, Publish, publish
from pipeline.rules import Rules

BACK = (RunKind.DRIFT_CHECK, RunKind.ROLLBACK)  # runs that put an earlier version back


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The prompt to put in use.

    Attributes:
        text: whole template.
        template: path of its file, relative to the configuration's folder.
        variant: the variant it comes from; None for a version that was in use before.
    """

    version: int
    text: str
    template: str
    variant: VariantId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteCase:
    """What to put in use, and what is known of it.

    Attributes:
        kind: evolution and promotion promote, drift check and rollback roll back.
        in_use, in_use_text: version and template in use when this was decided; None in `target` means there is nothing to put in use.
        accuracy_before, accuracy_after: in [0, 1], of the prompt in use and of the target; None where not measured.
        drop_probability: chance that the target is worse than the prompt in use by more than the set drop; None where
            nothing was measured.
        forced: a person asked for it and overrides the guard.
    """

    rules: Rules
    kind: RunKind
    now: datetime
    in_use: int
    in_use_text: str
    target: Target | None
    accuracy_before: float | None
    accuracy_after: float | None
    drop_probability: float | None
    reason: str
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteDecision:
    """What came of it."""

    next: Next
    applied: bool
    target: Target | None
    template: str
    reason: str
    due: datetime | None = None  # only a wait has a timer


def promote(case: PromoteCase) -> Flow[PromoteDecision]:
    """Publish the target unless the guard or the configuration says no."""
    refused = _guard(case)
    if refused or case.target is None:
        return PromoteDecision(next=Ending.REFUSED, applied=False, target=case.target, template="", reason=refused)
    reply = yield from publish(
        Publish(
            skill=case.rules.skill.name,
            text=case.target.text,
            template=case.target.template,
            version=case.target.version,
            previous_accuracy=case.accuracy_before,
            current_accuracy=case.accuracy_after,
            evolved_at=case.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            expected_version=case.in_use,
            expected_text="" if case.forced else case.in_use_text,
            back=case.kind in BACK,
        )
    )
    if not reply.ok:
        return PromoteDecision(
            next=Ending.REFUSED, applied=False, target=case.target, template="", reason=reply.message
        )
    return PromoteDecision(
        next=Ending.ROLLED_BACK if case.kind in BACK else Ending.PROMOTED,
        applied=True,
        target=case.target,
        template=reply.template,
        reason=case.reason,
    )


def _guard(case: PromoteCase) -> str:
    """Say why the target must not be put in use; empty when it may."""
    if case.target is None:
        return "there is no earlier version to go back to"
    if case.forced or case.drop_probability is None:
        return ""
    rules = case.rules.settings.promotion
    if case.drop_probability <= rules.max_drop_probability:
        return ""
    return (
        f"on samples nothing was selected on, it may be more than {rules.max_drop:.2f} worse with probability "
        f"{case.drop_probability:.2f} (limit {rules.max_drop_probability:.2f}); `evoctl promote --force` overrides"
    )
