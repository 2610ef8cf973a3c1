"""The files for launchd and systemd say what was meant, whatever the paths are called."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.deploy.launchd import plist
from ops.deploy.service import MARK, Options, Service, options_in
from ops.deploy.systemd import unit
from pipeline.errors import BadInput

HOSTILE = (
    "a b", "100%", "%h%%n", 'say "hi"', "it's", "back\\slash", "end\\", "$HOME", "${X}", ";", "#x", "~", "-v", "=", "<&>",
    "]]>", "\u540d\u524d", "a ; rm -rf x", "`id`", "\\x41", "\\n",
)  # fmt: skip
VERIFY = shutil.which("systemd-analyze")


def service(folder: str = "/srv/place", *, protect: bool = True) -> Service:
    """Describe a service whose paths lie in *folder*."""
    return Service(
        label="dev.example.evolution",
        command=(sys.executable, "-m", "ops.cli", "--home", folder, "up", folder.rpartition("/")[2]),
        log=f"{folder}/logs/service.log",
        options=Options(port=9182),
        variables={"XDG_CACHE_HOME": folder},
        protect=protect,
    )


def words_of(line: str) -> list[str]:
    """Read quoted words as systemd.syntax(7) and systemd.unit(5) describe them: escapes, then doubled percent signs."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', line)
    return [re.sub(r"\\(.)", r"\1", word).replace("%%", "%") for word in found]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_property_list_gives_every_path_back(name: str) -> None:
    """What launchd reads are the very words, and no key is lost."""
    wanted = service(f"/srv/{name}")

    read = plistlib.loads(plist(wanted).encode())

    assert tuple(read["ProgramArguments"]) == wanted.command
    assert read["StandardOutPath"] == wanted.log
    assert read["EnvironmentVariables"] == wanted.environment


def test_a_property_list_runs_in_the_background_and_for_ever() -> None:
    """Lowest priority, started at login, and started again whatever its exit code."""
    read = plistlib.loads(plist(service()).encode())

    assert read["Label"] == "dev.example.evolution"
    assert (read["ProcessType"], read["Nice"], read["LowPriorityIO"], read["LowPriorityBackgroundIO"]) == (
        "Background", 19, True, True,
    )  # fmt: skip
    assert (read["RunAtLoad"], read["KeepAlive"], read["ThrottleInterval"], read["ExitTimeOut"]) == (True, True, 30, 90)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_unit_gives_every_path_back(name: str) -> None:
    """Quotes, backslashes and percent signs come out as they went in, and no line is begun anew."""
    wanted = service(f"/srv/{name}")
    lines = unit(wanted).splitlines()

    (start,) = [line for line in lines if line.startswith("ExecStart=")]
    variables = [line for line in lines if line.startswith("Environment=")]

    assert start.startswith('ExecStart=:"/')
    assert words_of(start) == list(wanted.command)
    assert dict(words_of(line)[0].split("=", 1) for line in variables) == wanted.environment
    assert f"StandardOutput=append:{wanted.log.replace('%', '%%')}" in lines
    assert len(lines) == len(unit(service()).splitlines())


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """Its own checker has nothing to say, with plain and with hostile paths."""
    units = [tmp_path / f"one-{index}.service" for index in range(len(HOSTILE) + 1)]
    for path, name in zip(units, ("plain", *HOSTILE), strict=True):
        path.write_text(unit(service(f"/srv/{name}", protect=name != "a b")), encoding="utf-8")

    done = subprocess.run(
        [str(VERIFY), "verify", *map(str, units)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed")
def test_systemd_reads_the_paths_as_they_were_meant(tmp_path: Path) -> None:
    """Its own parser finds programs in folders with odd names, quotes included, and misses one that is not there."""
    said = []
    for index, name in enumerate(("a; 100%h $HOME", "it's \"b\\", "nothing")):
        program = tmp_path / name / "program"
        if name != "nothing":
            program.parent.mkdir()
            program.write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
            program.chmod(0o755)
        path = tmp_path / f"two-{index}.service"
        wanted = Service(label="x", command=(str(program),), log="/srv/log", options=Options(port=1))
        path.write_text(unit(wanted), encoding="utf-8")
        done = subprocess.run([str(VERIFY), "verify", str(path)], capture_output=True, text=True, check=False)
        said.append((done.returncode, "not executable" in done.stderr))
        if name != "nothing":
            start = next(line for line in unit(wanted).splitlines() if line.startswith("ExecStart="))
            assert subprocess.run(words_of(start), check=False).returncode == 7

    assert said == [(0, False), (0, False), (1, True)]


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"])
def test_control_characters_are_refused(char: str) -> None:
    """A path that could begin a new line, or that no XML can hold, makes no service."""
    with pytest.raises(BadInput):
        service(f"/srv/a{char}b")


@pytest.mark.parametrize(
    "options", [Options(port=0), Options(port=65535, no_web=True), Options(port=9182, no_web=True, no_worker=True)]
)
def test_a_file_tells_with_which_options_it_was_written(options: Options) -> None:
    """Both kinds of file carry them; a file without our mark is not ours."""
    wanted = Service(label="x", command=("/bin/true",), log="/srv/log", options=options)

    assert options_in(plist(wanted)) == options_in(unit(wanted)) == options
    assert options_in(unit(wanted).replace(MARK, "OTHER")) is None
