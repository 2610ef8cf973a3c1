"""The client against replies written to do harm: none hangs it, fills its memory, or leaves what a database cannot keep."""

from __future__ import annotations

import gzip
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import Role, SkillName
from pipeline.errors import Refused, Unreachable
from pipeline.flow import Embedded, Failed, FailureKind, Generate, Generated, Sampling
from pipeline.rules import Rules
from pipeline.settings import Models, Settings
from pipeline.skills import SkillSpec
from tests.corpus import Case, cases, counted, each
from workers.llm.bounded import MOST_BYTES
from workers.llm.ollama import OllamaClient
from workers.llm.ps import Unknown, look_at
from workers.llm.retry import RunnerCrashed, Transient, retrying
from workers.llm.runners import Runner, Runners, Unseen, slots_busy
from workers.llm.sizes import memory_need

OWN = "smollm2:360m-instruct-q4_K_M"
CORPUS = [case.more for case in cases("replies")]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n"
MOST_COUNTED = 2**31 - 1
END = '{"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":2}'
FUZZED = 400  # replies over HTTP


@pytest.fixture
def client(script: Any) -> Iterator[OllamaClient]:
    """Connect to the scripted server, with little patience."""
    with OllamaClient(script.url, connect_s=1.0, read_s=0.5, reply_s=1.0) as made:
        yield made


def write(client: OllamaClient) -> Any:
    """Ask for a reply, and return it or the trouble it ended in."""
    sampling = Sampling(temperature=0.7, seed=5, num_predict=32)
    request = Generate(role=Role.GENERATOR, sampling=sampling, prompt="Rename", logprobs=True)
    try:
        return client.generate(OWN, request, load_options={"num_ctx": 512}, keep_alive="1s")
    except (Transient, RunnerCrashed, Refused) as trouble:
        return trouble


