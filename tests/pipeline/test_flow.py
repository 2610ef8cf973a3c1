"""The seam: a flow asks, is answered with the right kind of reply, and is closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from pipeline.domain import Role
from pipeline.flow import (
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Generate,
    Generated,
    Publish,
    Published,
    Sampling,
    Scored,
    ScoreOutside,
    drive,
    embed,
    generate,
    publish,
    score_outside,
)

WRITTEN = Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1)
ASK = Generate(role=Role.TASK, prompt="p", sampling=Sampling(temperature=0, seed=1, num_predict=1))
PUBLISH = Publish(
    skill="s", text="t", template="t.md", version=2, previous_accuracy=None, current_accuracy=None, evolved_at="", expected_version=1
)  # fmt: skip
KINDS: list[tuple[Callable[[], Any], Any]] = [
    (lambda: generate(ASK), WRITTEN),
    (lambda: embed(Embed(texts=("a",))), Embedded(vectors=((1.0,),), profile="p")),
    (lambda: score_outside(ScoreOutside(scorer="x", output="", expected="", fields=())), Scored(value=1.0)),
    (lambda: publish(PUBLISH), Published(ok=True, template="t.md")),
]
FAILED = Failed(kind=FailureKind.CRASHED)


@pytest.mark.parametrize(("flow", "reply"), KINDS)
def test_each_request_returns_its_own_kind_of_reply(flow: Callable[[], Any], reply: Any) -> None:
    """The reply comes through unchanged."""
    assert drive(flow(), lambda _: reply) is reply


@pytest.mark.parametrize(("flow", "reply"), KINDS[:3])
def test_a_failed_request_is_a_value(flow: Callable[[], Any], reply: Any) -> None:
    """What cannot be answered comes back as a reply too, not as an error."""
    assert drive(flow(), lambda _: FAILED) is FAILED


@pytest.mark.parametrize(("flow", "reply"), KINDS)
def test_another_kind_of_reply_is_a_programming_error(flow: Callable[[], Any], reply: Any) -> None:
    """An answerer that mixes replies up is found at once."""
    wrong = Scored(value=0.0) if not isinstance(reply, Scored) else WRITTEN

    with pytest.raises(TypeError, match=type(wrong).__name__):
        drive(flow(), lambda _: wrong)


def test_a_flow_without_requests_just_decides() -> None:
    """Nothing is asked, the decision is returned."""

    def flow() -> Generator[Any, Any, str]:
        yield from ()
        return "decided"

    assert drive(flow(), lambda _: pytest.fail("asked")) == "decided"


def test_a_flow_is_closed_when_its_answerer_gives_up() -> None:
    """The error passes through, and the flow's own clean-up has run by then."""
    events: list[str] = []

    def flow() -> Generator[Any, Any, None]:
        try:
            yield ASK
        finally:
            events.append("closed")

    def answer(_: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(flow(), answer)
    assert events == ["closed"]
