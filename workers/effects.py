"""Effects outside the database: the host's configuration, and a skill's own scorer."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import math
import os
import resource
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from models.stages.promote import intend
from models.steps import Claim
from pipeline.errors import EvolutionError
from pipeline.flow import Failed, FailureKind, Publish, Published, Reply, Scored, ScoreOutside
from workers import host_publish
from workers.clock import now
from workers.home import Home
from workers.host_config import load_host_config, read_template
from workers.sessions import Database

SCORER_S = 10.0  # a command that scores one answer may take this long
SCORER_BYTES = 10_000  # of its output are read
SCORER_FILE = 16 * 2**20  # bytes that it may write to one file, its output among them
SECRETS = ("RQ_REDIS_URL", "DATABASE_URL")  # not for a scorer


def publish(home: Home, opened: Database, mine: Claim, request: Publish) -> Reply:
    """Write the intention down under the fence, then change the configuration; repeating it changes nothing."""
    before = hashlib.sha256(home.config.read_bytes()).hexdigest() if home.config.is_file() else ""
    with opened.write() as session:
        intend(session, mine, request, before, now())
    edited = _edited_meanwhile(home, request)
    if edited:
        return Published(ok=False, template="", message=edited)
    if request.back and _template_text(home, request.template) is not None:
        request = replace(request, text="")  # the file is there: a person's later corrections of it stay
    return host_publish.publish(home.config, request)


def _edited_meanwhile(home: Home, request: Publish) -> str:
    """Say so when the prompt in use is not the one that was tested; empty when it is, or when all is done already."""
    if not request.expected_text:
        return ""
    try:
        spec = load_host_config(home.config).skill(request.skill)
    except EvolutionError as trouble:
        return str(trouble)
    if spec.version != request.expected_version or _template_text(home, spec.template) == request.expected_text:
        return ""
    return f"{spec.template} was edited by hand since this began, so what is known of it does not hold any more"


def _template_text(home: Home, template: str) -> str | None:
    try:
        return read_template(home.config, template)
    except EvolutionError:
        return None


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
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out:
        told.write(json.dumps(sample).encode())
        told.seek(0)
        with subprocess.Popen(  # noqa: S603 - the command is the user's own setting, split without a shell
            shlex.split(command), stdin=told, stdout=out, stderr=subprocess.DEVNULL, cwd=home.config.parent,
            env=environment, start_new_session=True, preexec_fn=_limit_files,  # noqa: PLW1509 - the job has one thread here
        ) as child:  # fmt: skip
            try:
                code = child.wait(SCORER_S)
            finally:  # also what it started itself
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        if code != 0:
            raise ValueError(f"it ended with status {code}")
        out.seek(0)
        return _read(json.loads(out.read(SCORER_BYTES)))


def _limit_files() -> None:
    """Keep what the command writes from filling the disk; runs in the child."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (SCORER_FILE, SCORER_FILE))


def _read(answer: object) -> Scored:
    """Read a number, true or false, or an object with `value` and `lost`."""
    lost: tuple[str, ...] = ()
    if isinstance(answer, dict):
        lost = tuple(str(word)[:40] for word in answer.get("lost", ()))[:8]
        answer = answer.get("value")
    if not isinstance(answer, int | float) or not math.isfinite(answer) or not 0 <= answer <= 1:
        raise ValueError("a score is a number from 0 to 1")
    return Scored(value=float(answer), lost=lost)
