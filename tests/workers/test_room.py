"""Room for models: real stages against the simulated server, with little memory and a user's model that must stay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from models import loads
from models.feedback import Feedback
from models.work_tables import ModelCallRow
from ops.demo.scene import load_pairs
from ops.simulator.world import STANDARD_MODELS
from pipeline.domain import Stage, StepState
from pipeline.errors import Refused
from pipeline.machine_settings import NO_SHARE_MIB
from pipeline.memory import MIB
from pipeline.rules import Rules
from pipeline.setting import to_data
from workers.client import Evolution
from workers.clock import now
from workers.stepping import StepFailed

SKILL = "file-naming"
OWN, THEIRS, EMBEDDER = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b", "embeddinggemma:300m"
USERS_BYTES = next(card for card in STANDARD_MODELS if card.tag == THEIRS).loaded_bytes(4096, 1)
FOREVER = 2300  # the year in which a model that the user keeps for ever goes at the earliest


@pytest.fixture(name="user")
def _user(site: Any) -> Callable[[], None]:
    """Return a loader of the user's model, which is then kept for ever."""

    def load() -> None:
        post(site, "/api/generate", model=THEIRS, prompt="Hi", keep_alive=-1)

    return load


def post(site: Any, path: str, **body: Any) -> None:
    """Do what another program does with the server."""
    with httpx.Client(base_url=site.server.url, trust_env=False) as client:
        client.post(path, json={"stream": False, **body}).raise_for_status()


def loaded(site: Any) -> dict[str, Any]:
    """Return what the server lists as loaded, by name."""
    with httpx.Client(base_url=site.server.url, trust_env=False) as client:
        return {model["name"]: model for model in client.get("/api/ps").json()["models"]}


def kept(site: Any) -> bool:
    """Tell whether the user's model is loaded and was neither reloaded nor given another time to stay."""
    model = loaded(site).get(THEIRS)
    return model is not None and int(model["expires_at"][:4]) >= FOREVER


def tight(site: Any, free_mib: int, **memory: Any) -> None:
    """Leave *free_mib* beside the user's model, on the server and in the settings."""
    budget_mib = USERS_BYTES // MIB + 1 + free_mib
    site.server.turn({"memory_budget": budget_mib * MIB})
    site.change(memory={"budget_mib": budget_mib, "min_free_mib": 0, "max_loaded": 3, **memory})


def own_judge(site: Any) -> None:
    """Let a model of evolution's own judge, so that the stage needs a load."""
    site.change(models={"judge": OWN})


def load_rows(site: Any) -> list[str]:
    """Return the tags of the loads in the ledger, oldest first."""
    with site.opened.read() as session:
        query = select(ModelCallRow.tag).where(ModelCallRow.role == loads.LOAD).order_by(ModelCallRow.id)
        return list(session.scalars(query))


def test_a_load_that_would_cost_the_user_the_model_waits(site: Any, user: Callable[[], None]) -> None:
    """Beside the user's model 500 MiB are free: the step waits with the arithmetic, and nothing is asked or unloaded."""
    own_judge(site)
    tight(site, 500)
    user()
    bell = site.judging()
    asked = site.paid()

    outcome = site.work(bell)

    step = site.step(bell)
    assert outcome.words == "made room: memory"
    assert step.waiting_for == f"{OWN} needs 0.61 GB; 80 % of 0.52 GB free is 0.42 GB"
    assert (step.state, step.crashes, site.run(bell).ending) == (StepState.READY, 0, "")
    assert step.due_at > now() + timedelta(seconds=25)
    assert [event.reason for event in site.gate_events()] == ["memory"]
    assert site.paid() == asked
    assert kept(site)


def test_the_step_goes_on_when_there_is_room(site: Any, user: Callable[[], None]) -> None:
    """With 740 MiB the same load fits, and the user's model stays beside it."""
    own_judge(site)
    tight(site, 740)
    user()
    bell = site.judging()

    assert site.work(bell).words.startswith("done")
    assert load_rows(site) == [OWN]
    assert loaded(site).keys() == {OWN, THEIRS}
    assert kept(site)


