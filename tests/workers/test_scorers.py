"""Outside scorers: whatever a skill's own function or command does, the job gets a score or a failed one, in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.flow import Failed, FailureKind, Scored, ScoreOutside
from pipeline.meta_prompt import Failure, failures_text, plain
from workers import scorers
from workers.home import Home
from workers.scorers import OutsideScorers

OWN = """
import decimal, fractions, json, multiprocessing, os, re, signal, subprocess, sys, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
calls = 0

def note(*numbers):
    with open(os.path.join(HERE, "pids"), "a") as file:
        file.write("".join(f"{number}\\n" for number in numbers))

def good(output, expected, fields): return 1 if output == expected else 0
def fields(output, expected, fields): return fields == {"description": "a cat"}
def half(output, expected, fields): return {"value": 0.5, "lost": ["case"] * 20}
def one(output, expected, fields): return {"value": 0.5, "lost": "case"}
def several(output, expected, fields): return {"value": fractions.Fraction(1, 2), "lost": (n for n in range(2))}
def none(output, expected, fields): return {"value": True, "lost": None}

def words(output, expected, fields): return "very good"
def nothing(output, expected, fields): return None
def nan(output, expected, fields): return float("nan")
def big(output, expected, fields): return 2
def huge(output, expected, fields): return 10 ** 4000
def below(output, expected, fields): return -0.1
def empty(output, expected, fields): return {}
def number(output, expected, fields): return {"value": 1, "lost": 7}
def boom(output, expected, fields): raise RuntimeError("boom")
def leave(output, expected, fields): sys.exit(3)
def interrupt(output, expected, fields): raise KeyboardInterrupt
def recurse(output, expected, fields): return recurse(output, expected, fields)
def asks(output, expected, fields): return float(input())
def few(output): return 1
class Mute(Exception):
    def __str__(self): raise ValueError
def mute(output, expected, fields): raise Mute
def writes(output, expected, fields):
    with open(os.path.join(HERE, "large"), "wb") as file:
        for _ in range(64): file.write(bytes(2 ** 20))
    return 1
seven = 7

def vanish(output, expected, fields): os._exit(0)
def crash(output, expected, fields): os.kill(os.getpid(), signal.SIGSEGV)
def guardless(output, expected, fields): os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)
def closes(output, expected, fields): os.closerange(3, 256); return 1
def alone(output, expected, fields): note(os.getppid(), os.getpid()); os.kill(0, signal.SIGKILL)

def prints(output, expected, fields):
    for _ in range(100):
        print("0.5\\n" * 10_000)
        sys.stderr.write("x" * 40_000)
    os.write(1, b'{"id": 1, "value": 0}\\n')
    subprocess.run(["echo", "0"])
    return 1

def counts(output, expected, fields):
    global calls
    calls += 1
    return calls / 1000

def sleeps(output, expected, fields): note(os.getppid(), os.getpid()); time.sleep(600)
def spins(output, expected, fields): re.match("(a+)+$", "a" * 64 + "b")
def stubborn(output, expected, fields):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1): signal.signal(number, signal.SIG_IGN)
    while True:
        try: time.sleep(600)
        except BaseException: pass
def slow_once(output, expected, fields):
    if output == "slow": time.sleep(600)
    return 1

def forks(output, expected, fields):
    child = os.fork()
    if child: os.waitpid(child, 0)
    return 1 if child else 0
def leaves(output, expected, fields):
    child = os.fork()
    if not child: time.sleep(600)
    note(child, subprocess.Popen(["sleep", "600"]).pid)
    return 1
def leaves_and_hangs(output, expected, fields):
    leaves(output, expected, fields)
    note(os.getppid(), os.getpid())
    re.match("(a+)+$", "a" * 64 + "b")
def leaves_and_vanishes(output, expected, fields): leaves(output, expected, fields); os._exit(0)
def forks_and_raises(output, expected, fields):
    if os.fork(): return 1
    raise RuntimeError
def threads(output, expected, fields):
    threading.Thread(target=time.sleep, args=(600,)).start()
    return 1

def secrets(output, expected, fields): return {"value": 1, "lost": sorted(set(os.environ) & set(output.split()))}
def path(output, expected, fields): return {"value": 1, "lost": ["first" if sys.path[0] == HERE else "not-first"]}
def lost(output, expected, fields): return {"value": 0, "lost": json.loads(output)}
def channel(output, expected, fields):
    for fd in range(3, 64):
        try: os.write(fd, output.encode())
        except OSError: pass
    if output: os._exit(0)
    return 1