def raw(data: bytes) -> Callable[[Any], None]:
    """Answer with exactly these bytes, and close."""

    def act(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(data)

    return act


def whole(row: dict[str, Any]) -> bytes:
    """Return the bytes of one row of the corpus, head included."""
    head = row.get("head", "").encode("latin-1") + b"x" * row.get("head_repeat", 0) or HEAD
    body = row["body"].encode("latin-1") * (row.get("repeat") or 1)
    if "repeat_text" in row:
        body += b"x" * row["repeat_text"] + b'","done":false}\n' + END.encode()
    return head + body


def named(ending: object) -> str:
    """Name how a request ended, in the words of the corpus."""
    if isinstance(ending, Failed):
        return ending.kind.value
    names = {Generated: "generated", Transient: "transient", RunnerCrashed: "crashed", Refused: "refused"}
    return names[type(ending)]


def check_storable(ending: object) -> None:
    """Hold that a reply has only what every database keeps."""
    texts = (
        [str(ending)] if isinstance(ending, Exception) else [getattr(ending, "text", getattr(ending, "message", ""))]
    )
    texts += [ending.why] if isinstance(ending, Transient) else []
    for text in texts:
        text.encode()
        assert "\0" not in text
    if not isinstance(ending, Generated):
        assert all(len(text) <= 600 for text in texts)
        return
    for count in (ending.prompt_tokens, ending.tokens):
        assert type(count) is int
        assert 0 <= count <= MOST_COUNTED
    assert ending.done_reason in {"stop", "length"}
    assert json.loads(json.dumps([ending.mean_logprob, ending.min_logprob], allow_nan=False))


@each("replies")
def test_a_hostile_reply_ends_as_it_should(script: Any, client: OllamaClient, case: Case) -> None:
    """Each reply of the corpus is text, a failed call, or a named trouble that the retry layer knows."""
    script.acts["/api/generate"] = [raw(whole(case.more))]

    ending = write(client)

    check_storable(ending)
    if case.more["ends"] != "any":
        assert named(ending) == case.more["ends"]
    counted("replies", "the client")


def test_no_mutation_of_a_reply_breaks_the_client(script: Any, client: OllamaClient) -> None:
    """Four hundred replies with bytes changed, cut out, doubled and put in: each ends in one of the known ways."""
    rng, ended = random.Random(20261128), dict[str, int]()  # noqa: S311 - draws of a test
    stream = (
        HEAD
        + "\n".join(
            [
                *(
                    json.dumps({"response": word, "done": False, "logprobs": [{"logprob": -0.5}]})
                    for word in ("Nåme", " it")
                ),
                END,
            ]
        ).encode()
    )

    for _ in range(FUZZED):
        script.acts["/api/generate"] = [raw(mutated(stream, rng))]
        ending = write(client)
        check_storable(ending)
        ended[named(ending)] = ended.get(named(ending), 0) + 1

    assert sum(ended.values()) == FUZZED
    assert {"generated", "transient", "unfinished"} <= ended.keys()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Change one to four places of *data*."""
    pieces = (
        b"\0",
        b"\xff",
        b"\n",
        b"[",
        b'"',
        b"{}",
        b"\\ud800",
        b"\\u0000",
        b"1e999",
        b"NaN",
        b"-1",
        b"\xc2\x85",
        b"null",
    )
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(HEAD) if rng.random() < 0.8 else 0, len(data))
        way = rng.randrange(4)
        if way == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif way == 1:
            data = data[:at] + data[at + rng.randrange(30) :]
        elif way == 2:
            data = data[:at] + data[at - 20 : at] + data[at:]
        else:
            data = data[:at] + rng.choice(pieces) + data[at:]
        if len(data) <= len(HEAD):
            return data + HEAD
    return data


@pytest.mark.parametrize(
    "piece", [b"x" * 65536, b'{"response":"the ","done":false}\n' * 2000], ids=["no-line-end", "no-done"]
)
def test_a_stream_without_end_is_cut_off(script: Any, client: OllamaClient, piece: bytes) -> None:
    """A hundred megabytes are offered; a twelfth is read, in little memory, and the call has failed."""
    sent: list[int] = []

    def act(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(HEAD)
        for _ in range(100_000_000 // len(piece)):
            handler.wfile.write(piece)
            sent.append(len(piece))

    script.acts["/api/generate"] = [act]
    with OllamaClient(script.url, connect_s=1.0, read_s=5.0, reply_s=60.0) as patient:
        patient.resolve(OWN)
        before = peak()
        ending = write(patient)

    assert isinstance(ending, Failed)
    assert ending.kind is FailureKind.UNFINISHED
    assert sum(sent) < MOST_BYTES + 20_000_000  # and what lay in the sockets' buffers
    assert peak() - before < 150_000_000
    script.acts["/api/generate"] = [raw(HEAD + END.encode())]
    assert named(write(client)) == "generated"


def peak() -> int:
    """Return the most memory this process ever had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX: ", HEAD], ids=["in-the-head", "in-the-body"])
def test_a_reply_that_drips_is_cut_off(script: Any, client: OllamaClient, head: bytes) -> None:
    """A byte now and then breaks no read time-out; the time of the whole reply is up all the same."""

    def act(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.05)

    script.acts["/api/generate"] = [act]
    began = time.monotonic()

    ending = write(client)

    assert ending == Failed(kind=FailureKind.UNFINISHED, message="the reply took longer than 1 s")
    assert time.monotonic() - began < 5


def test_a_redirection_is_not_followed(script: Any, client: OllamaClient) -> None:
    """Neither for a reply nor for the lists: the second address is never asked."""
    for path in ("/api/generate", "/api/version"):
        script.acts[path] = [
            raw(f"HTTP/1.1 307 x\r\nLocation: {script.url}/elsewhere\r\nContent-Length: 0\r\n\r\n".encode())
        ]

    with pytest.raises(Unreachable):
        client.facts()
    assert "/elsewhere" not in [path for path, _ in script.asked]


def test_a_bomb_is_not_unpacked(script: Any, client: OllamaClient) -> None:
    """A compressed reply is refused by its head; the request asked for plain bytes."""
    bomb, seen = gzip.compress(b" " * 50_000_000), list[str]()

    def act(handler: Any) -> None:
        seen.append(handler.headers["Accept-Encoding"])
        raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + bomb)(handler)

    script.acts["/api/generate"] = [act]

    ending = write(client)

    assert isinstance(ending, Transient)
    assert "compressed" in ending.why
    assert seen == ["identity"]


