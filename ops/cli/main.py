"""`evoctl`: the table of commands, loaded one at a time, so that help and completion cost next to nothing."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import click

from ops.cli.call import Call, Command, global_options, unknown_command

PROGRAM = "evoctl"
COMPLETE = "_EVOCTL_COMPLETE"
START = """\
Evolution is not set up yet. Three commands start it:
  evoctl demo              the whole pipeline on simulated models, in a minute
  evoctl init --example    a configuration with four example skills
  evoctl up                everything that runs in the background
More: evoctl --help"""


class Entry(NamedTuple):
    """Where a command is, and its line in the help; a test holds the line equal to the command's own."""

    section: str
    place: str
    line: str


COMMANDS = {
    "demo": Entry("START", "processes:demo", "Run the whole pipeline on simulated models."),
    "init": Entry("START", "setup:init", "Set up a home and a configuration."),
    "up": Entry("START", "up:up", "Run everything in the background: Valkey, tick, worker, web."),
    "down": Entry("START", "down:down", "Stop what `up` runs."),
    "doctor": Entry("START", "doctor:doctor", "Check everything that evolution needs."),
    "enqueue": Entry("EVOLVE", "evolve:enqueue", "Start an evolution of a skill now (also: evolve)."),
    "evolve": Entry("", "evolve:enqueue", "Start an evolution of a skill now (also: evolve)."),
    "create": Entry("EVOLVE", "create:create", "Put prompts that you wrote to the vote."),
    "cancel": Entry("EVOLVE", "evolve:cancel", "Stop a run."),
    "vote": Entry("DECIDE", "vote:vote", "Vote on results, blind."),
    "promote": Entry("DECIDE", "decide:promote", "Put a variant in use now."),
    "rollback": Entry("DECIDE", "decide:rollback", "Put an earlier prompt back in use now."),
    "status": Entry("SEE", "see:status", "Show every skill, what runs and what waits."),
    "gate": Entry("SEE", "gate:gate", "Show whether evolution may ask a model now."),
    "stats": Entry("SEE", "stats:stats", "Show accuracy by skill and version, and evolution's metrics."),
    "results": Entry("SEE", "results:results", "Show how a skill's test stands."),
    "runs": Entry("SEE", "see:runs", "List runs."),
    "show": Entry("SEE", "show:show_command", "Show a run, a skill or a variant in full."),
    "diff": Entry("SEE", "show:diff", "Compare two prompts of a skill."),
    "feedback": Entry("FEED", "feed:feedback", "Record what was right and what was wrong."),
    "assign": Entry("FEED", "hosts:assign", "Ask which prompt to use for a task."),
    "outcome": Entry("FEED", "hosts:outcome", "Record how an assigned task went."),
    "embeddings": Entry("LAB", "embeddings:embeddings", "Show and calibrate how prompts are compared."),
    "judge": Entry("LAB", "judge:judge", "Measure the judge, and show what it is worth."),
    "lab": Entry("LAB", "lab:lab", "Measure what tests of a skill can show."),
    "foreground": Entry("RUN", "processes:foreground", "Run a command while evolution stays out of the way."),
    "service": Entry("RUN", "service:service", "Run `evoctl up` from login on, at the lowest priority."),
    "migrate": Entry("RUN", "setup:migrate", "Bring the database to this release."),
    "backup": Entry("RUN", "keep:backup", "Save database, configuration and prompts in one file."),
    "restore": Entry("RUN", "keep:restore", "Put a backup into a home."),
    "gc": Entry("RUN", "keep:gc", "Remove old reply texts, logs, copies and leftovers."),
    "env": Entry("RUN", "setup:env", "Print the variables that other processes need."),
    "redis": Entry("RUN", "processes:redis", "Run the embedded Redis (Valkey)."),
    "tick": Entry("RUN", "processes:tick", "Repair, wake timers and watch, until stopped."),
    "supervise": Entry("RUN", "processes:supervise", "Run a command and restart it whenever it ends."),
    "web": Entry("RUN", "processes:web", "Serve the web page on 127.0.0.1."),
    "simulator": Entry("RUN", "processes:simulator", "Run a simulated Ollama."),
    "completion": Entry("RUN", "setup:completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, and turns errors into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return [name for name, entry in COMMANDS.items() if entry.section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - same
        """Import one command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        found: click.Command = getattr(importlib.import_module(f"ops.cli.{module}"), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name gets the nearest known one, without importing any."""
        name = args[0]
        if name in COMMANDS or name[:1] == "-":
            return super().resolve_command(ctx, args)
        raise unknown_command(name, list(COMMANDS), ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - same
        """Write the commands by section."""
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values() if entry.section):
            with formatter.section(section):
                formatter.write_dl([(name, e.line) for name, e in COMMANDS.items() if e.section == section], col_max=12)

    def main(  # type: ignore[override]  # standalone only: it never returns
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run one command line and exit with the code that the help promises."""
        if os.environ.get(COMPLETE):
            super().main(args, prog_name or PROGRAM, complete_var=COMPLETE, **extra)
        given = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(given))

    def _run(self, given: list[str]) -> int:
        _tolerant()
        call = Call()
        try:
            with self.make_context(PROGRAM, list(given), obj=call) as ctx:
                answer = self.invoke(ctx)
            sys.stdout.flush()
        except click.exceptions.Exit as left:
            return left.exit_code
        except BrokenPipeError:
            return _quiet_end()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - this is the place where every error ends
            from ops.cli.failures import fail  # noqa: PLC0415 - a call that works needs none of it

            call.json = call.json or _wants_json(given)
            return fail(error, call)
        return answer if type(answer) is int else 0


@click.command(
    PROGRAM,
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=global_options(hidden=False),
    epilog="Exit codes: 0 done, 1 failed, 2 misused, 3 not found, 4 refused by a rule, 5 a service is away, "
    "6 a check is negative, 7 blocked by policy, 8 another evoctl holds the lock, 130 interrupted.",
)
@click.version_option(package_name="tinyarms-evolution", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> int:
    """Keep the prompts of local-LLM skills good."""
    if ctx.invoked_subcommand is not None:
        return 0
    home = ctx.ensure_object(Call).home
    if not home.config.is_file():
        click.echo(START)
        return 0
    status = COMMANDS["status"].place.rpartition(":")[2]
    command: Command = getattr(importlib.import_module("ops.cli.see"), status)
    answer = ctx.invoke(command)
    return answer if type(answer) is int else 0


def main() -> NoReturn:
    """Run `evoctl`."""
    cli.main(prog_name=PROGRAM)


def _wants_json(given: list[str]) -> bool:
    end = given.index("--") if "--" in given else len(given)
    return "--json" in given[:end]


def _tolerant() -> None:
    """A terminal that cannot write a letter gets its escape instead of a crash, and a closed stream swallows what is said."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller (`>&-`)
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _quiet_end() -> int:
    """The reader (`head`, a pager) has seen enough: that is no failure, and Python must not complain at its exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    main()
