"""The doorbell's own behaviour: quick when Redis is away, and clear about what is wrong with it."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from pipeline.domain import Stage
from pipeline.errors import Unreachable
from pipeline.gate import Reason
from workers import jobs, queues
from workers.queues import Bells, Ring
from workers.worker import EvolutionJob


def ring(**changes: Any) -> Ring:
    """A bell."""
    given = {
        "stage": Stage.JUDGE, "step": 1, "attempt": 1, "job_id": "r1-judge-1-a1", "front": False, "words": "w", "meta": {}
    } | changes  # fmt: skip
    return Ring(**given)


def test_every_stage_has_its_job() -> None:
    """The six functions that the queue names are there, under these names."""
    assert set(queues.FUNCTIONS) == set(Stage)
    for path in queues.FUNCTIONS.values():
        assert callable(getattr(jobs, path.rpartition(".")[2]))


def test_a_wrong_password_is_said_to_be_one(site: Any, store: Any) -> None:
    """The error tells a password from an absent server, and shows none."""
    url = store.url.replace("redis://:", "redis://:wrong")

    with pytest.raises(Unreachable, match="refused the password") as trouble:
        Bells(url).ping()

    assert "wrong" not in str(trouble.value)


@pytest.mark.parametrize("act", ["ping", "ring", "states"])
def test_an_absent_redis_costs_no_time(act: str) -> None:
    """Each call fails within a second, with the place and without the password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    bells, began = Bells(f"redis://:secret@127.0.0.1:{port}/0"), time.monotonic()
    calls = {"ping": bells.ping, "ring": lambda: bells.ring([ring()]), "states": lambda: bells.states(["a"])}

    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}") as trouble:
        calls[act]()

    assert time.monotonic() - began < 1.5
    assert "secret" not in str(trouble.value)


def test_a_silent_redis_costs_a_second() -> None:
    """A server that takes the connection and says nothing is given up soon."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        began = time.monotonic()
        with pytest.raises(Unreachable):
            Bells(f"redis://127.0.0.1:{mute.getsockname()[1]}/0").ping()

    assert time.monotonic() - began < 3


def test_a_full_redis_is_an_absent_one(site: Any) -> None:
    """A store that refuses writes loses no bell: the ring is an error, and the step stays ready."""
    bell = site.judging()
    site.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unreachable):
            site.relay(bell)
    finally:
        site.redis.config_set("maxmemory", "64mb")
    site.relay(bell)

    assert site.queued() == [bell.job_id]


def test_outside_a_job_there_is_no_meta(site: Any) -> None:
    """Commands and tests run the same code without a job around it."""
    assert queues.current_meta() == {}
    queues.note_waiting("anything")


def test_the_head_of_the_queue_is_the_next_job(site: Any) -> None:
    """Empty without a job; the front one otherwise."""
    assert site.bells.next_job() == ""
    site.bells.ring([ring(), ring(job_id="r2-bandit-1-a1", front=True)])

    assert site.bells.next_job() == "r2-bandit-1-a1"


def test_a_job_that_waits_for_a_quiet_moment_itself_is_known(site: Any) -> None:
    """Its meta says so; an ordinary one's does not, and an unknown one is no such job."""
    held = ring(job_id="r1-detect-1-a2", meta={"hold": {"quiet_s": 60}})
    plain = ring(job_id="r2-detect-1-a1")
    site.bells.ring([held, plain])

    assert site.bells.holds("r1-detect-1-a2")
    assert not site.bells.holds("r2-detect-1-a1")
    assert not site.bells.holds("r9-detect-1-a1")


def test_what_a_job_waits_for_can_be_read_again(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate's reason is written as a word: a pickle that names a class is refused with everything beside it."""
    monkeypatch.setattr(queues, "_adopted", [])
    bell = site.judging()
    site.relay(bell)
    queues.adopt_job(site.home.redis_url, bell.job_id)

    queues.note_waiting(Reason.LEASE)

    assert EvolutionJob.fetch(bell.job_id, connection=site.redis).meta == {
        "skill": "file-naming",
        "waiting_for": "lease",
    }
