"""One call of evoctl: the options that every command takes, and the way results and words leave it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ops.cli.output import envelope, show

if TYPE_CHECKING:
    from workers.client import Evolution
    from workers.home import Home
    from workers.overview import Overview


@dataclass(slots=True)
class Call:
    """The options that stand before or after the command; click fills them in while it reads the line.

    Attributes:
        verbose: how often -v was given; with one the traceback of an unexpected error is shown.
    """

    config: str | None = None
    root: str | None = None
    json: bool = False
    plain: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False

    @property
    def home(self) -> Home:
        """The home and the configuration; nothing is created."""
        from workers.home import find_home  # noqa: PLC0415 - help and completion look for nothing

        return find_home(self.root, self.config)

    def evolution(self) -> Evolution:
        """The pipeline of this home; use it as a context manager."""
        from workers.client import Evolution  # noqa: PLC0415 - SQLAlchemy alone costs 0.3 s

        return Evolution(self.home)

    def overview(self) -> Overview:
        """The same for commands that only show something; it loads less."""
        from workers.overview import Overview  # noqa: PLC0415 - as above

        return Overview(self.home)

    def result(self, command: str, data: object, text: Callable[[], str]) -> None:
        """Print what a command found or did: the one JSON document, or *text* for people."""
        click.echo(envelope(command, data) if self.json else text())

    def note(self, words: str) -> None:
        """Say something beside the result, on standard error; nothing under --quiet and --json."""
        if not (self.quiet or self.json):
            click.echo(words, err=True)

    def next(self, *commands: str) -> None:
        """Suggest what to do next."""
        self.note("Next: " + "      ".join(show(command) for command in commands))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is changed; without a person there must be a --yes.

        Raises:
            BadInput: nobody can answer, and --yes was not given.
            click.Abort: the answer was no.
        """
        from ops.cli.output import is_terminal  # noqa: PLC0415 - looked up at the call, so that tests can stand in
        from pipeline.errors import BadInput  # noqa: PLC0415 - keeps this module to click

        if yes:
            return
        if self.json or not is_terminal():
            raise BadInput("This changes the prompt in use and nobody can be asked.", hint="Add --yes.")
        click.confirm(question, abort=True, err=True)


NEAR = 0.7  # similarity from which a word is taken for a misspelt command
F = TypeVar("F", bound=Callable[..., Any])
pass_call = click.make_pass_decorator(Call, ensure=True)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Write an option into the call; an option that was not given changes nothing."""
    call = ctx.ensure_object(Call)
    name = str(param.name)
    if value and not ctx.resilient_parsing:
        setattr(call, name, value + call.verbose if name == "verbose" else value)
    if call.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False


def global_options(*, hidden: bool) -> list[click.Option]:
    """Make the options that every command takes; after a command only --json is listed in its help."""

    def option(*names: str, listed: bool = False, **kwargs: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_keep, hidden=hidden and not listed, **kwargs)

    return [
        option("--config", metavar="PATH", help="Host configuration (EVOCTL_CONFIG)."),
        option("--home", "root", metavar="DIR", help="Folder of the database and the logs (EVOCTL_HOME)."),
        option("--json", is_flag=True, listed=True, help="Print one JSON document."),
        option("--plain", is_flag=True, help="Print tables with tabs, uncut."),
        option("-q", "--quiet", is_flag=True, help="Print the result only."),
        option("-v", "--verbose", count=True, help="Log to the terminal; show tracebacks."),
        option("--no-color", is_flag=True, help="Print without colours (NO_COLOR, TERM=dumb)."),
    ]


class _WithExamples(click.Command):
    """The global options after the command's name, and examples that are printed as they are.

    Args:
        examples: command lines, one a line.
    """

    def __init__(self, *args: Any, examples: str, **kwargs: Any) -> None:
        settings = kwargs.setdefault("context_settings", {})
        settings.setdefault("help_option_names", ["-h", "--help"])
        super().__init__(*args, **kwargs)
        self.examples = tuple(line.strip() for line in examples.strip().splitlines())
        self.params += global_options(hidden=True)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the examples."""
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for line in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}$ {line}\n")


class Command(_WithExamples):
    """A command of ours."""


class Group(_WithExamples, click.Group):
    """A command with commands of its own."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown name gets the nearest known one."""
        if args[0] not in self.commands and args[0][:1] != "-":
            raise unknown_command(args[0], list(self.commands), ctx)
        return super().resolve_command(ctx, args)


def unknown_command(name: str, known: list[str], ctx: click.Context) -> click.UsageError:
    """Return the error to raise, with the names that may have been meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a misspelt command needs it

    near = " or ".join(f"'{one}'" for one in get_close_matches(name, known, 2, NEAR))
    return click.UsageError(f"No such command '{name}'." + (f" Did you mean {near}?" if near else ""), ctx)


def command(name: str, *, examples: str, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a `Command` of a function."""
    return click.command(name, cls=Command, examples=examples, **kwargs)
