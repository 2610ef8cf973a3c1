"""`init`, `migrate`, `env` and `completion`: setting up, once."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.failures import NEGATIVE
from ops.cli.output import show

if TYPE_CHECKING:
    from workers.home import Home

WORKER_CLASS = "workers.worker.EvolutionWorker"  # a plain `rq worker` runs whatever Redis names
SHELLS = ("bash", "zsh", "fish")


@command("init", examples="evoctl init --example\nevoctl init --config ~/my-app/config.yaml")
@click.option("--example", is_flag=True, help="With four example skills and their prompts.")
@pass_call
def init(call: Call, *, example: bool) -> None:
    """Set up a home and a configuration.

    Writes the configuration when it is missing, creates the home and the database, and remembers where the
    configuration is. Nothing that exists is ever overwritten.
    """
    from workers.home import remember_config, remembered_config
    from workers.host_config import load_host_config
    from workers.llm.light_http import other_machine
    from workers.llm.tags import leaving

    home = call.home
    home.ensure()  # first: a folder made on the way to the configuration would be open to others
    replaced = remembered_config(home)
    written = _write_config(home.config, example=example)
    remember_config(home)
    before, after = bring_up_to_date(home)
    redis = ensure_redis_url(home)
    host = load_host_config(home.config)
    skills, elsewhere = list(host.skills), other_machine(host.settings.models.ollama_url)
    data = {
        "home": str(home.root), "config": str(home.config), "written": [str(path) for path in written], "revision": after,
        "migrated": before != after, "embedded_redis": redis, "skills": skills, "ollama_elsewhere": elsewhere,
        "replaced": str(replaced) if replaced else None,
    }  # fmt: skip

    names = ", ".join(skills) or f"none yet: {_how_to_get_skills(home.config, example=example and not written)}"
    config = "written" if home.config in written else "found, left as it is"
    lines = (
        f"Home           {show(home.root)}",
        f"Configuration  {show(home.config)} ({config})",
        f"Database       revision {after}",
        f"Skills         {names}",
    )
    call.result("init", data, lambda: "\n".join(lines))
    if replaced:
        call.note(show(f"This home now uses {home.config} where no other is named; it used {replaced} before."))
    if elsewhere:
        call.note(show(f"Ollama runs elsewhere: {leaving(elsewhere)}."))
    call.next("evoctl doctor", "evoctl up", f"evoctl feedback import {skills[0] if skills else 'SKILL'} FILE.jsonl")


@command("migrate", examples="evoctl migrate\nevoctl migrate --check")
@click.option("--check", is_flag=True, help="Only tell whether the database is of this release; exit 6 when not.")
@pass_call
def migrate(call: Call, *, check: bool) -> int:
    """Bring the database to this release."""
    from migrations.run import current, head
    from models.base import make_engine
    from workers.sessions import is_newer

    home = call.home.ensure()
    if check:
        engine = make_engine(home.database_url)
        try:
            before = after = current(engine)
        finally:
            engine.dispose()
    else:
        before, after = bring_up_to_date(home)
    newest = head()
    data = {"from": before, "to": after, "head": newest, "current": after == newest}

    def text() -> str:
        if check:
            return f"The database is at revision {after or 'none'}; this release needs {newest}."
        return f"The database is at revision {after}" + ("." if before == after else f" (was {before or 'empty'}).")

    call.result("migrate", data, text)
    if check and after != newest:
        if after is None or not is_newer(after):
            call.next("evoctl migrate")
        return NEGATIVE
    return 0


@command("env", examples='eval "$(evoctl env)"\nevoctl env --file > .env')
@click.option("--file", "as_file", is_flag=True, help="As a .env file for honcho and foreman; it holds a password.")
@pass_call
def env(call: Call, *, as_file: bool) -> None:
    """Print the variables that other processes need.

    `rq worker evolution` needs them when `evoctl up` does not run it.
    """
    home = call.home
    ensure_redis_url(home)
    exports, before = environment(home), "" if as_file else "export "  # honcho passes over lines with `export`
    call.result("env", exports, lambda: "\n".join(f"{before}{name}={shlex.quote(v)}" for name, v in exports.items()))


@command("completion", examples='eval "$(evoctl completion bash)"\nevoctl completion zsh > ~/.zfunc/_evoctl')
@click.argument("shell", type=click.Choice(SHELLS))
@pass_call
def completion(call: Call, shell: str) -> None:
    """Print the completion script of a shell."""
    from click.shell_completion import get_completion_class

    from ops.cli.main import COMPLETE, PROGRAM, cli

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, PROGRAM, COMPLETE).source()
    call.result("completion", {"shell": shell, "script": script}, lambda: script)


def environment(home: Home) -> dict[str, str]:
    """Return what every process of *home* must find in its environment."""
    found = {
        "EVOCTL_HOME": str(home.root),
        "EVOCTL_CONFIG": str(home.config),
        "RQ_REDIS_URL": home.redis_url,
        "RQ_WORKER_CLASS": os.environ.get("RQ_WORKER_CLASS") or WORKER_CLASS,
        "OPENBLAS_NUM_THREADS": "1",  # one worker of low priority needs no more
    }
    if sys.platform == "darwin":
        found["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"  # the worker forks its jobs
    if os.environ.get("DATABASE_URL"):
        found["DATABASE_URL"] = os.environ["DATABASE_URL"]
    return found


def embedded_url(home: Home) -> str:
    """Return the URL of the home's own Valkey, empty before its port and password are chosen."""
    try:
        return home.redis_url_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def embedded(home: Home) -> bool:
    """Tell whether the home's own Valkey is used: RQ_REDIS_URL names none, or names that one."""
    given = os.environ.get("RQ_REDIS_URL")
    return not given or given == embedded_url(home)


