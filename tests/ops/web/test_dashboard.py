"""rq-dashboard made safe: no value reaches HTML unescaped, no pickle runs anything. No server is needed here."""

from __future__ import annotations

import os
import pickle
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.serializers import DefaultSerializer

from ops.web.app import create_app
from ops.web.dashboard import _installed, escaped_templates
from ops.web.guard import Door, host_allowed
from pipeline.errors import EvolutionError
from workers.home import Home
from workers.plain_data import plain_loads

RAW = re.compile(r"<%=")


class Bomb:
    """Unpickles into a call of os.system."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Name the call."""
        return os.system, ("true",)


@pytest.fixture(autouse=True)
def _own_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give RQ its usual serializer back after each test: an application restricts it for its whole process."""
    monkeypatch.setattr(DefaultSerializer, "loads", pickle.loads)


def test_no_template_prints_a_value_unescaped() -> None:
    """Of upstream's 40 unescaped places none is left, and each of them is an escaped one now."""
    upstream, ours = _installed(), escaped_templates()

    for name, text in upstream.items():
        made = ours[f"rq_dashboard/{name}"]
        assert not RAW.search(made)
        assert made.count("<%-") == text.count("<%-") + text.count("<%=")
    assert sum(len(RAW.findall(text)) for text in upstream.values()) > 30


def test_nothing_but_the_marks_is_changed() -> None:
    """The templates stay upstream's, so that its pages look and work as its authors meant."""
    ours = escaped_templates()["rq_dashboard/job.html"]

    assert ours.replace("<%-", "<%=") == _installed()["job.html"].replace("<%-", "<%=")


def test_a_text_is_not_escaped_twice() -> None:
    """Where upstream escapes by jQuery, its escaping is taken out with the mark replaced."""
    assert "<%- d.description %>" in escaped_templates()["rq_dashboard/jobs.html"]
    assert "<%- d.exc_info %>" in escaped_templates()["rq_dashboard/jobs.html"]


def test_every_script_carries_the_nonce() -> None:
    """A script without the answer's nonce does not run, so upstream's own need it, all of them."""
    base = escaped_templates()["rq_dashboard/base.html"]

    assert len(re.findall(r"<script\b", base)) == len(re.findall(r'<script nonce="{{ csp_nonce\(\) }}"', base)) == 5


@pytest.mark.parametrize("name", ["job.html", "jobs.html", "queues.html", "workers.html", "base.html"])
@pytest.mark.parametrize(
    "change", ["", "<p>nothing to escape</p>", "<%= $('<i/>').text(f(d)).html() %>", "<%= {{ id|safe }} %>"]
)
def test_an_unexpected_template_stops_the_start(name: str, change: str) -> None:
    """When upstream's templates are no longer what we know, there is no page instead of an unsafe one."""
    with pytest.raises(EvolutionError, match=name):
        escaped_templates(_installed() | {name: change})


def test_a_missing_template_stops_the_start() -> None:
    """A renamed template would be shown as upstream wrote it, so that is refused too."""
    with pytest.raises(EvolutionError, match=r"job\.html"):
        escaped_templates({})


def test_the_application_serves_the_escaped_job_page(tmp_path: Path) -> None:
    """Flask finds our changed template, not the package's file, and escapes inside included scripts too."""
    app = create_app(Home(tmp_path / "home", tmp_path / "config.yaml"), "token")
    names = ("rq_dashboard/job.html", "rq_dashboard/jobs.html", "rq_dashboard/workers.html", "rq_dashboard/queues.html")

    for name in names:
        source, _, _ = app.jinja_env.loader.get_source(app.jinja_env, name)  # type: ignore[union-attr]  # Flask always has one
        assert "<%=" not in source
    assert app.jinja_env.autoescape is True
    assert app.config["RQ_DASHBOARD_DISABLE_DELETE"] is True


def test_an_application_reads_plain_data_only(tmp_path: Path) -> None:
    """From its making on, RQ refuses pickles that name functions, wherever it reads one."""
    create_app(Home(tmp_path / "home", tmp_path / "config.yaml"), "token")

    with pytest.raises(pickle.UnpicklingError, match="names a function or a class"):
        DefaultSerializer.loads(pickle.dumps(Bomb()))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(plain, st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_read_as_pickle_reads_it(value: object, protocol: int) -> None:
    """What our jobs carry, ids, numbers and words, comes back unchanged."""
    assert plain_loads(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("value", [Bomb(), os.system, Path("/"), datetime.now(UTC), ValueError("x")])
def test_a_pickle_with_a_global_is_refused(value: object) -> None:
    """Anything that needs a class or function to be made is not made."""
    with pytest.raises(pickle.UnpicklingError, match="names a function or a class"):
        plain_loads(pickle.dumps(value))


@given(st.binary(max_size=60))
def test_broken_pickles_raise_one_kind_of_error(data: bytes) -> None:
    """Whatever stands in Redis, the page has one error to answer."""
    try:
        plain_loads(data)
    except pickle.UnpicklingError:
        return


@given(st.text(max_size=40))
def test_no_other_text_is_a_host_of_ours(host: str) -> None:
    """Two names, and a port behind them, are all that is answered."""
    known = re.fullmatch(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?", host)

    assert host_allowed(host) is (known is not None)


def test_a_token_opens_the_door_once() -> None:
    """The second use fails, the next token is handed on, and only sessions given out are known."""
    handed: list[str] = []
    door = Door("first", handed.append)

    session = door.enter("first")

    assert session is not None
    assert door.knows(session)
    assert not door.knows("")
    assert door.enter("first") is None
    assert handed == [door.token]
    assert door.enter(handed[0]) is not None
