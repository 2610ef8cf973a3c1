"""Ollama's memory prediction, and the plan that keeps the user's model loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.memory import MIB, Loaded, Owner, Plan, Room, Step, Wanted, bytes_per_token, plan, predicted_bytes

SMOL: dict[str, object] = {
    "general.architecture": "llama", "llama.block_count": 32, "llama.attention.head_count": 15,
    "llama.attention.head_count_kv": 5, "llama.embedding_length": 960,
}  # fmt: skip
QWEN: dict[str, object] = {
    "general.architecture": "qwen2", "qwen2.block_count": 36, "qwen2.attention.head_count": 16,
    "qwen2.attention.head_count_kv": 2, "qwen2.embedding_length": 2048,
}  # fmt: skip
GB = 10**9
USER = Loaded(tag="user", memory_bytes=2 * GB, owner=Owner.FOREGROUND)
OWN = Loaded(tag="own", memory_bytes=GB // 2, owner=Owner.OWN)
OTHER = Loaded(tag="other", memory_bytes=GB, owner=Owner.OTHER)
ROOM = Room(free_bytes=GB, total_bytes=8 * GB, share_bytes=GB, fit=0.8, keep_bytes=0, max_loaded=3)


def wanted(need: int | None = 600_000_000, **changes: Any) -> Wanted:
    """Want a generator of 0.6 GB."""
    return Wanted(tag="gen", need_bytes=need, **changes)


def room(**changes: Any) -> Room:
    """Change something of a machine of 8 GB with one free."""
    return replace(ROOM, **changes)


@pytest.mark.parametrize(
    ("file_bytes", "info", "num_ctx", "parallel", "expected"),
    [
        (270_898_672, SMOL, 8192, 1, 606_442_992),
        (270_898_672, SMOL, 2048, 1, 354_784_752),
        (270_898_672, SMOL, 4096, 4, 941_987_312),
        (1_929_912_432, QWEN, 4096, 1, 2_080_907_376),
    ],
)
def test_the_prediction_is_ollamas(
    file_bytes: int, info: dict[str, object], num_ctx: int, parallel: int, expected: int
) -> None:
    """File and context add up to the published figures: 606 MB for SmolLM2 at 8192 tokens, 355 MB at 2048."""
    assert predicted_bytes(file_bytes, info, num_ctx, parallel) == expected


@pytest.mark.parametrize("value", [None, "32", True, 0, -1, 2.5, [2, 4]])
@pytest.mark.parametrize("name", sorted(SMOL.keys() - {"general.architecture"}))
def test_odd_metadata_predict_nothing(name: str, value: object) -> None:
    """A missing or strange figure is unknown, never zero."""
    assert predicted_bytes(1000, SMOL | {name: value}, 4096, 1) is None
    assert bytes_per_token({k: v for k, v in SMOL.items() if k != name}) is None


def test_no_file_no_context_and_no_family_predict_nothing() -> None:
    """What the lists do not tell stays unknown."""
    assert predicted_bytes(0, SMOL, 4096, 1) is None
    assert predicted_bytes(1000, SMOL, 0, 1) is None
    assert predicted_bytes(1000, {}, 4096, 1) is None


TABLE: dict[str, tuple[Wanted, list[Loaded], Room, Plan]] = {
    "it is loaded already": (wanted(loaded=True), [USER], room(free_bytes=0), Plan(step=Step.GO)),
    "it fits beside the user's": (wanted(), [USER], ROOM, Plan(step=Step.GO)),
    "it fits exactly": (wanted(8 * GB // 10), [USER], ROOM, Plan(step=Step.GO)),
    "one byte too many": (
        wanted(8 * GB // 10 + 1), [USER], ROOM,
        Plan(step=Step.WAIT, words="gen needs 0.80 GB; 80 % of 1.00 GB free is 0.80 GB"),
    ),
    "too little is free": (
        wanted(), [USER], room(free_bytes=550_000_000),
        Plan(step=Step.WAIT, words="gen needs 0.60 GB; 80 % of 0.55 GB free is 0.44 GB"),
    ),
    "too little would stay free": (
        wanted(), [USER], room(free_bytes=800_000_000, keep_bytes=300_000_000),
        Plan(step=Step.WAIT, words="gen needs 0.60 GB; 0.30 GB of 0.80 GB free stays free"),
    ),
    "own idle ones make room": (
        wanted(), [USER, OWN], room(free_bytes=GB // 2),
        Plan(step=Step.UNLOAD, unload=("own",), words="own made room"),
    ),
    "own idle ones stay where both fit": (wanted(400_000_000), [USER, OWN], ROOM, Plan(step=Step.GO)),
    "own idle ones stay where their going is not enough": (
        wanted(), [USER, OWN], room(free_bytes=100_000_000),
        Plan(step=Step.WAIT, words="gen needs 0.60 GB; 80 % of 0.60 GB free is 0.48 GB, without evolution's idle models"),
    ),
    "the share is full": (wanted(), [OWN], room(free_bytes=6 * GB), Plan(step=Step.UNLOAD, unload=("own",), words="own made room")),
    "it is larger than the share": (
        wanted(2 * GB), [], room(free_bytes=6 * GB),
        Plan(step=Step.REFUSE, words="gen needs 2.00 GB; evolution's models may take 1.00 GB", setting="memory.share_mib"),
    ),
    "the share is not the user's": (wanted(2 * GB, foreground=True), [], room(free_bytes=6 * GB), Plan(step=Step.GO)),
    "it is larger than the machine": (
        wanted(7 * GB, foreground=True), [], ROOM,
        Plan(step=Step.REFUSE, words="gen needs 7.00 GB; 80 % of 8.00 GB of memory is 6.40 GB"),
    ),
    "too many are loaded": (
        wanted(), [USER, OTHER], room(max_loaded=2),
        Plan(step=Step.WAIT, words="gen would be one model more than the 2 that Ollama keeps; loaded: user, other"),
    ),
    "too many, but one of them is ours": (
        wanted(), [USER, OWN], room(max_loaded=2), Plan(step=Step.UNLOAD, unload=("own",), words="own made room"),
    ),
    "only the user's may be loaded": (
        wanted(), [USER], room(max_loaded=1),
        Plan(step=Step.WAIT, words="gen would be one model more than the 1 that Ollama keeps; loaded: user"),
    ),
    "unknown beside the user's": (
        wanted(None), [USER], ROOM,
        Plan(step=Step.WAIT, words="what gen needs cannot be predicted (its metadata lack it), and user is loaded"),
    ),
    "unknown and alone": (wanted(None), [], ROOM, Plan(step=Step.GO)),
    "another machine's memory": (wanted(), [USER], room(free_bytes=None, total_bytes=None), Plan(step=Step.GO)),
    "itself with other options makes its own room": (
        wanted(), [USER, replace(OWN, tag="gen")], room(free_bytes=GB // 2), Plan(step=Step.GO),
    ),
    "the user's with other options is not loaded anew": (
        Wanted(tag="user", need_bytes=GB, foreground=True), [USER], room(free_bytes=6 * GB),
        Plan(
            step=Step.WAIT, setting="foreground.options",
            words="the load options for user differ from those it is loaded with: it would be loaded anew",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_the_plan_is_the_tables(case: str) -> None:
    """Each line of the table: what is wanted, what is loaded, what there is, and what is done."""
    want, loaded, there, expected = TABLE[case]

    assert plan(want, loaded, there) == expected


SIZES = st.integers(min_value=0, max_value=9 * GB)
NEEDS = st.integers(min_value=1, max_value=9 * GB)
MODELS = st.lists(
    st.builds(Loaded, tag=st.sampled_from("abcde"), memory_bytes=SIZES, owner=st.sampled_from(Owner)),
    max_size=4, unique_by=lambda one: one.tag,
)  # fmt: skip
ROOMS = st.builds(
    Room, free_bytes=SIZES, total_bytes=st.just(8 * GB), share_bytes=SIZES, fit=st.sampled_from((0.5, 0.8)),
    keep_bytes=st.sampled_from((0, 128 * MIB, GB)), max_loaded=st.integers(1, 4),
)  # fmt: skip


@given(st.builds(Wanted, tag=st.sampled_from("abf"), need_bytes=NEEDS, foreground=st.booleans()), MODELS, ROOMS)
def test_no_plan_ever_loads_what_does_not_fit(want: Wanted, loaded: list[Loaded], there: Room) -> None:
    """Going on means that prediction, share and number fit; own idle models that must go are enough; nobody else goes."""
    found = plan(want, loaded, there)

    gone = [one for one in loaded if one.tag in found.unload]
    assert all(one.owner is Owner.OWN for one in gone)
    if found.step in (Step.GO, Step.UNLOAD):
        left = [one for one in loaded if one not in gone and one.tag != want.tag]
        itself = [one for one in loaded if one.tag == want.tag]
        free = (there.free_bytes or 0) + sum(one.memory_bytes for one in (*gone, *itself))
        assert want.need_bytes is not None
        assert want.need_bytes <= min(there.fit * free, free - there.keep_bytes)
        assert len(left) + 1 <= there.max_loaded
        assert not any(one.owner is Owner.FOREGROUND for one in itself)
        own = sum(one.memory_bytes for one in left if one.owner is Owner.OWN)
        assert want.foreground or want.need_bytes + own <= there.share_bytes
    else:
        assert found.words