def test_own_idle_models_make_room_and_the_users_does_not(site: Any, user: Callable[[], None]) -> None:
    """An embedder of evolution's that is still loaded goes before the judge comes."""
    own_judge(site)
    tight(site, 900)
    user()
    post(site, "/api/embed", model=EMBEDDER, input="x", keep_alive="10m")

    assert site.work(site.judging()).words.startswith("done")
    assert loaded(site).keys() == {OWN, THEIRS}
    assert kept(site)


def test_the_number_of_models_is_held_too(site: Any, user: Callable[[], None]) -> None:
    """A server that keeps one model would drop the user's for ours: the step waits."""
    own_judge(site)
    site.server.turn({"max_loaded": 1})
    site.change(memory={"max_loaded": 1})
    user()
    bell = site.judging()

    site.work(bell)

    assert "one model more than the 1 that Ollama keeps" in site.step(bell).waiting_for
    assert kept(site)


def test_what_can_never_fit_ends_with_the_setting(site: Any) -> None:
    """A share that is smaller than the model fails the step in words that name the setting, without any load."""
    own_judge(site)
    site.change(memory={"share_mib": 100})
    bell = site.judging()

    with pytest.raises(StepFailed, match="Refused"):
        site.work(bell)

    assert "memory.share_mib" in site.step(bell).error
    assert "needs 0.61 GB; evolution's models may take 0.10 GB" in site.step(bell).error
    assert loaded(site) == {}


def test_without_the_hosts_options_the_users_model_is_left_alone(site: Any) -> None:
    """A run of a drift waits with the reason, and goes on when the configuration says what the host sends."""
    site.change(foreground={"options": None})
    text = site.home.config.read_text(encoding="utf-8")
    site.home.config.write_text(text.replace("  foreground: {options: {}}\n", ""), encoding="utf-8")
    bell = site.judging(trigger="drift")

    assert site.work(bell).words == "made room: foreground-options"
    assert site.step(bell).waiting_for.startswith(f"foreground.options is not set, so {THEIRS} is left alone")
    assert site.paid() == 0

    site.home.config.write_text(text, encoding="utf-8")

    assert site.work(replace(bell, attempt=site.step(bell).attempt)).words.startswith("done")


def test_other_options_than_the_loaded_ones_wait(site: Any, user: Callable[[], None]) -> None:
    """The user's model is loaded with 4096 tokens and the configuration says 8192: nothing is asked of it."""
    site.change(foreground={"options": (("num_ctx", 8192),)})
    user()
    bell = site.judging()

    site.work(bell)

    assert "would be loaded anew (prompt_evolution.foreground.options)" in site.step(bell).waiting_for
    assert kept(site)


def test_a_person_is_told_what_to_write(site: Any) -> None:
    """`enqueue` and `create` refuse with file, setting and an example, before anything is written."""
    text = site.home.config.read_text(encoding="utf-8")
    site.home.config.write_text(text.replace("  foreground: {options: {}}\n", ""), encoding="utf-8")
    with Evolution(site.home) as evolution:
        for start in (
            lambda: evolution.enqueue(SKILL, force=True),
            lambda: evolution.create(SKILL, ("Name it well.",), reason="try"),
        ):
            with pytest.raises(Refused, match=r"foreground\.options is not set") as refused:
                start()
            assert str(site.home.config) in refused.value.hint
            assert "foreground: {options: {num_ctx: 4096}}" in refused.value.hint

    assert site.steps() == []


def test_rules_of_an_older_release_go_on(site: Any) -> None:
    """Flat load options keep what was sent, none stays none, and no share is held against a run that began without."""
    data = to_data(site.rules)

    def thawed(**flat: int) -> Any:
        data["settings"]["foreground"] = {"model": THEIRS, "max_tokens": 96, **flat}
        return Rules.from_json(json.dumps(data)).settings.foreground.options

    assert thawed(num_ctx=0, num_batch=0, num_gpu=-1, num_thread=0) == ()
    assert thawed(num_ctx=4096, num_batch=0, num_gpu=0, num_thread=0) == (("num_ctx", 4096), ("num_gpu", 0))
    assert thawed() is None
    assert Rules.from_json(json.dumps(data)).settings.memory == site.rules.settings.memory
    del data["settings"]["memory"]
    thawed(num_ctx=0)
    assert Rules.from_json(json.dumps(data)).settings.memory.share_mib == NO_SHARE_MIB
    assert Rules.from_json(site.rules.to_json()) == site.rules