def test_a_megabyte_comes_whole(script: Any, client: OllamaClient) -> None:
    """A long reply is no attack: it is read to its end."""
    script.acts["/api/generate"] = [
        raw(HEAD + json.dumps({"response": "ab " * 333_333}).encode() + b"\n" + END.encode())
    ]

    assert len(write(client).text) == 999_999


@pytest.mark.parametrize(
    "vectors",
    [
        "[[1,2]]", "[[1],[1,2]]", "[[],[]]", "[]", "null", "[[NaN,1],[1,1]]", "[[1e999,1],[1,1]]", "[[0,0],[1,1]]",
        '[["x"],["y"]]', "[[null],[1]]", "[1,2]", '{"a":1}', "[[" + "1" + "0" * 400 + "],[1]]", "[" * 100_000,
        "[[1e308,1e308],[1e308,1e308]]", '"text"',
    ],
)  # fmt: skip
def test_vectors_that_cannot_be_used_are_none(script: Any, client: OllamaClient, vectors: str) -> None:
    """Wrong in number, size or kind, endless, zero or no numbers: a failed or an unanswered call."""
    script.acts["/api/embed"] = [script.say_text(f'{{"embeddings": {vectors}}}')]
    try:
        ending: object = client.embed(OWN, ["a", "b"], prefix="", load_options={}, keep_alive=None)
    except Transient as trouble:
        ending = trouble

    assert isinstance(ending, Failed | Transient)
    assert not isinstance(ending, Embedded)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/version", "[" * 100_000), ("/api/version", '{"version": {}}x'), ("/api/version", "[]"), ("/api/tags", "null"),
        ("/api/tags", '{"models": 5}'), ("/api/tags", '{"models": [1]}'), ("/api/tags", '{"models": [{"name": null}'),
        ("/api/tags", '{"models": [{}]}'), ("/api/tags", "[" * 100_000), ("/api/tags", "x" * (MOST_BYTES + 1)),
    ],
)  # fmt: skip
def test_lists_that_are_none_mean_an_unreachable_server(
    script: Any, client: OllamaClient, path: str, body: str
) -> None:
    """Whatever stands in the place of the version or the models, the step waits and tries later."""
    script.acts[path] = [script.say_text(body)]

    with pytest.raises(Unreachable):
        client.facts()


def test_what_a_server_says_of_itself_is_kept_short_and_storable(script: Any, client: OllamaClient) -> None:
    """Version and digest are written beside every reply."""
    script.acts["/api/version"] = [script.say_text('{"version": "1\\u0000\\ud800' + "9" * 5000 + '"}')]
    script.acts["/api/tags"] = [script.say({"models": [{"name": OWN, "digest": "d\0" * 5000}]})]

    facts = client.facts()

    assert len(facts.version) == 64
    assert len(client.digest(OWN)) == 128
    assert "\0" not in facts.version + client.digest(OWN)


def test_a_model_that_only_its_own_page_calls_remote_is_refused(script: Any, client: OllamaClient) -> None:
    """A list may say less than `/api/show`."""
    script.acts["/api/show"] = [script.say({"remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"})]

    with pytest.raises(Refused):
        client.require([OWN])


LISTS = (
    "[" * 100_000, "null", '{"models": [1]}', '{"models": [{"name": "smollm2:360m-instruct-q4_K_M", "expires_at": 5}]}', '{"models": [{"expires_at": "x"}]}',
    '{"models": [{"name": "' + OWN + '", "expires_at": "9999999-01-01"}]}', '{"models": [{"name": "' + OWN + '"}]}', "\xff",
    '{"models": "' + "x" * 5_000_000 + '"}',
)  # fmt: skip


