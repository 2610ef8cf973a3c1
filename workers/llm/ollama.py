"""The Ollama client: one request in, one reply or one well-named trouble out; alone imports `ollama`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar

import httpx
import ollama

from pipeline.errors import ModelMissing, Refused, Unreachable
from pipeline.flow import Embedded, Failed, FailureKind, Generate, Generated
from workers.llm.bounded import PLAIN, bounded, cut_off, lines, refuse_compressed
from workers.llm.replies import parsed
from workers.llm.retry import RunnerCrashed, Transient
from workers.llm.tags import ServerFacts, hosted, is_remote, normal, not_installed, read_facts, refuse_cloud
from workers.llm.wire import MOST_PARTS, gathered, generate_body, says_too_long, summary

QUICK_READ_S = 10.0  # version, list and unload are answered at once; a server that needs longer is stuck
QUICK_REPLY_S = 30.0  # the whole of such a reply
REPLY_S = 600.0  # the whole of any other
SHORTEST = 1e-6  # of a vector; the server makes them 1 long, and a square of much less or more is no number
MOST_CHARS_PER_TOKEN = 16  # no tokenizer averages more over a prompt; above it a prompt cannot fit

_BROKEN = (ValueError, TypeError, AttributeError, RecursionError, OverflowError)
"""What a reply raises that is no JSON, or JSON of another shape, or without bottom."""

T = TypeVar("T")


class OllamaClient:
    """Talks to one Ollama server; for one thread.

    Args:
        url: the server, `http://127.0.0.1:11434`.
        connect_s: time to connect.
        read_s: longest silence inside a reply, prompt evaluation and load included.
        reply_s: longest time of a whole reply.
    """

    def __init__(self, url: str, *, connect_s: float, read_s: float, reply_s: float = REPLY_S) -> None:
        self.url = url if "://" in url else f"http://{url}"
        self._quick = httpx.Timeout(connect=connect_s, read=QUICK_READ_S, write=QUICK_READ_S, pool=connect_s)
        self._long = httpx.Timeout(connect=connect_s, read=read_s, write=read_s, pool=connect_s)
        self._reply_s = reply_s
        self._verify = self.url.startswith("https:")  # plain HTTP needs no certificates, which take 17 ms to load
        self._client: ollama.Client | None = None
        self._facts: ServerFacts | None = None

    def facts(self) -> ServerFacts:
        """Ask the server for its version and its models.

        Raises:
            Unreachable: it does not answer, or is no Ollama server.
        """
        try:
            return self._ask()
        except Transient as trouble:
            raise Unreachable(trouble.what, why=trouble.why, hint=trouble.hint) from trouble

    def require(self, tags: Iterable[str]) -> None:
        """Make sure that every one of *tags* is installed and runs on this machine.

        Raises:
            ModelMissing: names every missing tag and the commands that install them.
            Refused: a tag belongs to a model that runs in a cloud.
            Unreachable: the server does not answer.
        """
        facts = self.facts()
        wanted = sorted(set(tags))
        for tag in wanted:
            refuse_cloud(tag, facts)
        missing = [tag for tag in wanted if normal(tag) not in facts.digests]
        if missing:
            raise not_installed(missing, self.url)
        for tag in wanted:
            self._refusehosted(tag, facts.spellings[normal(tag)])

    def resolve(self, tag: str) -> str:
        """Return the spelling under which the server stores *tag*.

        Raises:
            ModelMissing: it is not installed.
            Refused: it runs in a cloud.
            Transient: the server could not be talked to; see `retrying`.
        """
        facts = self._facts
        if facts is None or normal(tag) not in facts.digests:
            facts = self._ask()
        refuse_cloud(tag, facts)
        if normal(tag) not in facts.spellings:
            raise not_installed([tag], self.url)
        return facts.spellings[normal(tag)]

    def digest(self, tag: str) -> str:
        """Return the digest of *tag*; raises as `resolve` does."""
        name = self.resolve(tag)
        return (self._facts or self._ask()).digests[normal(name)]

    def same(self, one: str, other: str) -> bool:
        """Tell whether two tags name one model.

        Raises:
            Transient: the server could not be talked to; see `retrying`.
        """
        return normal(one) == normal(other) or (self._facts or self._ask()).same(one, other)

    def generate(
        self, tag: str, request: Generate, *, load_options: Mapping[str, int], keep_alive: str | None
    ) -> Generated | Failed:
        """Let *tag* write, through its own chat template.

        An exception that a signal handler raises meanwhile closes the connection at once, which stops the model.

        Args:
            tag: in any spelling.
            request: what to write; its role is not looked at.
            load_options: `num_ctx` and the like; another value than the loaded model's makes the server load it anew.
            keep_alive: None leaves the model's own, which is a must for the foreground model.

        Raises:
            ModelMissing: the model is not installed.
            Transient: the server could not be talked to; see `retrying`.
            RunnerCrashed: the model's process failed; see `retrying`.
        """
        num_ctx = load_options.get("num_ctx", 0)
        if num_ctx and len(request.prompt) + len(request.system) > num_ctx * MOST_CHARS_PER_TOKEN:
            return Failed(kind=FailureKind.TOO_LONG, message=f"the prompt cannot fit {num_ctx} tokens")
        body = generate_body(self.resolve(tag), request, load_options, keep_alive)
        reply = self._attempt(tag, lambda: self._written(body))
        if isinstance(reply, Generated) and 0 < num_ctx <= reply.prompt_tokens:
            return Failed(kind=FailureKind.TOO_LONG, message=f"the server cut the prompt to {num_ctx} tokens")
        return reply

    def embed(
        self,
        tag: str,
        texts: Sequence[str],
        *,
        prefix: str,
        load_options: Mapping[str, int],
        keep_alive: str | None,
        dims: int = 0,
    ) -> Embedded | Failed:
        """Turn *texts* into vectors of the first *dims* dimensions (0: all), with *prefix* before each.

        Raises as `generate` does.
        """
        name, digest = self.resolve(tag), self.digest(tag)
        if not texts:
            return Embedded(vectors=(), profile=f"{digest}|{prefix}|0")
        inputs, started = [prefix + text for text in texts], time.monotonic()
        reply = self._attempt(
            tag,
            lambda: self._connected().embed(
                model=name,
                input=inputs,
                truncate=False,
                options=dict(load_options),
                keep_alive=keep_alive,
                dimensions=dims or None,
            ),
        )
        if isinstance(reply, Failed):
            return reply
        vectors = tuple(tuple(float(x) for x in vector) for vector in reply.embeddings)
        if not _sound(vectors, len(inputs)):
            return Failed(kind=FailureKind.REJECTED, message="the server sent vectors that cannot be used")
        profile = f"{digest}|{prefix}|{len(vectors[0])}"
        return Embedded(vectors=vectors, profile=profile, duration_s=time.monotonic() - started)

    def unload(self, tag: str) -> bool:
        """Ask the server to drop one of evolution's own models; never for the foreground model.

        Returns:
            Whether the server agreed. It never raises: this is called on the way out.
        """
        with contextlib.suppress(httpx.HTTPError, Transient, ModelMissing, Refused):
            body = {"model": self.resolve(tag), "prompt": "", "keep_alive": 0, "stream": False}
            return self._plain("POST", "/api/generate", body).is_success
        return False

    def close(self) -> None:
        """Close every connection, also one that is in use; the next request opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()  # type: ignore[no-untyped-call]  # ollama leaves it without annotations

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self) -> ServerFacts:
        try:
            self._facts = read_facts(self._get("/api/version"), self._get("/api/tags"))
        except (httpx.HTTPError, httpx.InvalidURL, LookupError, *_BROKEN) as error:
            raise self._transient(error) from error
        return self._facts

    def _refusehosted(self, tag: str, name: str) -> None:
        """Ask the server about one model: also one that its list shows as a local one may run elsewhere."""
        with contextlib.suppress(httpx.HTTPError, *_BROKEN):  # an older server knows no such models
            shown = parsed(self._plain("POST", "/api/show", {"model": name}).raise_for_status().content)
            if is_remote(shown):
                raise hosted(tag)

    def _get(self, path: str) -> Any:
        return parsed(self._plain("GET", path, None).raise_for_status().content)

    def _plain(self, method: str, path: str, body: Mapping[str, object] | None) -> httpx.Response:
        with httpx.Client(
            base_url=self.url, timeout=self._quick, trust_env=False, follow_redirects=False, headers=PLAIN,
            event_hooks={"response": [refuse_compressed]},
            transport=bounded(verify=self._verify, reply_s=QUICK_REPLY_S),
        ) as client:  # fmt: skip
            return client.request(method, path, json=body)

    def _connected(self) -> ollama.Client:
        if self._client is None:
            self._client = ollama.Client(
                self.url, timeout=self._long, trust_env=False, follow_redirects=False, headers=PLAIN,
                event_hooks={"response": [refuse_compressed]},
                transport=bounded(verify=self._verify, reply_s=self._reply_s),
            )  # fmt: skip
        return self._client

    def _attempt(self, tag: str, call: Callable[[], T]) -> T | Failed:
        """Run one request; sort whatever `ollama` and `httpx` raise into a reply or a named trouble."""
        try:
            return call()
        except ollama.ResponseError as error:
            return self._verdict(tag, error)
        except (ConnectionError, httpx.RequestError) as error:
            if why := cut_off(error):  # the same request would end so again
                return Failed(kind=FailureKind.UNFINISHED, message=why)
            raise self._transient(error) from error
        except _BROKEN as error:
            raise self._transient(error) from error
        except BaseException:  # raised by a signal handler, perhaps while the library was closing: leave no socket
            self.close()
            raise

    def _verdict(self, tag: str, error: ollama.ResponseError) -> Failed:
        text, status = str(error.error), error.status_code
        message = summary(text)
        if says_too_long(text):
            return Failed(kind=FailureKind.TOO_LONG, message=message)
        if status == httpx.codes.NOT_FOUND and "not found" in text:
            raise not_installed([tag], self.url) from error
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            raise self._transient(error) from error
        mid_stream = status < 0
        if mid_stream or (httpx.codes.is_server_error(status) and status != httpx.codes.NOT_IMPLEMENTED):
            raise RunnerCrashed(message) from error
        return Failed(kind=FailureKind.REJECTED, message=message)

    def _transient(self, error: Exception) -> Transient:
        return Transient(f"Ollama at {self.url} did not answer.", why=_why(error), hint="ollama serve")

    def _written(self, body: Mapping[str, object]) -> Generated | Failed:
        """Send *body* and gather the stream; it is read to its end, so that the connection can serve again."""
        started, parts = time.monotonic(), list[Any]()
        # Its generate() cannot send "truncate", without which the server cuts an over-long prompt in half and says
        # nothing; and its reader ends a line at characters that a model may write.
        http: httpx.Client = self._connected()._client  # noqa: SLF001 - see above; held by the contract tests
        with http.stream("POST", "/api/generate", json=body) as reply:
            if not reply.is_success:
                reply.read()
                raise ollama.ResponseError(reply.text, reply.status_code)
            for line in lines(reply.iter_raw()):
                part = parsed(line.decode("utf-8", "replace"))
                if part.get("error"):
                    raise ollama.ResponseError(str(part["error"]))
                if is_remote(part):
                    raise hosted(str(body["model"]))
                parts.append(part)
                if len(parts) > MOST_PARTS:
                    return Failed(kind=FailureKind.UNFINISHED, message=f"the reply had more than {MOST_PARTS} parts")
        return gathered(parts, time.monotonic() - started)


def _sound(vectors: tuple[tuple[float, ...], ...], wanted: int) -> bool:
    sizes = {len(vector) for vector in vectors}
    lengths = [math.hypot(*vector) for vector in vectors]  # not a number, or infinite, when one of its numbers is
    return len(vectors) == wanted and len(sizes) == 1 and all(SHORTEST < length < 1 / SHORTEST for length in lengths)


def _why(error: Exception) -> str:
    return summary(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
