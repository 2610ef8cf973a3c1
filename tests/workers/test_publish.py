"""Putting a prompt into the host's configuration: once, whole, and with nothing else touched."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipeline.errors import Blocked, Unreachable
from pipeline.flow import Publish
from workers import host_publish
from workers.host_config import load_host_config, publish

CONFIG = """\
# mine
secret: {a:   b}   # kept

skills:
  file-naming:   # names files
    model: m
    prompt_template: skills/a.md   # the prompt
    prompt_version: 1
    scorer: exact

  other:
    prompt_template: skills/other.md
    prompt_version: 1
"""
OLD, TEXT = "Name it.\n---\nText: {{text}}\n", "Name it well.\n---\nText: {{text}}\n"
REQUEST = Publish(
    skill="file-naming",
    text=TEXT,
    template="skills/a-v2.md",
    version=2,
    previous_accuracy=0.78125,
    current_accuracy=0.9,
    evolved_at="2026-11-20T10:00:00Z",
    expected_version=1,
)
ADDED = """\
    prompt_template: "skills/a-v2.md"   # the prompt
    prompt_version: 2
    evolved_at: "2026-11-20T10:00:00Z"
    previous_accuracy: 0.7812
    current_accuracy: 0.9
"""
DONE = CONFIG.replace("    prompt_template: skills/a.md   # the prompt\n    prompt_version: 1\n", ADDED)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Make a host's folder with two skills and return the path of its configuration."""
    (tmp_path / "skills").mkdir()
    for name in ("a.md", "other.md"):
        (tmp_path / "skills" / name).write_text(OLD, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path / "config.yaml"


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return inode, time of change and content of every file."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def names(folder: Path) -> set[str]:
    """Return the names of all files, the lock aside."""
    return set(snapshot(folder))


def test_a_promotion_changes_two_values_and_adds_three(host: Path) -> None:
    """The diff is exactly the five lines of the skill's entry; the prompt stands in its own file."""
    published = publish(host, REQUEST)

    assert (published.ok, published.template) == (True, "skills/a-v2.md")
    assert host.read_text(encoding="utf-8") == DONE
    assert (host.parent / "skills" / "a-v2.md").read_text(encoding="utf-8") == TEXT
    assert load_host_config(host).skill("file-naming").version == 2
    assert (host.parent / "config.yaml.bak").read_text(encoding="utf-8") == CONFIG
    assert names(host.parent) == {
        "config.yaml",
        "config.yaml.bak",
        "skills/a.md",
        "skills/a-v2.md",
        "skills/other.md",
    }


def test_windows_lines_and_a_byte_order_mark_stay(host: Path) -> None:
    """A file from a Windows editor remains one, new lines included."""
    host.write_bytes(b"\xef\xbb\xbf" + CONFIG.replace("\n", "\r\n").encode())

    assert publish(host, REQUEST).ok
    assert host.read_bytes() == b"\xef\xbb\xbf" + DONE.replace("\n", "\r\n").encode()


def test_a_second_try_touches_nothing(host: Path) -> None:
    """A request that is repeated after a kill finds that it is done: no file gets a new inode or time."""
    publish(host, REQUEST)
    before = snapshot(host.parent)

    published = publish(host, REQUEST)

    assert (published.ok, published.template) == (True, "skills/a-v2.md")
    assert snapshot(host.parent) == before


def test_a_rollback_points_back_without_writing_a_template(host: Path) -> None:
    """An empty text means a template that exists; done twice it is done once."""
    publish(host, REQUEST)
    back = replace(REQUEST, text="", template="skills/a.md", version=3, expected_version=2, current_accuracy=None)

    assert publish(host, back).ok
    before = snapshot(host.parent)
    assert publish(host, back).ok

    assert snapshot(host.parent) == before
    assert 'skills/a.md"   # the prompt\n    prompt_version: 3\n' in host.read_text(encoding="utf-8")
    assert "current_accuracy: null\n" in host.read_text(encoding="utf-8")


def test_a_rollback_to_a_missing_template_changes_nothing(host: Path) -> None:
    """The configuration never names a file that is not there."""
    published = publish(host, replace(REQUEST, text="", template="skills/gone.md"))

    assert not published.ok
    assert "does not exist" in published.message
    assert host.read_text(encoding="utf-8") == CONFIG


def test_a_person_who_was_faster_wins(host: Path) -> None:
    """Another version than the expected one is in use: nothing is changed, and the answer names both."""
    host.write_text(CONFIG.replace("prompt_version: 1\n    scorer", "prompt_version: 5\n    scorer"), encoding="utf-8")
    before = snapshot(host.parent)

    published = publish(host, REQUEST)

    assert not published.ok
    assert "version 5 of file-naming, not 1" in published.message
    assert snapshot(host.parent) == before


def test_a_taken_name_is_never_overwritten(host: Path) -> None:
    """A file of a person's under the wanted name stays; the next free name is used, and found again by a retry."""
    (host.parent / "skills" / "a-v2.md").write_text("mine", encoding="utf-8")
    (host.parent / "skills" / "a-v2-2.md").symlink_to("a.md")

    published = publish(host, REQUEST)
    before = snapshot(host.parent)
    again = publish(host, REQUEST)

    assert (published.template, again.template) == ("skills/a-v2-3.md", "skills/a-v2-3.md")
    assert (host.parent / "skills" / "a-v2.md").read_text(encoding="utf-8") == "mine"
    assert snapshot(host.parent) == before
    assert load_host_config(host).skill("file-naming").template == "skills/a-v2-3.md"


def test_a_template_with_the_wanted_text_is_used(host: Path) -> None:
    """The file that an interrupted try left behind is not written again."""
    (host.parent / "skills" / "a-v2.md").write_text(TEXT, encoding="utf-8")
    inode = (host.parent / "skills" / "a-v2.md").stat().st_ino

    assert publish(host, REQUEST).template == "skills/a-v2.md"
    assert (host.parent / "skills" / "a-v2.md").stat().st_ino == inode


def test_a_version_that_a_person_rewrote_is_not_taken_for_ours(host: Path) -> None:
    """The same version number with another text is a person's work."""
    publish(host, REQUEST)
    (host.parent / "skills" / "a-v2.md").write_text(OLD, encoding="utf-8")

    assert not publish(host, REQUEST).ok


def test_links_and_modes_stay(host: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A configuration kept among dotfiles stays a link, and the file keeps its mode."""
    link = tmp_path_factory.mktemp("dotfiles") / "config.yaml"
    link.symlink_to(host)
    host.chmod(0o640)

    assert publish(link, REQUEST).ok

    assert link.is_symlink()
    assert stat.S_IMODE(host.stat().st_mode) == 0o640
    assert stat.S_IMODE((host.parent / "config.yaml.bak").stat().st_mode) == 0o640
    assert host.read_text(encoding="utf-8") == DONE
    assert (host.parent / "skills" / "a-v2.md").exists()


def test_the_template_goes_where_the_current_one_lives(host: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of a link's two folders, the one that holds the prompt in use gets the new one."""
    place = tmp_path_factory.mktemp("place")
    (host.parent / "skills").rename(place / "skills")
    link = place / "config.yaml"
    link.symlink_to(host)

    assert publish(link, REQUEST).ok
    assert (place / "skills" / "a-v2.md").read_text(encoding="utf-8") == TEXT
    assert load_host_config(link).skill("file-naming").version == 2


def test_a_read_only_configuration_is_left_alone(host: Path) -> None:
    """A file without write permission is a person's wish."""
    host.chmod(0o444)

    published = publish(host, REQUEST)

    assert not published.ok
    assert "read-only" in published.message
    assert host.read_text(encoding="utf-8") == CONFIG


REFUSED = {
    "braces": CONFIG.replace("  other:\n", "  x: {}\n").replace(
        CONFIG[CONFIG.index("  file-naming") : CONFIG.index("  other")],
        "  file-naming: {prompt_template: skills/a.md, prompt_version: 1}\n",
    ),
    "anchor": CONFIG.replace("file-naming:", "file-naming: &f"),
    "shared value": CONFIG.replace("skills/a.md", "&t skills/a.md"),
    "two documents": CONFIG + "---\na: 1\n",
    "doubled": CONFIG.replace("    scorer: exact\n", "    prompt_version: 1\n"),
    "block": CONFIG.replace("skills/a.md   # the prompt", ">-\n      skills/a.md"),
    "broken": CONFIG + "\tx",
    "large": CONFIG + "# \n" * 400_000,
    "no such skill": CONFIG.replace("file-naming", "renamed"),
    "no template": CONFIG.replace("    prompt_template: skills/a.md   # the prompt\n", ""),
    "odd version": CONFIG.replace("prompt_version: 1\n    scorer", "prompt_version: one\n    scorer"),
    "empty": "",
    "not text": "\0",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_edited_safely_is_left_alone(host: Path, content: str) -> None:
    """The answer says why, the configuration keeps its bytes, and no template is left behind."""
    host.write_text(content, encoding="utf-8")
    before = snapshot(host.parent)

    published = publish(host, REQUEST)

    assert not published.ok
    assert published.message.isprintable()
    assert len(published.message) > 20
    assert snapshot(host.parent) == before


@pytest.mark.parametrize(
    "change",
    [
        {"text": "no field"},
        {"text": "---\n{{text}}\n"},
        {"text": TEXT + "\0"},
        {"text": TEXT + "\x1b[2J"},
        {"text": TEXT + "\ud800"},
        {"text": TEXT + "x" * 256 * 1024},
        {"template": "../a-v2.md"},
        {"template": "/tmp/a-v2.md"},  # noqa: S108 - nothing is written there, which is the point
        {"template": "skills/a-v2.txt"},
        {"template": "link/a-v2.md"},
        {"template": "none/a-v2.md"},
        {"template": "skills/" + "a" * 300 + ".md"},
        {"evolved_at": "\ud800"},
        {"current_accuracy": float("nan")},
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_written(
    host: Path, tmp_path_factory: pytest.TempPathFactory, change: dict[str, Any]
) -> None:
    """A prompt that no reader accepts, or a path out of the folder, changes nothing."""
    outside = tmp_path_factory.mktemp("outside")
    (host.parent / "link").symlink_to(outside)
    before = snapshot(host.parent)

    assert not publish(host, replace(REQUEST, **change)).ok
    assert snapshot(host.parent) == before
    assert not list(outside.iterdir())


def test_a_missing_folder_stays_missing(tmp_path: Path) -> None:
    """Not even a lock is created where there is no configuration."""
    assert not publish(tmp_path / "no" / "config.yaml", REQUEST).ok
    assert not (tmp_path / "no").exists()


def test_a_held_lock_is_reported(host: Path) -> None:
    """A publication waits for another one, and says whose lock it is when that takes too long."""
    with FileLock(host.with_name("config.yaml.lock")), pytest.raises(Blocked, match="Another process"):
        publish(host, REQUEST, lock_wait_s=0.1)


def test_a_full_disk_changes_nothing(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new file cannot be made durable, the old one stays, and that is no answer: it is tried again."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(Unreachable, match="disk is full"):
        publish(host, REQUEST)

    assert host.read_text(encoding="utf-8") == CONFIG
    assert load_host_config(host).skill("file-naming").version == 1


def edited_meanwhile(host: Path, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Let an editor save the configuration just before it is replaced."""
    original, left = host_publish._whole, [times]

    def whole(target: Path, content: bytes, like: os.stat_result) -> Path:
        if target.name == "config.yaml" and left[0]:
            left[0] -= 1
            with host.open("a", encoding="utf-8") as file:
                file.write(f"# edit {left[0]}\n")
        return original(target, content, like)

    monkeypatch.setattr(host_publish, "_whole", whole)


def test_an_edit_in_between_is_kept(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person who saves while we write loses nothing: we read again."""
    edited_meanwhile(host, monkeypatch, times=2)

    assert publish(host, REQUEST).ok
    assert host.read_text(encoding="utf-8") == DONE + "# edit 1\n# edit 0\n"


def test_a_file_that_never_rests_is_left_alone(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries the answer says so, and the editor's text stands."""
    edited_meanwhile(host, monkeypatch, times=99)

    published = publish(host, REQUEST)

    assert not published.ok
    assert "each time" in published.message
    assert host.read_text(encoding="utf-8").startswith(CONFIG)
    assert not [name for name in names(host.parent) if name.endswith(".new")]


DYING = """
import os, signal, sys
from pathlib import Path
name, moment, count, path, text = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5]
from pipeline.flow import Publish
from workers.host_config import publish
import filelock
real, calls = getattr(os, name), 0

def dying(*args, **kwargs):
    global calls
    calls += 1
    if calls == count and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **kwargs)
    if calls == count:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(os, name, dying)
publish(path, eval(text))
"""
POINTS = [
    *(("fsync", moment, count) for count in (1, 2, 3, 4, 5) for moment in ("before", "after")),
    *(("link", moment, 1) for moment in ("before", "after")),
    *(
        ("replace", moment, 1) for moment in ("before", "after")
    ),  # the swap is no call of Python's: see test_publish_kills.py
]


@pytest.mark.parametrize(("call", "moment", "count"), POINTS)
def test_a_kill_at_any_point_is_cured_by_a_retry(host: Path, call: str, moment: str, count: int) -> None:
    """Killed at any write, the configuration is the old or the new one, and the retry ends as if nothing had been."""
    arguments = [call, moment, str(count), str(host), repr(REQUEST)]

    killed = subprocess.run([sys.executable, "-c", DYING, *arguments], check=False, timeout=60)
    text, template = host.read_text(encoding="utf-8"), host.parent / "skills" / "a-v2.md"
    inode = host.stat().st_ino
    whole = template.read_text(encoding="utf-8") if template.exists() else TEXT
    published = publish(host, REQUEST)

    assert killed.returncode == -signal.SIGKILL
    assert text in (CONFIG, DONE)
    assert whole == TEXT
    assert template.exists()
    assert (host.stat().st_ino == inode) is (text == DONE)
    assert (published.ok, published.template) == (True, "skills/a-v2.md")
    assert host.read_text(encoding="utf-8") == DONE
    expected = {"config.yaml", "config.yaml.bak", "skills/a.md", "skills/a-v2.md", "skills/other.md"}
    assert names(host.parent) == expected


COUNTING = """
import sys
from dataclasses import replace
from pathlib import Path
from pipeline.flow import Publish
from workers.host_config import load_host_config, publish
path, request, wins = Path(sys.argv[1]), eval(sys.argv[2]), 0
while wins < 5:
    version = load_host_config(path).skill("file-naming").version
    text = f"Version {version + 1} by {sys.argv[3]}.\\n---\\n{{{{text}}}}\\n"
    wanted = f"skills/a-v{version + 1}.md"
    wins += publish(path, replace(request, text=text, template=wanted, version=version + 1, expected_version=version)).ok
"""


def test_four_publishers_at_once_lose_no_promotion(host: Path) -> None:
    """Twenty promotions by four processes count to 21, and no reader ever sees half a file."""
    workers = [
        subprocess.Popen([sys.executable, "-c", COUNTING, str(host), repr(REQUEST), str(number)]) for number in range(4)
    ]
    seen = []
    while any(worker.poll() is None for worker in workers):
        seen.append(load_host_config(host).skill("file-naming").version)

    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert seen == sorted(seen)
    assert load_host_config(host).skill("file-naming").version == 21
    assert len(list((host.parent / "skills").glob("a-v*.md"))) == 20
