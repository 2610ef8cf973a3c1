"""feedback, assign and outcome."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from workers.home import Home

GOOD = {"task_id": "g", "input": {"description": "A barn"}, "output": "red-barn.png", "label": "ok"}


def line(**given: object) -> bytes:
    """Write one row."""
    return json.dumps({**GOOD, **given}).encode() + b"\n"


BAD = {
    "half a line": (b'{"task_id": "h", "input": {"descr', "was the file cut off?"),
    "not JSON": (b"task_id: x\n", "not JSON at column 1"),
    "two objects": (b'{"task_id":"a"} {"task_id":"b"}\n', "Extra data"),
    "not an object": (b"[1]\n", "not a JSON object"),
    "NaN": (b'{"task_id": "n", "input": {"a": NaN}}\n', "NaN is no number"),
    "Infinity": (b'{"task_id": "n", "input": {"a": -Infinity}}\n', "Infinity is no number"),
    "duplicate key": (b'{"task_id": "a", "task_id": "b"}\n', "appears twice"),
    "unknown key": (line(tak_id=1), "unknown key 'tak_id'; did you mean 'task_id'?"),
    "unknown label": (line(label="good"), "unknown label 'good'"),
    "number as label": (line(label=1), "unknown label '1'"),
    "invalid UTF-8": (b'{"task_id": "\xff"}\n', "invalid UTF-8 at byte 14"),
    "future": (line(at="2999-01-01T00:00:00Z"), "lies in the future"),
    "before 1970": (line(at="1901-01-01T00:00:00Z"), "lies before 1970"),
    "no zone": (line(at="2026-01-01T00:00:00"), "a time with its zone"),
    "no time": (line(at="yesterday"), "a time with its zone"),
    "year nought": (line(at="0001-01-01T00:00:00+14:00"), "a time with its zone"),
    "number as time": (line(at=1e9), "a time with its zone"),
    "too long": (b'{"task_id": "' + b"x" * 1_000_000 + b'"}\n', "longer than 1000000 bytes"),
    "far too long": (b'{"task_id": "' + b"x" * 3_000_000 + b'"}\n', "longer than 1000000 bytes"),
    "deep": (b'{"input": ' + b"[" * 100_000 + b"\n", "nested too deeply"),
    "huge number": (b'{"version": ' + b"9" * 5000 + b"}\n", "4300"),
    "surrogate": (b'{"task_id": "x", "input": {"a": "\\ud800"}}\n', "half a surrogate pair"),
    "NUL": (line(output="a\0b"), "NUL"),
    "no task id": (b'{"input": {"a": "b"}}\n', "'task_id' is missing"),
    "empty task id": (line(task_id=" "), "'task_id' must be a text"),
    "long task id": (line(task_id="x" * 201), "longer than 200"),
    "list as task id": (line(task_id=[1]), "'task_id' must be a text"),
    "list as input": (line(input=["a"]), "must be an object"),
    "nested input": (line(input={"a": {"b": 1}}), "'input.a' must be a text or a number"),
    "nameless field": (line(input={"": "x"}), "1 to 100 characters"),
    "number as output": (line(output=3), "'output' must be a text"),
    "both answers": (line(expected="a", correct="b"), "two words for one thing"),
    "version nought": (line(version=0), "whole number from 1"),
    "unknown task": (b'{"task_id": "never seen", "label": "ok"}\n', "'input' is needed"),
}


def write(path: Path, *rows: bytes) -> str:
    """Write a file and return its path."""
    path.write_bytes(b"".join(rows))
    return str(path)


@pytest.mark.parametrize(("row", "told"), BAD.values(), ids=BAD)
def test_a_bad_row_is_named_and_nothing_is_written(
    evoctl: Any, host: object, tmp_path: Path, row: bytes, told: str
) -> None:
    """The error names file and line; with --skip-bad the other rows are written and the bad one is told."""
    file = write(tmp_path / "rows.jsonl", line(task_id="first"), row)

    said = evoctl("feedback", "import", "file-naming", file)
    assert said.code == 2
    assert "rows.jsonl line 2: " in said.err
    assert told in said.err
    assert evoctl("feedback", "list", "file-naming", "--json").data["tasks"] == []

    skipped = evoctl("feedback", "import", "file-naming", file, "--skip-bad", "--json")
    assert skipped.code == 0
    assert (skipped.data["tasks"], [one["line"] for one in skipped.data["skipped"]]) == (1, [2])
    assert told in skipped.data["skipped"][0]["problem"]


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xff\xfe"])
def test_a_byte_order_mark_is_named(evoctl: Any, host: object, tmp_path: Path, mark: bytes) -> None:
    """The first line says what it begins with."""
    said = evoctl("feedback", "import", "file-naming", write(tmp_path / "rows.jsonl", mark, line()))

    assert said.code == 2
    assert "rows.jsonl line 1: the file begins with a byte order mark" in said.err


def test_a_duplicate_task_is_named_with_the_line_of_the_first(evoctl: Any, host: object, tmp_path: Path) -> None:
    """Two rows of one task contradict each other."""
    said = evoctl("feedback", "import", "file-naming", write(tmp_path / "r.jsonl", line(), b"\n", line()))

    assert "r.jsonl line 3: the task id is the same as on line 1" in said.err


def test_many_bad_rows_are_counted(evoctl: Any, host: object, tmp_path: Path) -> None:
    """The first twenty are listed, the rest is a number."""
    said = evoctl("feedback", "import", "file-naming", write(tmp_path / "r.jsonl", *[b"x\n"] * 50))

    assert "50 lines of r.jsonl cannot be used" in said.err
    assert said.err.count(" line ") == 20
    assert "and 30 more" in said.err


@pytest.mark.parametrize("place", ["missing.jsonl", ".", "a\0b"])
def test_a_file_that_cannot_be_read_is_a_clear_error(evoctl: Any, host: object, place: str) -> None:
    """A missing file, a folder and an impossible name end with exit 2."""
    said = evoctl("feedback", "import", "file-naming", place)

    assert (said.code, said.err.splitlines()[0][:7]) == (2, "Error: ")
    assert "\0" not in said.err


def test_a_fifo_is_refused(evoctl: Any, host: object, tmp_path: Path) -> None:
    """What cannot be read twice is read from standard input."""
    os.mkfifo(tmp_path / "pipe")
    keep = os.open(tmp_path / "pipe", os.O_RDWR)

    said = evoctl("feedback", "import", "file-naming", str(tmp_path / "pipe"))
    os.close(keep)

    assert said.code == 2
    assert "standard input" in said.err


def test_an_import_says_what_it_did(evoctl: Any, host: object) -> None:
    """New and changed tasks and labels are counted; standard input works like a file."""
    rows = line(task_id="a") + line(task_id="b", label="bad", correct="barn.png") + b"\n" + line(task_id=7).rstrip()

    first = evoctl("feedback", "import", "file-naming", "-", "--json", given=rows)
    second = evoctl("feedback", "import", "file-naming", "-", "--json", given=line(task_id="a", label="bad"))

    assert [first.data[key] for key in ("tasks", "new", "changed", "ok", "bad")] == [3, 3, 0, 2, 1]
    assert [second.data[key] for key in ("tasks", "new", "changed", "bad")] == [1, 0, 1, 1]
    tasks = {one["task_id"]: one for one in evoctl("feedback", "list", "file-naming", "--json").data["tasks"]}
    assert set(tasks) == {"a", "b", "7"}
    assert (tasks["b"]["expected"], tasks["a"]["label"], tasks["a"]["source"]) == ("barn.png", "bad", "person")


def test_a_row_of_a_known_task_needs_no_input(evoctl: Any, host: object) -> None:
    """A label alone changes the task that is known."""
    evoctl("feedback", "import", "file-naming", "-", given=line())

    said = evoctl("feedback", "import", "file-naming", "-", "--json", given='{"task_id": "g", "label": "bad"}')

    assert (said.code, said.data["changed"]) == (0, 1)


def test_times_versions_and_numbers_are_kept(evoctl: Any, host: object) -> None:
    """A row's time is its own, in UTC; numbers of the input become texts."""
    row = line(at="2026-01-02T03:04:05+02:00", version=3, input={"description": 2, "share": 0.5})

    evoctl("feedback", "import", "file-naming", "-", given=row)

    (task,) = evoctl("feedback", "list", "file-naming", "--json").data["tasks"]
    assert (task["judged_at"], task["version"], task["input"]) == (
        "2026-01-02T01:04:05Z",
        3,
        {"description": "2", "share": "0.5"},
    )


