"""Tick: repairs come before anything that a person's file could break, and trouble is told once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.tables import SampleRow, SkillRow
from models.work_tables import RunRow
from pipeline.domain import LabelSource
from pipeline.errors import ConfigError, Unreachable
from workers.tick import CONFIG_EVERY, Tick


def runs(site: Any) -> list[RunRow]:
    """Read every run."""
    with site.opened.read() as session:
        return list(session.scalars(select(RunRow)))


def rounds(site: Any, tick: Tick, count: int) -> None:
    """Do some rounds."""
    for _ in range(count):
        tick.once(site.opened, site.bells)


def overdue(site: Any, skill: str = "file-naming") -> None:
    """Let the skill's last check be a day ago."""
    with site.opened.write() as session:
        session.get_one(SkillRow, skill).checked_at = datetime.now(UTC) - timedelta(days=1)


def test_a_round_rings_what_redis_forgot(site: Any) -> None:
    """One round is enough for a lost bell."""
    bell = site.judging()

    Tick(site.home).once(site.opened, site.bells)

    assert site.queued() == [bell.job_id]


@pytest.mark.parametrize("broken", ["skills: [", "", "skills:\n  file-naming: 5\n"])
def test_a_broken_configuration_stops_no_repair(site: Any, broken: str) -> None:
    """A file that a person is just editing is complained of after the round's repairs, not instead of them."""
    bell = site.judging()
    site.home.config.write_text(broken, encoding="utf-8")
    with suppress(ConfigError):  # an empty file is a configuration without skills
        Tick(site.home).once(site.opened, site.bells)

    assert site.queued() == [bell.job_id]


def test_a_missing_template_stops_neither_repairs_nor_other_skills(site: Any) -> None:
    """The skill is named in the trouble; the other skills' timers run, and every round repairs."""
    tick = Tick(site.home)
    tick.once(site.opened, site.bells)
    for skill in ("file-naming", "audio-actions"):
        overdue(site, skill)
    (site.home.config.parent / "skills" / "file-naming.md").unlink()

    with pytest.raises(ConfigError, match="file-naming"):
        rounds(site, tick, CONFIG_EVERY)

    assert [run.skill_name for run in runs(site)] == ["audio-actions"]
    tick.once(site.opened, site.bells)
    assert site.queued() == ["r1-detect-1-a1"]


def test_a_check_that_is_due_is_started_and_rung(site: Any) -> None:
    """The timer's run is rung by the next round, once."""
    tick = Tick(site.home)
    tick.once(site.opened, site.bells)
    overdue(site)

    rounds(site, tick, 2 * CONFIG_EVERY)

    assert [(run.kind, run.trigger) for run in runs(site)] == [("drift-check", "timer")]
    assert site.queued() == ["r1-detect-1-a1"]


def test_silence_is_counted_by_the_timer(site: Any) -> None:
    """An old answer without a word becomes an implicit ok while nobody works."""
    with site.opened.write() as session:
        session.add(SkillRow(name="file-naming", created_at=datetime.now(UTC)))
        session.flush()
        session.add(
            SampleRow(
                skill_name="file-naming", task_id="t", fields="{}", output="a", split="search",
                created_at=datetime.now(UTC) - timedelta(days=2),
            )
        )  # fmt: skip

    Tick(site.home).once(site.opened, site.bells)

    with site.opened.read() as session:
        assert session.scalars(select(SampleRow.label_source)).one() == LabelSource.IMPLICIT


def test_trouble_is_told_once_and_outlived(
    site: Any, store: Any, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    """While Redis is away there is one line in the log; when it is back the bell is rung."""
    bell, stop = site.judging(), threading.Event()
    store.kill()
    thread = threading.Thread(target=Tick(site.home).run, args=(stop,))
    with caplog.at_level(logging.WARNING, "evolution.tick"):
        thread.start()
        until(lambda: caplog.records, 10)
        store.start()
        until(lambda: bell.job_id in site.queued(), 10)
    stop.set()
    thread.join()

    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(set(told))
    assert "Redis does not answer" in told[0]


def test_a_round_without_redis_says_so(site: Any, store: Any) -> None:
    """The error is one that a person can act on."""
    site.judging()
    store.kill()
    try:
        with pytest.raises(Unreachable, match="evoctl up"):
            Tick(site.home).once(site.opened, site.bells)
    finally:
        store.start()


def test_the_configuration_is_read_again_when_it_changed(site: Any, tmp_path: Path) -> None:
    """A person's edit holds from the next round on, without a restart."""
    tick = Tick(site.home)
    tick.once(site.opened, site.bells)
    text = site.home.config.read_text(encoding="utf-8")
    site.home.config.write_text(text.replace("check_every_h: 1", "check_every_h: 2"), encoding="utf-8")
    tick.once(site.opened, site.bells)

    assert tick._config is not None
    assert tick._config.settings.triggers.check_every_h == 2
