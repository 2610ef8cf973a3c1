"""Every threshold says what it is, where it is from and how far it can be trusted; saved ones outlive releases."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from pipeline.flow import Embedded, Failed, FailureKind, Generated, Published, Scored
from pipeline.machine_settings import Work
from pipeline.setting import About, Status, from_data, to_data
from pipeline.settings import Settings, Voting

SECTIONS = {f.name: getattr(Settings(), f.name) for f in fields(Settings) if is_dataclass(getattr(Settings(), f.name))}
LEAVES = [(name, f) for name, section in SECTIONS.items() for f in fields(section)]
IDS = [f"{name}.{f.name}" for name, f in LEAVES]
UNITS = {"_h": "h", "_s": "s", "_min": "min", "_days": "d", "_tokens": "tokens"}


@pytest.mark.parametrize(("section", "leaf"), LEAVES, ids=IDS)
def test_a_setting_says_what_it_is(section: str, leaf: Any) -> None:
    """Each has a sentence, a source and a status; its default lies within its own limits."""
    about, default = leaf.metadata["about"], leaf.default

    assert isinstance(about, About)
    assert about.what
    assert about.source
    assert about.status in Status
    if isinstance(default, int | float) and not isinstance(default, bool):
        assert about.low is not None, f"{section}.{leaf.name} has no lower limit"
        assert about.low <= default
        assert about.high is None or default <= about.high


@pytest.mark.parametrize(("section", "leaf"), LEAVES, ids=IDS)
def test_a_duration_ends_in_its_unit(section: str, leaf: Any) -> None:
    """A name that ends in a unit has that unit, and a setting in seconds or hours says so in its name."""
    about = leaf.metadata["about"]
    for ending, unit in UNITS.items():
        if leaf.name.endswith(ending):
            assert about.unit == unit, section
    if about.unit in ("s", "h", "min"):
        assert leaf.name.endswith(f"_{about.unit}"), section


@pytest.mark.parametrize(("section", "leaf"), LEAVES, ids=IDS)
def test_what_is_not_arbitrary_names_its_source(section: str, leaf: Any) -> None:
    """A measured or published value says where."""
    about = leaf.metadata["about"]

    assert about.status is Status.ARBITRARY or about.source != "ours", section


def test_settings_come_back_as_they_were() -> None:
    """Through JSON text and back, every value and its type is the same."""
    changed = Settings(enabled=False, voting=Voting(max_votes=7, promote_e=3.5), work=Work(slice_s=0.25))

    assert from_data(Settings, json.loads(json.dumps(to_data(changed)))) == changed


def test_names_of_another_release_are_passed_over_and_missing_ones_get_their_default() -> None:
    """A run that was saved by another release goes on under this one."""
    data = to_data(Settings(voting=Voting(max_votes=7)))
    data["invented"] = {"x": 1}
    data["voting"]["invented"] = [1]
    del data["voting"]["min_votes"]
    del data["search"]

    assert from_data(Settings, data) == Settings(voting=Voting(max_votes=7))


@pytest.mark.parametrize(
    "reply",
    [
        Generated(
            text="a\ud800\x00\u2028", done_reason="stop", prompt_tokens=1, tokens=2, duration_s=0.5, mean_logprob=-1.5
        ),
        Embedded(vectors=((0.6, 0.8), (1.0, 0.0)), profile="p"),
        Embedded(vectors=(), profile=""),
        Scored(value=0.5, lost=("case", "extension")),
        Published(ok=False, template="t.md", message="no"),
        Failed(kind=FailureKind.TOO_LONG, message="m"),
    ],
)
def test_a_reply_comes_back_as_it_was(reply: Any) -> None:
    """What the journal keeps of a reply is the reply itself: tuples are tuples, kinds are kinds."""
    again = from_data(type(reply), json.loads(json.dumps(to_data(reply))))

    assert again == reply
    assert {f.name: type(getattr(again, f.name)) for f in fields(reply)} == {
        f.name: type(getattr(reply, f.name)) for f in fields(reply)
    }