def test_a_large_file_is_one_batch(evoctl: Any, host: object, tmp_path: Path) -> None:
    """One undo takes all of an import back."""
    count = 300
    file = write(tmp_path / "big.jsonl", *(line(task_id=f"t{i}") for i in range(count)))

    assert evoctl("feedback", "import", "file-naming", file, "--json").data["tasks"] == count
    assert evoctl("feedback", "undo", "file-naming", "--json").data["tasks"] == count
    assert evoctl("feedback", "list", "file-naming", "--json").data["tasks"] == []


def test_feedback_that_shows_drift_starts_a_check(evoctl: Any, host: object) -> None:
    """Twenty bad answers are reason for a check, and the result names its run."""
    bad = {"label": "bad", "correct": "red-barn.png", "output": "x.png"}
    rows = b"".join(line(task_id=f"t{i}", input={"description": f"Barn {i}"}, **bad) for i in range(40))

    said = evoctl("feedback", "import", "file-naming", "-", given=rows)

    assert "Accuracy gives reason for a drift check: run r1." in said.out
    assert evoctl("runs", "--json").data["runs"][0]["trigger"] == "feedback"


def test_one_task_is_recorded_and_changed(evoctl: Any, host: object) -> None:
    """Add makes a task; the same id again changes it."""
    words = ("feedback", "add", "file-naming", "--task-id", "t1")

    first = evoctl(*words, "--input", "description=a=b", "--output", "b.png", "--ok")
    second = evoctl(*words, "--bad", "--correct", "barn.png", "--json")

    assert first.out == "Recorded task t1 of file-naming: ok by person.\n"
    assert (second.data["new"], second.data["label"]) == (False, "bad")
    (task,) = evoctl("feedback", "list", "file-naming", "--json").data["tasks"]
    assert task["input"] == {"description": "a=b"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--input", "description"), 2),
        (("--input", "=x"), 2),
        (("--input", "a=1", "--input", "a=2"), 2),
        (("--ok",), 2),
        (("--input", "a=\udcff", "--ok"), 2),
    ],
)
def test_a_task_that_cannot_be_used_is_refused(evoctl: Any, host: object, words: tuple[str, ...], code: int) -> None:
    """A field without a name or twice, an unknown task without input, half a character."""
    assert evoctl("feedback", "add", "file-naming", "--task-id", "t", *words).code == code