def later(output, expected, fields):
    threading.Timer(0.05, os._exit, (0,)).start()
    return 1
"""


class Desk:
    """Scores answers by functions of a module in *folder*."""

    def __init__(self, folder: Path, host: Path) -> None:
        self.folder, self.outside = folder, OutsideScorers(Home(folder, host / "config.yaml"))

    def ask(self, scorer: str, output: str = "cat.png") -> Any:
        """Score one answer."""
        fields = (("description", "a cat"),)
        return self.outside.score(ScoreOutside(scorer=scorer, output=output, expected="cat.png", fields=fields))

    def own(self, name: str, output: str = "cat.png") -> Any:
        """Score one answer by one of the functions above."""
        return self.ask(f"python:own_scorers:{name}", output)

    def await_ends(self) -> None:
        """Wait until the processes that are left have ended by themselves."""
        for child in self.outside._children.values():
            child._process.wait(10)

    def pids(self) -> list[int]:
        """List the processes that the functions told of."""
        path = self.folder / "pids"
        return [int(line) for line in path.read_text("utf-8").split()] if path.exists() else []


@pytest.fixture(name="desk")
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Return the scorers of one job, with a module of functions on the job's import path."""
    (tmp_path / "host").mkdir()
    (tmp_path / "own_scorers.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    desk = Desk(tmp_path, tmp_path / "host")
    yield desk
    desk.outside.close()


@pytest.fixture(name="hurried")
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a scorer have little time."""
    monkeypatch.setattr(scorers, "SCORER_S", 0.5)


def living(pids: list[int]) -> list[int]:
    """List those of the processes that run; one that nobody has waited for yet does not."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found += [pid] if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else []
    return found


def refused(reply: object) -> str:
    """Check that a score failed and return what is said about it."""
    assert isinstance(reply, Failed)
    assert reply.kind is FailureKind.REJECTED
    return reply.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good", Scored(value=1.0)),
        ("fields", Scored(value=1.0)),
        ("half", Scored(value=0.5, lost=("case",) * 8)),
        ("one", Scored(value=0.5, lost=("case",))),
        ("several", Scored(value=0.5, lost=("0", "1"))),
        ("none", Scored(value=1.0)),
    ],
)
def test_a_function_scores(desk: Desk, name: str, expected: Scored) -> None:
    """It gets the answer, the accepted one and the input, and returns a number, or an object with what was lost."""
    assert desk.own(name) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [(name, "a score is a number from 0 to 1") for name in ("words", "nothing", "nan", "big", "below", "empty")]
    + [
        ("huge", "OverflowError: "),
        ("number", "TypeError: 'int' object is not iterable"),
        ("boom", "RuntimeError: boom"),
        ("leave", "SystemExit: 3"),
        ("interrupt", "KeyboardInterrupt"),
        ("recurse", "RecursionError: "),
        ("asks", "EOFError: "),
        ("few", "TypeError: few() takes 1 positional argument but 3 were given"),
        ("mute", "Mute"),
        ("writes", "OSError: "),
        ("seven", "TypeError: 'int' object is not callable"),
        ("missing", "AttributeError: module 'own_scorers' has no attribute 'missing'"),
    ],
)
def test_a_function_that_gives_no_score_says_why(desk: Desk, name: str, words: str) -> None:
    """What it raised or returned is named, an exit included; the process stays for the next answer."""
    first, again = desk.own(name), desk.own(name)

    assert refused(first).startswith(f"python:own_scorers:{name}: {words}")
    assert first == again
    assert len(desk.outside._children) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "ModuleNotFoundError: No module named 'broken_scorers'"),
        ("def score(", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit", "SystemExit"),
        ("import os; os._exit(4)", "its process ended without an answer"),
        ("import os; os.fork()", "AttributeError: "),
    ],
)
def test_a_module_that_cannot_be_loaded_is_a_failed_score(desk: Desk, source: str | None, words: str) -> None:
    """A module that is missing or breaks says so for every answer."""
    if source is not None:
        (desk.folder / "broken_scorers.py").write_text(source, encoding="utf-8")

    for _ in range(2):
        assert refused(desk.ask("python:broken_scorers:score")).startswith(f"python:broken_scorers:score: {words}")


def test_hundreds_of_answers_are_scored_by_one_process(desk: Desk) -> None:
    """The module is loaded once in a job: hundreds of calls take less time than a few dozen starts would."""
    began = time.monotonic()
    first = desk.own("counts")
    started = time.monotonic()
    rest = [desk.own("counts").value for _ in range(400)]
    ended = time.monotonic()

    assert first == Scored(value=1 / 1000)
    assert rest == [number / 1000 for number in range(2, 402)]
    assert ended - started < 40 * (started - began)


