"""The argument SKILL, which the shell completes from the configuration."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from ops.cli.call import Call


def _names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the configured skills that begin so; none when the configuration cannot be read."""
    from pipeline.errors import EvolutionError  # noqa: PLC0415 - completion of commands needs none of it
    from workers.host_config import load_host_config  # noqa: PLC0415 - same

    try:
        skills = load_host_config(ctx.ensure_object(Call).home.config).skills
    except EvolutionError:
        return []
    return [CompletionItem(name) for name in skills if name.startswith(incomplete)]


SKILL = click.argument("skill", metavar="SKILL", shell_complete=_names)
OPTIONAL_SKILL = click.argument("skill", metavar="[SKILL]", required=False, shell_complete=_names)
