"""rq-dashboard, made fit to be shown: its texts escaped, its scripts signed, its pickles without power.

Nothing of it is copied: the templates are read from the installed package at the start and changed in memory. If they
are not as expected, the page does not start.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, NoReturn

import rq_dashboard.web
from flask import Flask
from jinja2 import BaseLoader, ChoiceLoader, DictLoader
from redis.exceptions import RedisError
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.serializers import DefaultSerializer

from pipeline.errors import EvolutionError
from workers.home import Home
from workers.plain_data import plain_loads
from workers.queues import connect

FOLDER = "rq_dashboard"
WITH_TEXT = ("job.html", "jobs.html", "queues.html", "workers.html")  # they print values into HTML
WITH_SCRIPTS, SCRIPTS = "base.html", 5
# Upstream's own way of escaping, in two places; our way would escape it a second time.
BY_JQUERY = re.compile(r"<%=\s*\$\('<div/>'\)\.text\(([^()]+)\)\.html\(\)\s*%>")
SCRIPT = '<script src="', "<script type=", '<script nonce="{{ csp_nonce() }}" '


def mount(app: Flask, home: Home, prefix: str) -> None:
    """Put rq-dashboard under *prefix* of *app*, without its delete buttons.

    Raises:
        EvolutionError: the installed rq-dashboard is not one that we know how to make safe.
    """
    restrict_pickle()
    app.config.from_object("rq_dashboard.default_settings")
    app.config.update(RQ_DASHBOARD_DISABLE_DELETE=True, RQ_DASHBOARD_JSON_ENCODER=ShowUnknown)
    app.register_blueprint(rq_dashboard.web.blueprint, url_prefix=prefix)
    # Upstream's hook opens a connection for every request and keeps none; ours keeps one until the URL changes.
    hooks = app.before_request_funcs[rq_dashboard.web.blueprint.name]
    hooks.remove(rq_dashboard.web.push_rq_connection)
    hooks.append(lambda: _use_redis(app, home.redis_url))
    app.jinja_env.loader = _first(escaped_templates(), app)
    for kind, status, words in (
        (NoSuchJobError, 404, "There is no such job, or not any more."),
        (DeserializationError, 422, "This job is not plain data and is not opened."),
        (pickle.UnpicklingError, 422, "This job is not plain data and is not opened."),
        (RedisError, 503, "Redis does not answer; evoctl up starts one."),
    ):
        app.register_error_handler(kind, _answer(status, words))


def escaped_templates(sources: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return rq-dashboard's templates with every value escaped and every script signed with the answer's nonce.

    Args:
        sources: file name to text; the installed package's when None.

    Raises:
        EvolutionError: a template is not as expected; shown as it is, it could run what stands in a job.
    """
    texts = dict(sources) if sources is not None else _installed()
    made = {}
    for name in WITH_TEXT:
        text, seen = texts.get(name, ""), texts.get(name, "").count("<%=")
        made[name] = BY_JQUERY.sub(r"<%- \1 %>", text).replace("<%=", "<%-")
        if not seen or "|safe" in text or ".html() %>" in made[name]:
            _unknown(name)
    base = texts.get(WITH_SCRIPTS, "")
    for opening in SCRIPT[:2]:
        base = base.replace(opening, SCRIPT[2] + opening.removeprefix("<script "))
    if base.count(SCRIPT[2]) != SCRIPTS or base.count("<script") != SCRIPTS:
        _unknown(WITH_SCRIPTS)
    return {f"{FOLDER}/{name}": text for name, text in (made | {WITH_SCRIPTS: base}).items()}


def restrict_pickle() -> None:
    """Let RQ read plain data only, everywhere in this process: whoever can write to Redis could run code otherwise.

    rq-dashboard lets RQ choose its default serializer in most places, so the default itself is restricted.
    """
    DefaultSerializer.loads = plain_loads


class ShowUnknown(json.JSONEncoder):
    """Writes what JSON does not know by a short description of it."""

    def default(self, o: object) -> str:
        """Describe *o*."""
        return repr(o)[:200]


def _installed() -> dict[str, str]:
    folder = files("rq_dashboard") / "templates" / FOLDER
    return {name: (folder / name).read_text(encoding="utf-8") for name in (*WITH_TEXT, WITH_SCRIPTS)}


def _unknown(name: str) -> NoReturn:
    raise EvolutionError(
        "The page was not started.",
        why=f"The template {name} of the installed rq-dashboard is not as expected, so it cannot be made safe.",
        hint="Install the versions of requirements.lock: make setup",
    )


def _first(templates: dict[str, str], app: Flask) -> ChoiceLoader:
    rest = app.jinja_env.loader
    assert isinstance(rest, BaseLoader)
    return ChoiceLoader([DictLoader(templates), rest])


def _use_redis(app: Flask, url: str) -> None:
    if app.config.get("RQ_DASHBOARD_REDIS_URL") != (url,):
        app.config["RQ_DASHBOARD_REDIS_URL"] = (url,)
        app.redis_conn = connect(url)  # type: ignore[attr-defined]  # where rq-dashboard looks for it


def _answer(status: int, words: str) -> Any:
    return lambda _error: (words + "\n", status, {"Content-Type": "text/plain; charset=utf-8"})