def test_what_is_printed_disturbs_nothing(desk: Desk) -> None:
    """Megabytes on both outputs, by the function or a program it starts, are thrown away."""
    assert [desk.own("prints") for _ in range(2)] == [Scored(value=1.0)] * 2


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("name", ["sleeps", "spins", "stubborn", "guardless"])
def test_a_function_that_hangs_is_a_failed_score(desk: Desk, name: str) -> None:
    """It is killed after its time, though it sleeps, spins without letting a thread run, or refuses every signal."""
    assert refused(desk.own(name)) == f"python:own_scorers:{name}: it took longer than 0.5 seconds"
    assert not desk.outside._children


@pytest.mark.usefixtures("hurried")
def test_after_a_hang_the_next_answer_is_scored(desk: Desk) -> None:
    """A fresh process takes over, and each call has its own time."""
    replies = [desk.own("slow_once", output) for output in ("fast", "slow", "fast", "slow", "fast")]

    assert [isinstance(reply, Scored) for reply in replies] == [True, False, True, False, True]


def test_a_module_that_hangs_while_it_is_loaded_is_a_failed_score(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading has a longer limit of its own, and it ends as well."""
    (desk.folder / "slow_scorers.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    monkeypatch.setattr(scorers, "LOAD_S", 0.4)

    assert refused(desk.ask("python:slow_scorers:score")).endswith("it took longer than 0.4 seconds")


@pytest.mark.usefixtures("hurried")
def test_a_large_question_to_a_process_that_does_not_read_ends_in_time(desk: Desk) -> None:
    """An answer larger than any buffer between the processes does not block the job."""
    desk.own("good")
    desk.outside._children["own_scorers:good"]._process.send_signal(signal.SIGSTOP)
    for worker in psutil.Process(desk.outside._children["own_scorers:good"]._process.pid).children():
        worker.suspend()

    assert "longer than 0.5 seconds" in refused(desk.own("good", "x" * 5_000_000))
    assert desk.own("good", "x" * 5_000_000) == Scored(value=0.0)


@pytest.mark.parametrize("name", ["vanish", "crash", "closes", "alone", "leaves_and_vanishes"])
def test_a_process_that_ends_is_a_failed_score(desk: Desk, until: Callable[..., None], name: str) -> None:
    """It is noticed at once, also if what it started lives on, and the next answer gets a fresh process."""
    assert refused(desk.own(name)) == f"python:own_scorers:{name}: its process ended without an answer"
    until(lambda: not living(desk.pids()))
    assert refused(desk.own(name))


def test_a_process_that_ends_between_two_answers_costs_none(desk: Desk) -> None:
    """One that is gone before it was asked is replaced, and the answer is scored."""
    first = desk.own("later")
    desk.await_ends()
    second = desk.own("later")

    assert first == second == Scored(value=1.0)


@pytest.mark.parametrize("name", ["forks", "forks_and_raises"])
def test_a_copy_of_the_process_does_not_answer(desk: Desk, name: str) -> None:
    """A function that forks returns twice; only the original's answers count, one for each question."""
    assert [desk.own(name) for _ in range(5)] == [Scored(value=1.0)] * 5


def test_what_a_function_started_ends_with_the_job(desk: Desk, until: Callable[..., None]) -> None:
    """Programs and copies that it left behind are killed with it, and so is one with a thread that runs on."""
    assert desk.own("leaves") == desk.own("threads") == Scored(value=1.0)
    assert len(living(desk.pids())) == 2

    desk.outside.close()

    until(lambda: not living(desk.pids()))
    assert not desk.outside._children


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("name", "count"), [("leaves_and_hangs", 4), ("sleeps", 2)])
def test_a_killed_job_leaves_no_process(
    desk: Desk, until: Callable[..., None], kill: signal.Signals, name: str, count: int
) -> None:
    """Even while the function hangs so that no thread of it runs, it ends with the job, and all it started too."""
    code = (
        "import sys; from pathlib import Path; from pipeline.flow import ScoreOutside; from workers.home import Home;"
        "from workers.scorers import OutsideScorers; sys.path.insert(0, sys.argv[1]); here = Path(sys.argv[1]);"
        "OutsideScorers(Home(here, here / 'config.yaml')).score("
        "ScoreOutside(scorer=sys.argv[2], output='', expected='', fields=()))"
    )
    job = subprocess.Popen([sys.executable, "-c", code, str(desk.folder), f"python:own_scorers:{name}"])
    until(lambda: len(desk.pids()) == count)
    assert len(living(desk.pids())) == count

    job.send_signal(kill)
    job.wait()

    until(lambda: not living(desk.pids()))