def test_loads_in_an_hour_are_bounded(site: Any) -> None:
    """The third load of an hour with two allowed waits until the first is an hour old."""
    own_judge(site)
    site.change(memory={"loads_per_hour": 2})
    for _ in range(2):
        site.work(site.judging())
        post(site, "/api/generate", model=OWN, prompt="", keep_alive=0)
    bell = site.judging()

    assert site.work(bell).words == "made room: model-loads"
    assert load_rows(site) == [OWN, OWN]
    step = site.step(bell)
    assert "2 times in the last hour, 2 are allowed (prompt_evolution.memory.loads_per_hour)" in step.waiting_for
    assert timedelta(minutes=58) < step.due_at - now() <= timedelta(hours=1)


def test_an_own_model_is_loaded_anew_after_some_prompts(site: Any) -> None:
    """Where no process can be seen, five distinct prompts with two allowed cost three loads."""
    own_judge(site)
    site.change(memory={"recycle_prompts": 2, "look_s": 0.0001})

    site.work(site.judging(finalists=5))

    assert load_rows(site) == [OWN] * 3


def evolve(site: Any, **memory: int) -> None:
    """Let a drift start an evolution, and work until its test waits for votes; memory is bounded to one own model."""
    budget_mib = 2_362_232_012 // MIB + 1 + 900
    site.server.turn({"memory_budget": budget_mib * MIB})
    words = {"budget_mib": budget_mib, "min_free_mib": 0, "max_loaded": 3, "loads_per_hour": 1000, **memory}
    settings = ", ".join(f"{name}: {value}" for name, value in words.items())
    search = "generations: 3, patience: 9, budget_calls: 300"
    text = site.home.config.read_text(encoding="utf-8")
    sections = f"prompt_evolution:\n  memory: {{{settings}}}\n  search: {{{search}}}\n"
    site.home.config.write_text(text.replace("prompt_evolution:\n", sections), encoding="utf-8")
    pairs = load_pairs()[:90]
    items = [Feedback(task_id=p.id, fields=p.fields, output="image.png", expected=p.accepted_name) for p in pairs]
    with Evolution(site.home) as evolution:
        evolution.feedback(SKILL, items)
    site.burst()


def test_a_whole_evolution_never_costs_the_user_the_model(site: Any, user: Callable[[], None]) -> None:
    """Search, judging and comparing beside the user's model, with memory for one own model: it is never loaded anew."""
    user()

    evolve(site)

    assert {step.stage for step in site.steps()} >= {Stage.MUTATE, Stage.JUDGE, Stage.DEDUPE, Stage.BANDIT}
    assert kept(site)
    assert load_rows(site) == [OWN, EMBEDDER]


def test_an_evolution_loads_two_models_a_round(site: Any) -> None:
    """With memory for one own model at a time, generator and task model are loaded once a round each, and no more often."""
    text = site.home.config.read_text(encoding="utf-8")
    text = text.replace("  foreground: {options: {}}\n", "  foreground: {model: users-own:7b}\n")
    site.home.config.write_text(text, encoding="utf-8")

    evolve(site, share_mib=2500, recycle_prompts=10_000)

    rounds = sum(step.stage == Stage.MUTATE for step in site.steps())
    rows = load_rows(site)
    with site.opened.read() as session:
        asked = list(
            session.scalars(select(ModelCallRow.tag).where(ModelCallRow.role != loads.LOAD).order_by(ModelCallRow.id))
        )
    tags = [tag for tag in asked if tag]
    changes = 1 + sum(one != other for one, other in pairwise(tags))
    assert len(rows) == changes
    assert rows.count(OWN) <= rounds
    assert len(rows) <= 2 * rounds + 3
