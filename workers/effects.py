"""Effects outside the database: the host's configuration, and a skill's own scorer."""

from __future__ import annotations

import importlib
import json
import math
import shlex
import subprocess
from collections.abc import Callable
from typing import cast

from models.stages.promote import intend
from models.steps import Claim
from pipeline.flow import Failed, FailureKind, Publish, Reply, Scored, ScoreOutside
from workers import host_publish
from workers.clock import now
from workers.home import Home
from workers.sessions import Database

SCORER_S = 10.0  # a command that scores one answer may take this long
SCORER_CHARS = 10_000  # of its output are read


def publish(home: Home, opened: Database, mine: Claim, request: Publish) -> Reply:
    """Write the intention down under the fence, then change the configuration; repeating it changes nothing."""
    before = home.config.read_bytes().decode("utf-8", "replace") if home.config.is_file() else ""
    with opened.write() as session:
        intend(session, mine, request, before, now())
    return host_publish.publish(home.config, request)


def score_outside(home: Home, request: ScoreOutside) -> Reply:
    """Score by `python:module:function` or `command:...`; whatever goes wrong is a failed score, never an error."""
    kind, _, rest = request.scorer.partition(":")
    try:
        value = _by_python(rest, request) if kind == "python" else _by_command(home, rest, request)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the skill's own code may raise anything, or try to exit
        return Failed(kind=FailureKind.REJECTED, message=f"{request.scorer}: {type(error).__name__}: {error}"[:500])
    return value


def _by_python(path: str, request: ScoreOutside) -> Scored:
    module, _, name = path.partition(":")
    scorer = cast("Callable[[str, str, dict[str, str]], object]", getattr(importlib.import_module(module), name))
    return _read(scorer(request.output, request.expected, dict(request.fields)))


def _by_command(home: Home, command: str, request: ScoreOutside) -> Scored:
    """Run the command in the configuration's folder: the sample as JSON on its input, a score or JSON on its output."""
    sample = {"output": request.output, "expected": request.expected, "input": dict(request.fields)}
    done = subprocess.run(  # noqa: S603 - the command is the user's own setting, split without a shell
        shlex.split(command), input=json.dumps(sample), capture_output=True, text=True, timeout=SCORER_S, check=True,
        cwd=home.config.parent,
    )  # fmt: skip
    return _read(json.loads(done.stdout[:SCORER_CHARS]))


def _read(answer: object) -> Scored:
    """Read a number, true or false, or an object with `value` and `lost`."""
    lost: tuple[str, ...] = ()
    if isinstance(answer, dict):
        lost = tuple(str(word)[:40] for word in answer.get("lost", ()))[:8]
        answer = answer.get("value")
    if not isinstance(answer, int | float) or not math.isfinite(answer) or not 0 <= answer <= 1:
        raise ValueError("a score is a number from 0 to 1")
    return Scored(value=float(answer), lost=lost)