@pytest.mark.parametrize("task", ["", " ", "x" * 201])
def test_an_impossible_task_id_is_refused(evoctl: Any, host: object, task: str) -> None:
    """A task id has 1 to 200 characters."""
    for words in (
        ("feedback", "add", "file-naming", "--task-id", task, "--ok"),
        ("assign", "file-naming", "--task-id", task),
    ):
        assert evoctl(*words).code == 2


def test_undo_without_feedback_says_so(evoctl: Any, host: object) -> None:
    """Nothing to undo is no error."""
    said = evoctl("feedback", "undo", "file-naming")

    assert (said.code, said.out) == (0, "There is nothing to undo for file-naming.\n")


def test_an_unknown_skill_is_not_found(evoctl: Any, host: object) -> None:
    """Every command that takes a skill ends with exit 3."""
    for words in (
        ("feedback", "list", "nope"),
        ("feedback", "undo", "nope"),
        ("feedback", "import", "nope", "-"),
        ("assign", "nope", "--task-id", "x"),
        ("outcome", "nope", "x", "--ok"),
        ("stats", "nope"),
        ("results", "nope"),
        ("runs", "nope"),
        ("show", "nope"),
        ("diff", "nope", "v1", "v2"),
        ("vote", "nope"),
        ("promote", "nope", "variant_a"),
        ("rollback", "nope"),
        ("enqueue", "nope"),
    ):
        said = evoctl(*words)
        assert (said.code, said.out) == (3, ""), words


def test_assign_gives_the_same_prompt_again(evoctl: Any, host: object) -> None:
    """Without a test the current prompt is given; --text prints it as it is."""
    first = evoctl("assign", "file-naming", "--task-id", "t1", "--json")
    second = evoctl("assign", "file-naming", "--task-id", "t1", "--json")
    text = evoctl("assign", "file-naming", "--task-id", "t1", "--text").out

    assert first.data == second.data
    assert (first.data["arm"], first.data["version"]) == ("current", 1)
    assert text == first.data["text"] + "\n"


