"""`backup`, `restore` and `gc`: what keeps a home safe and small."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need
from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from ops.cli.call import Call, command, pass_call
from ops.cli.output import show, table

OLD_D = 14  # as long as `evoctl tick` keeps the replies of runs that ended
UNITS = ("bytes", "KB", "MB", "GB")
THOUSAND = 1000


@command("backup", examples="evoctl backup evolution.zip\nevoctl backup ~/backups/evolution.zip --force --json")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
@pass_call
def backup(call: Call, *, file: Path, force: bool) -> None:
    """Save database, configuration and prompts in one file.

    Everything may run meanwhile. The file is readable by its owner only; passwords and tokens of the home are not in it,
    the host's configuration is in it whole.
    """
    from workers.backup import save

    saved = save(call.home, file.expanduser().absolute(), force=force)
    made = saved.manifest
    data = {
        "file": str(saved.path), "bytes": saved.size, "revision": made.revision, "program": made.program,
        "created_at": made.created_at, "versions": saved.versions,
        "files": {name: one.sha256 for name, one in made.files.items()},
        "strange": saved.strange,
    }  # fmt: skip

    def text() -> str:
        inside = f"{len(made.files)} files, {saved.versions} prompt versions, revision {made.revision}"
        return f"Saved {show(saved.path)} ({amount(saved.size)}: {inside})."

    call.result("backup", data, text)
    if saved.strange:
        call.note(
            show(
                f"The database {saved.strange}, which is not ours: restore will refuse this backup. Drop it, save again."
            )
        )
    call.next(f"evoctl restore {saved.path}")


@command(
    "restore",
    examples="evoctl restore evolution.zip\nevoctl --home ~/other restore evolution.zip --force --with-config",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also into a home that has a database; it is kept beside.")
@click.option("--with-config", is_flag=True, help="Put config.yaml and its prompt files back too.")
@pass_call
def restore(call: Call, *, file: Path, force: bool, with_config: bool) -> None:
    """Put a backup into a home.

    Nothing of the home may run. An older database is migrated. What a killed restore leaves is the old state, whole.
    """
    from workers.restore import restore as put

    done = put(call.home, file.expanduser().absolute(), force=force, config=with_config)
    data = {
        "home": str(call.home.root), "revision": done.revision, "migrated": done.revision != done.saved_as,
        "created_at": done.created_at, "before": str(done.before) if done.before else None,
        "config_written": done.config_written, "differences": done.differences,
    }  # fmt: skip

    def text() -> str:
        moved = "" if done.revision == done.saved_as else f", migrated from {show(done.saved_as)}"
        lines = [f"Restored the backup of {show(done.created_at)} (revision {done.revision}{moved})."]
        if done.before:
            lines.append(f"What was there before is in {show(done.before)}")
        return "\n".join([*lines, *(f"note  {show(words)}" for words in done.differences)])

    call.result("restore", data, text)
    call.next("evoctl doctor", "evoctl up")


@command("gc", examples="evoctl gc --dry-run\nevoctl gc --older-than 30")
@click.option(
    "--older-than", type=click.IntRange(0, 36_500), metavar="DAYS", default=OLD_D, show_default=True,
    help="Keep what is younger.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@pass_call
def gc(call: Call, *, older_than: int, dry_run: bool) -> None:
    """Remove old reply texts, logs, copies and leftovers.

    Nothing goes that a run, a vote, a promotion or a rollback needs.
    """
    from workers.cleaning import clean

    found = clean(call.home, timedelta(days=older_than), dry_run=dry_run)
    total = sum(one.size for one in found)
    data = {"dry_run": dry_run, "bytes": total, "found": found}

    def text() -> str:
        if not found:
            return "There is nothing to remove."
        rows = [[one.what, one.where, amount(one.size)] for one in found]
        words = f"{amount(total)} would be freed." if dry_run else f"{amount(total)} freed."
        return f"{table(('what', 'where', 'size'), rows, plain=call.plain)}\n{words}"

    call.result("gc", data, text)
    if dry_run and found:
        call.next("evoctl gc" if older_than == OLD_D else f"evoctl gc --older-than {older_than}")


def amount(size: float) -> str:
    """Write a number of bytes for people.

    >>> amount(12), amount(1_540_000)
    ('12 bytes', '1.5 MB')
    """
    unit = 0
    while size >= THOUSAND and unit < len(UNITS) - 1:
        size, unit = size / THOUSAND, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{int(size)} {UNITS[0]}"