def ensure_redis_url(home: Home) -> bool:
    """Choose port and password of the embedded Valkey once, so that all processes of the home agree.

    Returns:
        Whether the home uses it.
    """
    from ops.valkey import prepare
    from pipeline.errors import Unreachable

    if not embedded(home):
        return False
    if not embedded_url(home):
        try:
            prepare(home)
        except Unreachable:  # no server is installed: doctor and `up` say so
            return False
    return True


def bring_up_to_date(home: Home) -> tuple[str | None, str | None]:
    """Bring the database to the newest revision; return the one before and the one after.

    Raises:
        OtherRelease: it is of a newer release; it is left as it is.
    """
    from migrations.run import current, upgrade
    from models.base import make_engine
    from workers.sessions import is_newer, other_release

    engine = make_engine(home.ensure().database_url)
    try:
        before = current(engine)
        if before is not None and is_newer(before):
            raise other_release(before)
        upgrade(engine)
        return before, current(engine)
    finally:
        engine.dispose()


def _write_config(config: Path, *, example: bool) -> list[Path]:
    """Write the configuration and, for the example, its skills' files, each only when it is missing."""
    from importlib.resources import files

    from pipeline.errors import ConfigError

    if os.path.lexists(config):
        return []
    examples = files("ops.examples")
    text = examples.joinpath("config.yaml").read_text(encoding="utf-8")
    wanted: list[tuple[Path, str]] = []
    if example:
        for entry in sorted(examples.joinpath("skills").iterdir(), key=lambda found: found.name):
            wanted.append((config.parent / "skills" / entry.name, entry.read_text(encoding="utf-8")))
    wanted.append((config, text if example else _without_skills(text)))  # last: it names the others
    try:
        return [path for path, content in wanted if _write_new(path, content)]
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise ConfigError(
            "The configuration cannot be written.", why=why, hint="Name a place by --config PATH."
        ) from error


def _how_to_get_skills(config: Path, *, example: bool) -> str:
    """Say what gives a configuration its skills; an *example* that was asked for is never put over a found one."""
    other = shlex.quote(str(config.parent / "example" / "config.yaml"))
    left = "the example was not written, because this configuration is yours; " if example else ""
    return f"{left}describe them under 'skills:', or get the example by evoctl init --example --config {show(other)}"


def _write_new(path: Path, content: str) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _without_skills(text: str) -> str:
    """Turn the example's skills into comments: a form to fill in."""
    head, mark, rest = text.partition("\nskills:\n")
    skills, cut, settings = rest.partition("\n# What people change most")
    first = skills.partition("\n  audio-actions:")[0]
    form = "\n".join(line if line.strip()[:1] in ("", "#") else f"  # {line[2:]}" for line in first.splitlines())
    return f"{head}{mark}{form}\n{cut}{settings}"