@pytest.mark.parametrize("body", LISTS, ids=range(len(LISTS)))
def test_a_list_of_loaded_models_that_is_none_says_nothing(script: Any, body: str) -> None:
    """Whatever stands in its place, the gate does not know, and the sizes are not known: neither is an error."""
    for path in ("/api/ps", "/api/tags"):
        script.acts[path] = [script.say_text(body)]
    rules = Rules(
        settings=replace(Settings(), models=Models(ollama_url=script.url)),
        skill=SkillSpec(name=SkillName("naming"), template="a.md"),
    )

    with pytest.raises(Unknown):
        look_at(script.url, OWN, timeout_s=2.0, now=time.time())
    assert memory_need(rules, timeout_s=2.0).at_once_bytes is None


def endless(piece: bytes, pause_s: float) -> Callable[[Any], None]:
    """Begin an answer, and send the same piece again and again for five seconds."""

    def act(handler: Any) -> None:
        handler.close_connection = True
        end = time.monotonic() + 5
        while time.monotonic() < end:
            handler.wfile.write(piece)
            time.sleep(pause_s)

    return act


ENDLESS_HEADS = {
    "not yet, quickly": endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
    "not yet, slowly": endless(b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    "a line without end": endless(b"H", 0.1),
    "another early answer": endless(b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n", 0.1),
}


@pytest.mark.parametrize("act", ENDLESS_HEADS.values(), ids=ENDLESS_HEADS.keys())
def test_a_head_that_does_not_end_is_given_up_in_time(script: Any, act: Callable[[Any], None]) -> None:
    """The time for a look is for all of it: whatever comes before the answer counts, however fast or slowly."""
    script.acts["/api/ps"] = [act]
    began = time.monotonic()

    with pytest.raises(Unknown):
        look_at(script.url, OWN, timeout_s=0.4, now=time.time())

    assert time.monotonic() - began < 3


def test_a_reply_that_is_never_begun_is_given_up_in_time(script: Any, client: OllamaClient) -> None:
    """The same holds for what a model is asked: its time runs from the request."""
    script.acts["/api/generate"] = [ENDLESS_HEADS["not yet, slowly"]]
    began = time.monotonic()

    assert named(write(client)) == "unfinished"
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("body", ["[" * 100_000, '{"modelfile": ' + "[" * 900 + "]" * 900 + "}", '{"a":' * 100_000])
def test_what_is_nested_without_bottom_says_nothing(script: Any, body: str) -> None:
    """Neither the list of the loaded models nor the page of one, however deep: it is an unknown reading."""
    for path in ("/api/ps", "/api/show", "/slots"):
        script.acts[path] = [script.say_text(body)]

    with pytest.raises(Unknown):
        look_at(script.url, OWN, timeout_s=5.0, now=time.time())
    with pytest.raises(Unseen):
        Runners(script.url, OWN, (), 5.0).users()
    with pytest.raises(Unknown):
        slots_busy(Runner(1, 0.0, "sha256-x", int(script.url.rpartition(":")[2])))


def test_a_list_that_drips_says_nothing(script: Any) -> None:
    """The time-out of a look holds for all of its body."""

    def act(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(200):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    script.acts["/api/ps"] = [act]
    began = time.monotonic()

    with pytest.raises(Unknown):
        look_at(script.url, OWN, timeout_s=0.5, now=time.time())
    assert time.monotonic() - began < 5


def test_the_retry_layer_gives_up_on_what_stays_broken(script: Any, client: OllamaClient) -> None:
    """Three attempts, then the step waits for a better server; the job itself goes on."""
    script.acts["/api/generate"] = [raw(HEAD + b"<html>")]
    sampling = Sampling(temperature=0.7, seed=5, num_predict=32)
    asked = retrying(lambda request: client.generate(OWN, request, load_options={}, keep_alive=None))  # type: ignore[arg-type] # a Generate

    with pytest.raises(Unreachable):
        asked(Generate(role=Role.GENERATOR, sampling=sampling, prompt="Rename"))
    assert len(script.bodies("/api/generate")) == 3
