"""A publication that is killed at each of its system calls, and one beside a person who goes on saving."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.flow import Publish
from tests.killing import CAN_TRACE, killed_at
from workers import host_publish
from workers.host_config import load_host_config, publish

OLD, TEXT = "Name it.\n---\nText: {{text}}\n", "Name it well.\n---\nText: {{text}}\n"
CONFIG = """\
# mine
skills:
  file-naming:   # names files
    prompt_template: skills/a.md   # the prompt
    prompt_version: 1
"""
REQUEST = Publish(
    skill="file-naming", text=TEXT, template="skills/a-v2.md", version=2, previous_accuracy=0.5, current_accuracy=0.9,
    evolved_at="2026-11-20T10:00:00Z", expected_version=1,
)  # fmt: skip


def make_host(folder: Path) -> Path:
    """Make a host's folder with one skill and return the path of its configuration."""
    (folder / "skills").mkdir(parents=True)
    (folder / "skills" / "a.md").write_text(OLD, encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return folder / "config.yaml"


def names(folder: Path) -> set[str]:
    """Return the paths of all files, the lock aside."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.fixture(name="memory")
def _memory() -> Iterator[Path]:
    """Return a folder in memory, where waiting for the disk takes no time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.mark.skipif(not CAN_TRACE, reason="ptrace is Linux's; the kills by name in test_publish.py run everywhere")
@pytest.mark.timeout(300)
def test_a_kill_at_every_system_call_is_cured_by_a_retry(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before and after each call, the configuration is the old or the new one, whole, and a retry ends clean."""
    monkeypatch.setattr(host_publish, "SETTLE_S", 0.0)  # nobody else saves here
    done = make_host(memory / "calm")
    publish(done, REQUEST)
    new, wanted, stop, old_seen = done.read_bytes(), names(done.parent), 0, 0
    while True:
        stop += 1
        host = make_host(memory / "host")
        if killed_at(lambda host=host: publish(host, REQUEST), stop) is not None:  # type: ignore[misc]  # a default binds it
            break

        now, old_seen = host.read_bytes(), old_seen + (host.read_bytes() == CONFIG.encode())
        template = host.parent / "skills" / "a-v2.md"
        assert now in (CONFIG.encode(), new), f"torn at stop {stop}"
        assert load_host_config(host).skill("file-naming")
        assert not template.exists() or template.read_text(encoding="utf-8") == TEXT, f"torn at stop {stop}"
        assert publish(host, REQUEST).ok
        assert (host.read_bytes(), names(host.parent)) == (new, wanted), f"left behind at stop {stop}"
        shutil.rmtree(host.parent)
    print(f"kill points: {stop - 1}, the old file at {old_seen} of them")  # noqa: T201 - shown with -s
    assert 0 < old_seen < stop - 1
    assert stop > 100, "the work makes far more calls than this"


WRITER = """
import os, sys, time
from pathlib import Path
path, end, count = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0
while time.monotonic() < end:
    line = f"# edit {count}\\n".encode()
    before = path.read_bytes()
    if not before:
        continue
    if sys.argv[3] == "rename":
        part = path.with_name("person.tmp")
        part.write_bytes(before + line)
        if path.read_bytes() != before:
            continue  # an editor looks whether the file has changed on the disk
        os.replace(part, path)
    else:
        with open(path, "r+b") as file:
            now = file.read()
            file.seek(0)
            file.truncate()
            file.write(now + line)
    count += 1
    time.sleep(0.04 + count % 7 * 0.005)
print(count)
"""
READER = """
import sys, time
from pathlib import Path
path, end, torn, reads = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2]), 0, 0
while time.monotonic() < end:
    text = path.read_bytes()
    reads += 1
    torn += not text.startswith(b"# mine\\nskills:") or b"prompt_version: " not in text or text[-1:] != b"\\n"
print(reads, torn)
"""


def promotions(host: Path, seconds: float) -> tuple[int, int]:
    """Promote as often as there is time; returns how many came through and how many gave way."""
    end, through, gave_way = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        version = load_after_saving(host)
        published = publish(
            host,
            replace(REQUEST, version=version + 1, expected_version=version, template=f"skills/a-v{version + 1}.md"),
        )
        assert published.ok or published.later or "was faster" in published.message, published.message
        through, gave_way = through + published.ok, gave_way + (not published.ok)
    return through, gave_way


def load_after_saving(host: Path) -> int:
    """Return the version in use; an editor that empties the file first is waited for."""
    for _ in range(200):
        text = host.read_text(encoding="utf-8")
        if "prompt_version: " in text:
            return int(text.partition("prompt_version: ")[2].split()[0])
        time.sleep(0.005)
    raise AssertionError("the file stayed empty")


@pytest.mark.parametrize("manner", ["rename", "truncate"])
def test_what_a_person_saves_meanwhile_is_never_lost(tmp_path: Path, manner: str) -> None:
    """A program saves edits of its own all the time: each of them is in the file, and no reader sees half a file."""
    host, seconds = make_host(tmp_path / "host"), 3.0
    command = [sys.executable, "-c"]
    writer = subprocess.Popen([*command, WRITER, str(host), str(seconds), manner], stdout=subprocess.PIPE, text=True)
    reader = subprocess.Popen([*command, READER, str(host), str(seconds)], stdout=subprocess.PIPE, text=True)
    try:
        through, gave_way = promotions(host, seconds - 0.2)
        edits = int(writer.communicate(timeout=60)[0])
        reads, torn = map(int, reader.communicate(timeout=60)[0].split())
    finally:
        for process in (writer, reader):
            process.send_signal(signal.SIGKILL)
            process.wait()

    text = host.read_text(encoding="utf-8")
    print(f"{manner}: {edits} edits, {through} promotions, {gave_way} gave way, {reads} reads")  # noqa: T201 - shown with -s
    assert [n for n in range(edits) if f"# edit {n}\n" not in text] == []
    assert min(edits, through, reads) > 0
    assert torn == 0 or manner == "truncate"  # such an editor's own half files
