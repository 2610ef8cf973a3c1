"""What an evolution would cost, told before it starts, and the rules that it must pass to start at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from models import checks, contents, costs, judge_checks
from models.speeds import Speed, speeds
from pipeline.costs import (
    Labelled,
    ModelTime,
    Plan,
    least_minutes,
    model_time,
    plan_in_time,
    replay_calls,
    too_short,
    too_small,
)
from pipeline.costs import plan as plan_of
from pipeline.detect import DetectDecision
from pipeline.domain import Role
from pipeline.errors import BadInput, EvolutionError, Refused
from pipeline.judge_check import judge_calls, second_judge_calls
from pipeline.rules import Rules
from workers.clock import now
from workers.host_config import HostConfig
from workers.llm.sizes import Need, memory_need
from workers.refusal import refuse, refuse_without_options

if TYPE_CHECKING:
    from workers.overview import Overview


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run under the rules of a skill would cost now.

    Attributes:
        plan: what both budgets together allow; `short`: the minutes end the search before its calls do.
        second_judge: the most calls of a second judge, a check of it apart.
        judge_check: the judge's calls begin with a check of it on canaries.
        replay: task calls on held-out samples after the search; ballots, one call a prompt each, come on top.
        ballot_inputs: tasks of the history that the replay leaves for ballots; new tasks come on top.
        speeds: of each role, measured on this machine or assumed.
        assumed_short: by speeds that are assumed in part, the minutes cannot test three proposals.
        refusal: why the run would not be started; None when it would.
    """

    rules: Rules
    labelled: Labelled
    plan: Plan
    judge_check: bool
    short: bool
    replay: int
    second_judge: int
    ballot_inputs: int
    speeds: tuple[Speed, ...]
    time: ModelTime
    memory: Need
    assumed_short: bool
    refusal: EvolutionError | None

    @property
    def few(self) -> bool:
        """Whether there are too few labelled samples to tell prompts apart by them."""
        return self.labelled.total < self.rules.settings.search.min_labelled


def estimate(overview: Overview, rules: Rules, *, force: bool) -> Estimate:
    """Work out what a run under *rules* would cost; nothing is written, and neither Redis nor Ollama is needed.

    Raises:
        EvolutionError: the configuration or the database cannot be used.
    """
    search, gate, voting = rules.settings.search, rules.settings.gate, rules.settings.voting
    with overview.read() as session:
        labelled, held_out = (
            costs.labelled(session, rules.skill.name),
            contents.held_out(session, rules.skill.name),
        )
        measured, due = speeds(session, rules), judge_checks.due(session, rules, now())
        refusal: EvolutionError | None = None
        try:
            examined(session, rules, overview.config, force=force)
        except (BadInput, Refused) as no:
            refusal = no
    seconds = _seconds(measured)
    planned = plan_in_time(search, labelled, seconds)
    second = second_judge_calls(rules.settings.judging, planned.judge)
    planned = replace(planned, judge=judge_calls(rules.settings.judging, planned.judge, due))
    replay = replay_calls(rules.settings.voting, labelled) if planned.measured else 0
    return Estimate(
        rules=rules,
        labelled=labelled,
        plan=planned,
        judge_check=due > 0,
        short=planned.calls < plan_of(search, labelled).calls,
        replay=replay,
        second_judge=second,
        ballot_inputs=max(0, held_out - min(labelled.confirm, voting.replay_confirm)) if voting.from_history else 0,
        speeds=measured,
        time=model_time(planned, search.budget_min, seconds, replay=replay),
        memory=memory_need(rules, timeout_s=gate.ps_timeout_s),
        assumed_short=bool(too_short(planned, search.budget_min, seconds)) and not _is_measured(measured),
        refusal=refusal,
    )


def examined(session: Session, rules: Rules, config: HostConfig, *, force: bool) -> DetectDecision:
    """Look whether a person's order to evolve may be followed, and return what a drift check would find.

    Raises:
        Refused: cooldown or poor candidate (unless *force*), a test or check under way, too little feedback, or no
            load options for the user's own model.
        BadInput: the budget cannot test three proposals.
    """
    skill = rules.skill.name
    replaced = checks.replaceable(session, skill)  # a person's order takes their place
    finding = checks.ordered(session, rules, now(), without=replaced)
    refuse(finding, skill, config, force=force, run=checks.open_evolution(session, skill))
    refuse_without_options(rules, config)
    if checks.check_open(session, skill, without=replaced):
        raise Refused(f"A check of {skill} is under way.", hint="evoctl status")
    _refuse_small(session, rules, config)
    return finding


def _refuse_small(session: Session, rules: Rules, config: HostConfig) -> None:
    """Refuse a budget that cannot test three proposals; minutes only by measured speeds."""
    search, planned = rules.settings.search, costs.plan(session, rules)
    what = too_small(planned, search.budget_calls)
    if what:
        raise BadInput(
            what,
            why=_why(rules, config, "budget_calls", f"{planned.least} calls are the fewest that can"),
            hint=f"evoctl enqueue {rules.skill.name} --calls {planned.least}",
        )
    measured = speeds(session, rules)
    what = too_short(planned, search.budget_min, _seconds(measured)) if _is_measured(measured) else ""
    if what:
        least = int(least_minutes(planned, _seconds(measured))) + 1
        raise BadInput(
            what,
            why=_why(rules, config, "budget_min", f"{planned.least} calls take about {least} min on this machine"),
            hint=f"evoctl enqueue {rules.skill.name} --minutes {least}",
        )


def _why(rules: Rules, config: HostConfig, name: str, reason: str) -> str:
    """Say where a budget comes from when nobody set it for this run, and what it falls short of."""
    configured = getattr(rules.settings.search, name) == getattr(config.settings.search, name)
    return f"search.{name} ({config.where(f'search.{name}')}); {reason}" if configured else reason


def _seconds(found: tuple[Speed, ...]) -> Mapping[Role, float]:
    return {Role(one.role): one.seconds for one in found}


def _is_measured(found: tuple[Speed, ...]) -> bool:
    """Tell whether the speeds that decide how long a search takes were measured."""
    return all(one.measured for one in found if one.role in (Role.GENERATOR, Role.TASK))