def test_assign_keeps_to_the_prompt_in_use_while_people_vote(evoctl: Any, trial: Any) -> None:
    """During a test by ballots, tasks get the prompt in use, and it is said which of them should be asked about."""
    told = [evoctl("assign", "file-naming", "--task-id", f"t{i}", "--json").data for i in range(40)]

    assert {one["arm"] for one in told} == {"current"}
    assert {one["audit"] for one in told} == {True, False}


def test_an_outcome_belongs_to_an_assignment(evoctl: Any, host: object) -> None:
    """Without one it is not found; with one it is a judged task."""
    assert evoctl("outcome", "file-naming", "t1", "--ok").code == 3
    evoctl("assign", "file-naming", "--task-id", "t1")

    said = evoctl("outcome", "file-naming", "t1", "--bad", "--input", "description=x", "--output", "y")

    assert said.out == "Recorded: task t1 of file-naming went bad.\n"
    assert evoctl("feedback", "list", "file-naming", "--only", "bad", "--json").data["tasks"][0]["task_id"] == "t1"


def test_an_outcome_needs_a_verdict(evoctl: Any, host: object) -> None:
    """--ok or --bad is asked for."""
    said = evoctl("outcome", "file-naming", "t1")

    assert said.code == 2
    assert "--ok" in said.err


def test_a_version_that_there_is_not_is_refused(evoctl: Any, host: object) -> None:
    """With those that there are: an output of it would count for no prompt. An import may be of prompts before all of them."""
    words = ("feedback", "add", "file-naming", "--task-id", "t", "--input", "description=x", "--output", "y", "--ok")

    added = evoctl(*words, "--version", "7")

    assert added.code == 2
    assert "there is no prompt version 7 (known: v1)" in added.err
    assert evoctl(*words, "--version", "1").code == 0
    assert evoctl("feedback", "import", "file-naming", "-", given=line(version=7)).code == 0


def test_an_input_of_which_the_prompt_reads_nothing_is_refused(evoctl: Any, host: object) -> None:
    """The words name its fields; further fields are the host's own, and a missing one is said."""
    words = ("feedback", "add", "file-naming", "--task-id", "t", "--output", "y", "--ok")

    wrong = evoctl(*words, "--input", "zzz=1")
    partly = evoctl(*words, "--input", "zzz=1", "--input", "description=x")

    assert wrong.code == 2
    assert "none of the fields that the prompt reads (description, original_name), only zzz" in wrong.err
    assert partly.code == 0
    assert "Not given, and so empty for the prompt: original_name." in partly.err


def test_what_an_earlier_prompt_read_is_told_of_it_all_the_same(evoctl: Any, host: Home) -> None:
    """An outcome of version 1 that comes after a version 2 with other fields is not lost."""
    words = ("feedback", "add", "file-naming", "--task-id", "t", "--output", "y", "--ok")
    assert evoctl(*words, "--input", "description=x").code == 0
    config, template = host.config, host.config.parent / "skills" / "file-naming.md"
    (template.parent / "file-naming-v2.md").write_text(
        template.read_text("utf-8").replace("{{description}}", "{{scene}}").replace("{{original_name}}", "{{was}}"),
        "utf-8",
    )
    text = config.read_text("utf-8").replace("skills/file-naming.md", "skills/file-naming-v2.md", 1)
    config.write_text(text.replace("prompt_version: 1", "prompt_version: 2", 1), "utf-8")
    assert evoctl(*words, "--input", "scene=x").code == 0
    late = ("feedback", "add", "file-naming", "--task-id", "late", "--output", "y", "--ok", "--input", "description=x")

    assert evoctl(*late, "--version", "1").code == 0
    assert evoctl(*late).code == 2


def test_an_assigned_task_without_input_says_what_to_add(evoctl: Any, host: object) -> None:
    """Assigning tells the prompt only; what went in comes with the first word about it."""
    evoctl("assign", "file-naming", "--task-id", "m100")

    said = evoctl("outcome", "file-naming", "m100", "--ok")

    assert said.code == 2
    assert "Task 'm100' is not known, and its input was not given." in said.err
    assert "--input KEY=VALUE" in said.err
