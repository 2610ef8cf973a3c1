"""The page as a Flask application: a start page of ours, and rq-dashboard under /rq."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, render_template

from ops.cli.output import show
from ops.web.api import blueprint, key_of
from ops.web.dashboard import mount
from ops.web.guard import WORKERS_PATH, Door, install
from pipeline.errors import EvolutionError
from workers.home import Home

BODY_BYTES = 64 * 1024  # no form of ours or of rq-dashboard's is larger


@dataclass(frozen=True, slots=True)
class Facts:
    """What the start page says.

    Attributes:
        simulated: at least one run was made on a simulated server.
        waits: what each step that waits waits for, in words.
        trouble: why nothing is known, in words; empty when all is well.
    """

    simulated: bool = False
    waits: tuple[str, ...] = ()
    trouble: str = ""


def create_app(home: Home, token: str, renew: Callable[[str], None] = lambda _: None) -> Flask:
    """Make the application.

    Args:
        home: whose Redis and database are shown.
        token: the one that signs the first browser in.
        renew: called with each following token.

    Raises:
        EvolutionError: the installed rq-dashboard is not one that we know how to make safe.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_BYTES
    app.jinja_env.autoescape = True  # scripts that are templates too
    install(app, Door(token, renew, key_of(home)))
    mount(app, home, WORKERS_PATH)
    app.register_blueprint(blueprint(home))

    @app.get("/")
    def start() -> str:
        return render_template("start.html", facts=read_facts(home), workers=f"{WORKERS_PATH}/")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def read_facts(home: Home) -> Facts:
    """Look into the database; whatever is wrong with it becomes a sentence on the page."""
    from sqlalchemy import select  # noqa: PLC0415 - a third of the process's memory, wanted by this page alone

    from models.waits import waits  # noqa: PLC0415 - same
    from models.work_tables import RunRow  # noqa: PLC0415 - same
    from workers.sessions import database  # noqa: PLC0415 - same

    try:
        with database(home) as opened, opened.read() as session:
            return Facts(
                simulated=session.scalar(select(RunRow.id).where(RunRow.simulated).limit(1)) is not None,
                waits=tuple(f"r{run} {stage}: {show(words)}" for run, stage, words in waits(session)),
            )
    except EvolutionError as error:
        return Facts(trouble=str(error))