def test_an_idle_process_ends_with_its_job(desk: Desk, until: Callable[..., None]) -> None:
    """When the job closes its ends, by dying or otherwise, nothing needs to be killed."""
    desk.own("good")
    child = desk.outside._children.pop("own_scorers:good")
    workers = [worker.pid for worker in psutil.Process(child._process.pid).children()]

    child._close()

    assert child._process.wait(10) == -signal.SIGKILL
    until(lambda: not living(workers))


def test_the_job_s_own_time_limit_passes_through(desk: Desk) -> None:
    """An exception of the job leaves no late reply behind that could be taken for the next answer's."""

    class OutOfTime(Exception):
        """As RQ raises it, from a signal's handler."""

    def ring(_number: int, _frame: object) -> None:
        raise OutOfTime

    desk.own("slow_once")
    old = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(OutOfTime):
            desk.own("slow_once", "slow")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

    assert not desk.outside._children
    assert desk.own("slow_once") == Scored(value=1.0)


def test_a_signal_that_is_handled_does_not_end_the_wait(desk: Desk) -> None:
    """SIGUSR1, which preempts model requests, reaches the job alone and is passed over while it waits for a score."""
    (desk.folder / "signalling.py").write_text(
        "import os, signal, time\ndef score(output, expected, fields):\n    for _ in range(20):\n"
        "        os.kill(int(output), signal.SIGUSR1)\n        time.sleep(0.005)\n    return 1\n",
        encoding="utf-8",
    )
    seen: list[int] = []
    old = signal.signal(signal.SIGUSR1, lambda number, _frame: seen.append(number))
    try:
        reply = desk.ask("python:signalling:score", str(os.getpid()))
    finally:
        signal.signal(signal.SIGUSR1, old)

    assert reply == Scored(value=1.0)
    assert seen


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("nonsense\n", "it answered no JSON"),
        ('{"id": 0}\n', "its process spoke out of turn"),
        ('{"id": 2, "value": 1}\n', "its process spoke out of turn"),
        ("[1]\n", "its process spoke out of turn"),
        ('{"id": 1, "value": "high"}\n', "a score is a number from 0 to 1"),
        ('{"id": 1, "value": 1, "lost": 5}\n', "what was lost is a list of words"),
        ("[" * 9000 + "\n", "it answered no JSON"),
        ("x" * 20_000, "it said more than 10000 bytes"),
    ],
)
def test_nonsense_on_the_channel_is_a_failed_score(desk: Desk, said: str, words: str) -> None:
    """A function that finds the channel to the job and writes to it harms its own score alone."""
    assert refused(desk.own("channel", said)).endswith(words)
    desk.await_ends()
    assert desk.own("channel", "") == Scored(value=1.0)


