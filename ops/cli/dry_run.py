"""`enqueue --dry-run`: what an evolution would cost, before any of it is spent."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

from typing import TYPE_CHECKING

from ops.cli.output import show
from ops.cli.words import minutes

if TYPE_CHECKING:
    from models.speeds import Speed
    from ops.cli.call import Call
    from pipeline.costs import Labelled
    from pipeline.rules import Rules
    from workers.estimate import Estimate
    from workers.llm.sizes import Need, Size

GB = 1e9  # bytes, as the makers of memory and Ollama count them
FREE_USD = 0.0  # of a call: a model that runs in a cloud is never asked


def dry_run(call: Call, rules: Rules, *, force: bool) -> int:
    """Print what a run would cost and start nothing; returns the code with which it would be refused, else 0."""
    from ops.cli.failures import exit_code
    from workers.estimate import estimate

    found = estimate(call.overview(), rules, force=force)
    code = exit_code(found.refusal) if found.refusal is not None else 0
    call.result("enqueue", _data(found, code), lambda: _text(found))
    if found.refusal is None:
        call.next("the same without --dry-run")
    return code


def _data(found: Estimate, code: int) -> dict[str, object]:
    search, no = found.rules.settings.search, found.refusal
    refusal = None
    if no is not None:
        refusal = {"kind": type(no).__name__, "what": no.what, "why": no.why, "hint": no.hint, "exit_code": code}
    return {
        "dry_run": True,
        "skill": found.rules.skill.name,
        "mode": search.mode,
        "budget": {"calls": search.budget_calls, "model_min": search.budget_min},
        "labelled": found.labelled,
        "labelled_total": found.labelled.total,
        "labelled_wanted": search.min_labelled,
        "plan": found.plan,
        "replay": found.replay,
        "second_judge": found.second_judge,
        "ballot_inputs": found.ballot_inputs,
        "minutes_end_it": found.short,
        "speeds": [
            {"role": one.role, "tag": one.tag, "call_s": one.seconds, "measured_calls": one.calls}
            for one in found.speeds
        ],
        "model_time": found.time,
        "memory": found.memory,
        "cost_usd": FREE_USD,
        "refusal": refusal,
    }


def _text(found: Estimate) -> str:
    search, labelled = found.rules.settings.search, found.labelled
    lines = [
        f"Dry run for {found.rules.skill.name}: nothing was started.",
        f"  samples  {_samples(labelled)}",
        f"  tests    {_tests(found)}",
        f"  votes    {_votes(found)}",
        f"  calls    {_calls(found)}",
        f"  time     {_time(found)}",
        *(f"           {_speed(one)}" for one in found.speeds),
        f"  memory   {_memory(found.memory)}",
        f"  money    ${FREE_USD:.2f}: every model runs on this machine",
    ]
    if found.few:
        lines.append(
            f"With fewer than {search.min_labelled} labelled samples a prompt's fitness is a rough guess: judge, patterns "
            "and votes decide."
        )
    if found.assumed_short:
        lines.append(
            f"At these speeds, which are partly assumed, {search.budget_min:g} min of model time cannot test three proposals."
        )
    return "\n".join([*lines, *_refusal(found)])


def _samples(labelled: Labelled) -> str:
    return (
        f"{labelled.total} labelled: {labelled.search} to search on, {labelled.select} to select on, "
        f"{labelled.confirm} to confirm on, {labelled.report} to report on"
    )


def _tests(found: Estimate) -> str:
    search, plan = found.rules.settings.search, found.plan
    if not plan.measured:
        return f"no proposal on samples ({search.mode}); the judge reads about {plan.proposals}"
    most = min(search.variants, plan.proposals)
    last = min(found.rules.settings.voting.challengers, most)
    vote = f", of which at most {most} go to the replay and {last} to the vote" if most else ""
    return f"about {plan.proposals} proposals ({search.mode}){vote}"


def _votes(found: Estimate) -> str:
    voting, skill = found.rules.settings.voting, found.rules.skill.name
    if voting.mode == "live":
        return f"none: at most {voting.live_max_tasks} tasks are given one prompt each"
    if found.ballot_inputs:
        return f"at most {voting.max_votes}; {found.ballot_inputs} tasks of the history are left for ballots after the replay"
    return (
        f"at most {voting.max_votes}, on new tasks alone: the replay leaves none of the history for ballots. New ones come by "
        f"evoctl feedback add {skill}, or by feedback import without a verdict"
    )


def _calls(found: Estimate) -> str:
    plan, budget = found.plan, found.rules.settings.search.budget_calls
    unused = f" of a budget of {budget}" if plan.calls < budget else ""
    replay = f", at most {found.replay} task for the replay" if found.replay else ""
    check = " (the most to measure it on canaries, which is due)" if found.judge_check else ""
    second = (
        f" (and at most {found.second_judge} of the second judge, where it is unsure)" if found.second_judge else ""
    )
    after = f"; after it {plan.judge} judge{check}{second}, {plan.embedder} embedder{replay}"
    return f"at most {plan.calls}{unused}: about {plan.generator} generator, {plan.task} task{after}"


def _time(found: Estimate) -> str:
    search, time = found.rules.settings.search, found.time
    basis = "measured" if all(one.measured for one in found.speeds) else "partly assumed"
    if not any(one.measured for one in found.speeds):
        basis = "assumed"
    short = ", which end it before its calls do" if found.short else ""
    return (
        f"about {minutes(time.search_min + time.after_min)} of model time ({basis}), waiting apart; "
        f"the search has at most {minutes(search.budget_min)}{short}"
    )


def _speed(one: Speed) -> str:
    basis = f"measured, {one.calls} calls" if one.measured else "assumed, not measured yet"
    return f"{one.role} {show(one.tag)}: {one.seconds:.2g} s a call ({basis})"


def _memory(need: Need) -> str:
    if not need.models:
        return f"nothing beside {show(need.foreground)}, which plays every role"
    models = ", ".join(f"{show(one.tag)} {_size(one)}" for one in need.models)
    known = f"; {need.at_once_bytes / GB:.2g} GB at once" if need.at_once_bytes is not None else ""
    trouble = f"; {show(need.trouble)}" if need.trouble else ""
    return f"beside {show(need.foreground)}: {models}{known}{trouble}"


def _size(one: Size) -> str:
    if one.memory_bytes is None:
        return "unknown"
    return f"{one.memory_bytes / GB:.2g} GB" + (
        "" if one.exact else " predicted" if one.predicted else " and its context"
    )


def _refusal(found: Estimate) -> list[str]:
    no = found.refusal
    if no is None:
        return []
    parts = (("Refused", no.what), ("  Why", no.why), ("  Try", no.hint))
    return [f"{title}: {show(words)}" for title, words in parts if words]
