"""The memory that a run needs, by whatever lists a server may send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import Role, SkillName
from pipeline.rules import Rules
from pipeline.settings import Foreground, Models, Settings
from pipeline.skills import SkillSpec
from workers.live import ROLES
from workers.llm.sizes import TOGETHER, Need, memory_need

GENERATOR, THEIRS, EMBEDDER, JUDGE, TASK = "gen:1b", "user:3b", "emb:300m", "judge:3b", "task:1b"


def rules_for(url: str, **tags: str) -> Rules:
    """Rules in which the user's model judges and runs the skill, unless *tags* says otherwise."""
    models = Models(ollama_url=url, generator=GENERATOR, embedder=EMBEDDER, judge=tags.get("judge", THEIRS))
    skill = SkillSpec(name=SkillName("s"), template="s.md", task_model=tags.get("task", THEIRS))
    return Rules(settings=Settings(models=models, foreground=Foreground(model=THEIRS)), skill=skill)


def list_models(script: Any, path: str, **sizes: object) -> None:
    """Let a list name models with their sizes."""
    names = {"gen": GENERATOR, "user": THEIRS, "emb": EMBEDDER, "judge": JUDGE, "task": TASK}
    models = [{"name": names[key], "digest": key, "size": size} for key, size in sizes.items()]
    script.acts[path] = [script.say({"models": models})]


def need(script: Any, **tags: str) -> Need:
    """Ask the scripted server."""
    return memory_need(rules_for(script.url, **tags), timeout_s=1.0)


def known(found: Need) -> dict[str, tuple[int | None, bool]]:
    """Return each model's bytes, and whether they are exact."""
    return {one.tag: (one.memory_bytes, one.exact) for one in found.models}


def test_a_file_is_known_of_what_is_not_loaded_and_memory_of_what_is(script: Any) -> None:
    """A loaded model's figure is exact; the user's model is not counted."""
    list_models(script, "/api/tags", gen=100, user=900, emb=60)
    list_models(script, "/api/ps", emb=75, user=1000)

    found = need(script)

    assert known(found) == {GENERATOR: (100, False), EMBEDDER: (75, True)}
    assert (found.foreground, found.at_once_bytes, found.trouble) == (THEIRS, 100, "")


def test_models_that_one_stage_needs_are_there_together(script: Any) -> None:
    """Generator and task model breed in turns; the judge comes after them, alone."""
    list_models(script, "/api/tags", gen=100, user=900, emb=60, judge=150, task=80)

    assert need(script, judge=JUDGE, task=TASK).at_once_bytes == 180
    assert need(script, judge=JUDGE).at_once_bytes == 150


def test_a_model_of_the_same_digest_is_the_users(script: Any) -> None:
    """Another name of the user's model takes no memory."""
    models = [{"name": name, "digest": "d", "size": 9} for name in (THEIRS, JUDGE)]
    script.acts["/api/tags"] = [script.say({"models": models})]

    assert JUDGE not in known(need(script, judge=JUDGE))


def test_a_model_that_is_not_installed_is_unknown(script: Any) -> None:
    """Then nothing is said of all of them together either."""
    list_models(script, "/api/tags", gen=100, user=900)

    found = need(script)

    assert known(found) == {GENERATOR: (100, False), EMBEDDER: (None, False)}
    assert (found.at_once_bytes, found.trouble) == (None, "")


def test_where_the_users_model_plays_every_role_nothing_is_needed(script: Any) -> None:
    """No model of evolution's own is loaded."""
    rules = rules_for(script.url)
    models = replace(rules.settings.models, generator=THEIRS, embedder=THEIRS)

    found = memory_need(replace(rules, settings=replace(rules.settings, models=models)), timeout_s=1.0)

    assert (found.models, found.at_once_bytes) == ((), 0)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"models": [1]}', '{"models": [{}]}', '{"models": 3}', '{"models": ["x"]}', "\udcff",
     '{"models": {"a": 1}}'],
)  # fmt: skip
def test_a_list_that_is_none_makes_sizes_unknown(script: Any, text: str) -> None:
    """Whatever the server sends instead, it is trouble and no error."""
    body = text.encode("utf-8", "surrogateescape").decode("latin-1")
    script.acts["/api/tags"] = [script.say_text(body)]

    found = need(script)

    assert set(known(found).values()) == {(None, False)}
    assert found.trouble.startswith(f"Ollama at {script.url} gives no list (")


@pytest.mark.parametrize("size", [None, "7", -1, 0, True, 1.5])
def test_a_size_that_is_none_is_unknown(script: Any, size: object) -> None:
    """Only a whole number of bytes above zero is a size."""
    list_models(script, "/api/tags", gen=size, user=900, emb=60)

    assert known(need(script))[GENERATOR] == (None, False)


def test_a_server_that_refuses_makes_sizes_unknown(script: Any) -> None:
    """A status other than 200 is no list."""
    script.acts["/api/ps"] = [script.say({"error": "no"}, 500)]

    assert need(script).trouble.endswith("gives no list (ValueError)")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "http://", "http://[::1", "https://127.0.0.1:1"])
def test_a_server_that_is_away_makes_sizes_unknown(url: str) -> None:
    """Nobody listens, or the address is none."""
    found = memory_need(rules_for(url), timeout_s=0.5)

    assert found.at_once_bytes is None
    assert found.trouble


def test_what_is_loaded_together_is_what_a_stage_asks() -> None:
    """No stage asks models of roles that are counted apart."""
    together = [set(roles) for roles in TOGETHER]

    assert all(any(set(roles) <= group for group in together) for roles in ROLES.values())
    assert set().union(*together) == set(Role)