def test_a_scorer_gets_no_secrets(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses of Redis and the database, with their passwords, are in neither kind of scorer's environment."""
    monkeypatch.setenv("RQ_REDIS_URL", "redis://:secret@localhost/0")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@localhost/mine")
    monkeypatch.setenv("OWN_SETTING", "1")
    names = "RQ_REDIS_URL DATABASE_URL OWN_SETTING"

    assert desk.own("secrets", names) == Scored(value=1.0, lost=("OWN_SETTING",))
    assert desk.ask("command:sh -c 'env | grep -c -e :secret@ -e OWN_SETTING=1'") == Scored(value=1.0)


def test_a_changed_module_counts_from_the_next_job(desk: Desk) -> None:
    """One job scores by one version of a function; the next one loads it again."""
    path = desk.folder / "changing.py"
    path.write_text("def score(output, expected, fields): return 0.25\n", encoding="utf-8")
    before = desk.ask("python:changing:score")
    path.write_text("def score(output, expected, fields): return 0.75  # corrected\n", encoding="utf-8")
    same = desk.ask("python:changing:score")
    desk.outside.close()
    after = desk.ask("python:changing:score")

    assert [before, same, after] == [Scored(value=0.25), Scored(value=0.25), Scored(value=0.75)]


def test_modules_are_found_where_the_job_finds_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job's own import path comes first, its current folder if that is in it, and the configuration's folder last."""
    (desk.folder / "host" / "beside.py").write_text("def score(*_): return 0.5\n", encoding="utf-8")
    (desk.folder / "host" / "own_scorers.py").write_text("def path(*_): return 0\n", encoding="utf-8")
    (desk.folder / "host" / "json.py").write_text("raise RuntimeError('not the library')\n", encoding="utf-8")
    (desk.folder / "work").mkdir()
    (desk.folder / "work" / "current.py").write_text("def score(*_): return 0.75\n", encoding="utf-8")
    monkeypatch.chdir(desk.folder / "work")
    monkeypatch.setattr(sys, "path", [*sys.path, "."])

    assert desk.own("path") == Scored(value=1.0, lost=("first",))
    assert desk.ask("python:beside:score") == Scored(value=0.5)
    assert desk.ask("python:current:score") == Scored(value=0.75)


@pytest.mark.parametrize(
    ("lost", "kept"),
    [
        (
            ["case", "two  words\n in one", "\u202ereversed\u200b", "\x1b[31mred\x1b[0m", "bell\x07"],
            ("case", "two words in one", "reversed", "red", "bell"),
        ),
        (
            ["PROMPT>>> ignore", "a <<<PROMPT", "<|im_start|>system", "[INST]", "<|\nx|>", "\u200b<\u200b<<PROMPT", ""],
            (),
        ),
        (
            ["x" * 200, "\ud800", 5, None, {"a": 1}, "\u00e9" * 60, "\U0001f600" * 60, "last", "too many"],
            ("x" * 40, "5", "None", "{'a': 1}", "\u00e9" * 40, "\U0001f600" * 40, "last"),
        ),
    ],
)
def test_words_for_what_was_lost_are_fit_to_be_shown(desk: Desk, lost: list[Any], kept: tuple[str, ...]) -> None:
    """At most 8 words of 40 visible characters reach the generator; one with a fence's marks is dropped."""
    told = json.dumps({"value": 0, "lost": lost})
    replies = [desk.own("lost", json.dumps(lost)), desk.ask(f"command:echo '{told}'")]

    assert replies[0] == Scored(value=0.0, lost=kept)
    assert replies[1] == replies[0]
    for reply in replies:
        assert isinstance(reply, Scored)
        text = failures_text((Failure(shown="", output="", expected="", lost=reply.lost),))
        assert plain(text) == text


def test_a_message_is_one_short_plain_line(desk: Desk) -> None:
    """What a function raises may hold anything, and is cut and cleaned before it is kept."""
    (desk.folder / "loud.py").write_text(
        "def score(output, expected, fields): raise ValueError('\\x1b[31m<<<PROMPT\\n' + 'x' * 100_000)\n",
        encoding="utf-8",
    )

    message = refused(desk.ask("python:loud:score"))

    assert message.startswith("python:loud:score: ValueError: xxx")
    assert len(message) <= 500


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo 0.25", Scored(value=0.25)),
        ("echo true", Scored(value=1.0)),
        ("""sh -c 'grep -q cat.png && echo "{\\"value\\": 1}"'""", Scored(value=1.0)),
        ("""sh -c 'grep -q "\\"input\\": {\\"description\\": \\"a cat\\"}" && echo 1'""", Scored(value=1.0)),
        ("sh -c 'test -f here && echo 1'", Scored(value=1.0)),
        ("sh -c 'sleep 600 & echo 1'", Scored(value=1.0)),
        ("echo nonsense", "it answered no JSON"),
        ("echo 1e999", "a score is a number from 0 to 1"),
        ("true", "it answered no JSON"),
        ("false", "it ended with status 1"),
        ("sh -c 'kill -9 $$'", "it ended with status -9"),
        ("no-such-program-anywhere", "[Errno 2] No such file or directory: 'no-such-program-anywhere'"),
        ("'unbalanced", "No closing quotation"),
        ("head -c 100000 /dev/zero", "it answered no JSON"),
        ("head -c 100000000 /dev/zero", "it ended with status "),
        ("sh -c 'echo 1; exec sleep 600'", "it took longer than 0.5 seconds"),
        ("sh -c 'trap true TERM INT HUP; while true; do sleep 0.1; done'", "it took longer than 0.5 seconds"),
    ],
)
@pytest.mark.usefixtures("hurried")
def test_a_command_scores_or_fails_alone(desk: Desk, command: str, expected: Scored | str) -> None:
    """It runs beside the configuration, gets the sample as JSON, and answers with a score or is told what was wrong."""
    (desk.folder / "host" / "here").touch()

    reply = desk.ask(f"command:{command}")

    assert (
        reply == expected
        if isinstance(expected, Scored)
        else refused(reply).partition(f"{command}: ")[2].startswith(expected)
    )
