"""What a stage asks of the world, and what it is told: the only seam between the core and I/O.

A *flow* is a generator that yields a `Request` and receives a `Reply`, and returns its decision. It is pure: driven with
a list of canned replies it needs no model, no database and no clock. `drive` is the whole interpreter.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias, TypeVar, cast

from pipeline.domain import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Every sampling option, always sent: Ollama's defaults changed under its users more than once.

    Attributes:
        temperature: 0 is greedy.
        seed: 32 bits; drawn from (run, visit, ordinal), so that a replay asks the same question.
        num_predict: most tokens to write.
        top_p, top_k, min_p, repeat_penalty: as Ollama names them.
        stop: texts that end the reply.
    """

    temperature: float
    seed: int
    num_predict: int
    top_p: float = 0.9
    top_k: int = 40
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Ask a role's model to write.

    Attributes:
        schema: canonical JSON text of a JSON schema the reply must follow; empty for free text.
        logprobs: whether the mean and minimum log-probability of the written tokens are wanted.
        top_logprobs: how many alternatives of the first token are wanted, 0 to 20.
    """

    role: Role
    prompt: str
    sampling: Sampling
    system: str = ""
    schema: str = ""
    logprobs: bool = False
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """Ask for one vector per text; the answerer adds the model's task prefix."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOutside:
    """Ask for a score by the skill's own callable or command.

    Attributes:
        scorer: `python:module:function` or `command:...`, as in the skill's configuration.
        fields: the sample's input, pairs of name and value.
    """

    scorer: str
    output: str
    expected: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Put a prompt into the host's configuration: a new template file and the skill's entry in config.yaml.

    Attributes:
        text: the whole template, instruction and frame; empty means "point back at `template`, which exists".
        template: path of the template file, relative to the configuration's folder.
        version: the number that `prompt_version` gets.
        previous_accuracy, current_accuracy: in [0, 1], or None where not known.
        evolved_at: ISO time for `evolved_at`.
        expected_version: the version that must be in use; another one means a person was faster, and nothing is done.
        expected_text: the template that must be in use, under the same rule; empty leaves it unchecked.
        back: an earlier version comes back: its file is used as it is on disk.
    """

    skill: str
    text: str
    template: str
    version: int
    previous_accuracy: float | None
    current_accuracy: float | None
    evolved_at: str
    expected_version: int
    expected_text: str = ""
    back: bool = False


Request = Generate | Embed | ScoreOutside | Publish


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a model wrote.

    Attributes:
        done_reason: `stop` or `length`.
        duration_s: measured once and kept in the journal, so that a replay sees the same time.
        mean_logprob, min_logprob: natural log, None where not asked for or not offered by the server.
        served_by: tag, digest and server version; empty in the journals of earlier releases.
        alternatives: what the first token might have been, the likeliest first: text and natural log-probability before
            temperature and grammar; empty where not asked for or not offered by the server.
    """

    text: str
    done_reason: str
    prompt_tokens: int
    tokens: int
    duration_s: float
    mean_logprob: float | None = None
    min_logprob: float | None = None
    served_by: str = ""
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """One unit-length vector per text, and the profile they belong to (vectors of two profiles never compare)."""

    vectors: tuple[tuple[float, ...], ...]
    profile: str
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A score in [0, 1] and what was lost, in words from a closed set where the scorer has one."""

    value: float
    lost: tuple[str, ...] = ()
    note: str = ""  # why the scorer failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """The configuration now names the prompt.

    Attributes:
        ok: False when nothing was changed; `message` then says why.
        template: path of the template file now in use, relative to the configuration's folder.
        later: what stood in the way may pass; the same request may be tried again.
    """

    ok: bool
    template: str
    message: str = ""
    later: bool = False


class FailureKind(StrEnum):
    """Why a request has no usable answer, although trying again would not help."""

    UNFINISHED = "unfinished"  # the stream ended without `done`: a repeat loop, or a broken runner
    TOO_LONG = "too-long"  # the prompt does not fit the context
    REJECTED = "rejected"  # the server refused the request (4xx)
    CRASHED = "crashed"  # the runner failed on this request again and again
    BUDGET = "budget"  # the evolution's budget of calls or minutes is spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request failed for good; the flow counts it and goes on."""

    kind: FailureKind
    message: str = ""


Reply = Generated | Embedded | Scored | Published | Failed

T = TypeVar("T")
Flow: TypeAlias = Generator[Request, Reply, T]
"""A stage's logic: yields requests, is sent replies, returns a decision of type T."""

Answerer: TypeAlias = Callable[[Request], Reply]
"""Answers one request; the shell stacks them: journal(retry(gate(client)))."""


def drive(flow: Flow[T], answer: Answerer) -> T:
    """Run *flow* to its end, asking *answer* for every reply.

    Raises:
        Exception: whatever *answer* raises; the flow is closed first.
    """
    try:
        request = next(flow)
        while True:
            request = flow.send(answer(request))
    except StopIteration as stop:
        return cast("T", stop.value)
    finally:
        flow.close()


def generate(request: Generate) -> Flow[Generated | Failed]:
    """Yield one generation and narrow its reply."""
    reply = yield request
    if not isinstance(reply, Generated | Failed):
        raise TypeError(f"a Generate was answered with {type(reply).__name__}")
    return reply


def embed(request: Embed) -> Flow[Embedded | Failed]:
    """Yield one embedding request and narrow its reply."""
    reply = yield request
    if not isinstance(reply, Embedded | Failed):
        raise TypeError(f"an Embed was answered with {type(reply).__name__}")
    return reply


def score_outside(request: ScoreOutside) -> Flow[Scored | Failed]:
    """Yield one scoring request and narrow its reply."""
    reply = yield request
    if not isinstance(reply, Scored | Failed):
        raise TypeError(f"a ScoreOutside was answered with {type(reply).__name__}")
    return reply


def publish(request: Publish) -> Flow[Published]:
    """Yield one publication and narrow its reply."""
    reply = yield request
    if not isinstance(reply, Published):
        raise TypeError(f"a Publish was answered with {type(reply).__name__}")
    return reply
