"""What evolution relies on at the Ollama seam: the whole stack of client, routes, retries, gate and preemption.

Everything runs against the simulator. The tests that ask `server` for any healthy server run against a real one too when
EVOCTL_TEST_OLLAMA names it and it has the default models.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ollama
import pytest

from ops.simulator.knobs import DieMidStream, Fault, Knobs
from ops.simulator.server import SimulatorServer
from ops.simulator.world import STANDARD_MODELS, Answer, Ask, ModelCard, Token, pieces
from pipeline.domain import Role, SkillName
from pipeline.errors import ModelMissing, Unreachable
from pipeline.flow import Embed, Embedded, Failed, FailureKind, Generate, Generated, Publish, Sampling
from pipeline.gate import Wish
from pipeline.machine_settings import GateSettings
from pipeline.rules import Rules
from pipeline.settings import Foreground, Models, Settings
from pipeline.skills import SkillSpec
from workers.lease import foreground
from workers.llm.gate import Gate
from workers.llm.load_options import used_tags
from workers.llm.ollama import OllamaClient
from workers.llm.preempt import Preempted, preemptible
from workers.llm.retry import RunnerCrashed, Transient, retrying
from workers.llm.route import OllamaAnswerer

OWN, THEIRS, EMBEDDER = "smollm2:360m-instruct-q4_K_M", "qwen2.5-coder:3b", "embeddinggemma:300m"
SCHEMA = '{"properties":{"score":{"maximum":100,"minimum":0,"type":"integer"}},"required":["score"],"type":"object"}'
REAL = os.environ.get("EVOCTL_TEST_OLLAMA", "")


class EchoWorld:
    """Answers with what it was asked, or with a score where a schema wants one."""

    def models(self) -> Sequence[ModelCard]:
        """Return the default models."""
        return STANDARD_MODELS

    def mind(self, ask: Ask) -> str:
        """Name the only mind."""
        return f"echo of {ask.tag}"

    def answer(self, ask: Ask) -> Answer:
        """Echo."""
        text = '{"score": 7}' if ask.schema else f"{ask.seed}: {ask.text}"
        tokens = tuple(Token(piece, -0.25 * (1 + index % 3)) for index, piece in enumerate(pieces(text)))
        return Answer(mind=self.mind(ask), tokens=tokens)

    def embed(self, tag: str, text: str, dims: int) -> Sequence[float]:  # noqa: ARG002 - the protocol has it
        """Point in the direction of the text's length."""
        return [math.cos(len(text)), math.sin(len(text)), *[0.0] * (dims - 2)]


@dataclass
class AnyServer:
    """A server that is healthy."""

    url: str
    simulated: bool


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """Start a simulated server."""
    with SimulatorServer(EchoWorld()) as running:
        yield running


@pytest.fixture(params=["simulated", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[AnyServer]:
    """Offer a simulated server, and a real one where there is one."""
    if request.param == "simulated":
        with SimulatorServer(EchoWorld()) as running:
            yield AnyServer(running.url, simulated=True)
    elif REAL:
        yield AnyServer(REAL, simulated=False)
    else:
        pytest.skip("EVOCTL_TEST_OLLAMA names no server")


@pytest.fixture
def client(simulator: SimulatorServer) -> Iterator[OllamaClient]:
    """Connect to the simulator."""
    with OllamaClient(simulator.url, connect_s=1.0, read_s=5.0) as made:
        yield made


def asking(prompt: str = "Name the file.", **changes: Any) -> Generate:
    """Return a request with fixed sampling."""
    sampling = Sampling(temperature=0.0, seed=3, num_predict=changes.pop("num_predict", 48))
    return Generate(role=changes.pop("role", Role.GENERATOR), prompt=prompt, sampling=sampling, **changes)


def write(client: OllamaClient, request: Generate | None = None, tag: str = OWN, num_ctx: int = 512) -> Any:
    """Generate with evolution's own load options."""
    return client.generate(tag, request or asking(), load_options={"num_ctx": num_ctx}, keep_alive="5s")


def rules_for(url: str, **foreground_model: Any) -> Rules:
    """Return default rules that point at *url*."""
    settings = Settings(models=Models(ollama_url=url), foreground=Foreground(**foreground_model))
    return Rules(settings=settings, skill=SkillSpec(name=SkillName("file-naming"), template="t.md"))


def shown(url: str) -> dict[str, Any]:
    """Return Ollama's list by name."""
    with_client = ollama.Client(url, trust_env=False)
    try:
        return {model.model or "": model for model in with_client.ps().models}
    finally:
        with_client.close()


# Any healthy server


def test_a_server_states_its_version_and_models(server: AnyServer) -> None:
    """Digests are 64 hexadecimal digits, and only the simulator says that it is one."""
    facts = OllamaClient(server.url, connect_s=2, read_s=60).facts()

    assert facts.simulated is server.simulated
    assert facts.version[0].isdigit()
    assert all(len(digest) == 64 for digest in facts.digests.values())


def test_a_generation_streams_to_its_end(server: AnyServer) -> None:
    """With log-probabilities and counts."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        reply = write(client, asking(logprobs=True))

    assert isinstance(reply, Generated)
    assert reply.text
    assert reply.done_reason in {"stop", "length"}
    assert reply.prompt_tokens > 0
    assert reply.tokens > 0
    assert reply.mean_logprob is not None
    assert reply.min_logprob is not None
    assert reply.min_logprob <= reply.mean_logprob <= 0


def test_the_first_token_comes_with_its_alternatives(server: AnyServer) -> None:
    """As many as were asked for, the written one among them, all with a log-probability; none where none were asked for."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        asked = replace(asking("Is ice cold? Answer Yes or No.", num_predict=1), top_logprobs=5)
        reply, plain = write(client, asked), write(client, asking(num_predict=1))

    assert isinstance(reply, Generated)
    assert isinstance(plain, Generated)
    assert 2 <= len(reply.alternatives) <= 5
    assert reply.text in {text for text, _ in reply.alternatives}
    assert all(value <= 0 for _, value in reply.alternatives)
    assert plain.alternatives == ()


def test_num_predict_cuts(server: AnyServer) -> None:
    """And the reply says so."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        reply = write(client, asking("Count from one to fifty in words.", num_predict=3))

    assert (reply.done_reason, reply.tokens) == ("length", 3)


def test_a_schema_is_followed(server: AnyServer) -> None:
    """The reply is JSON of that shape."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        reply = write(client, asking("Score this file name: a.txt", schema=SCHEMA))

    assert 0 <= json.loads(reply.text)["score"] <= 100


def test_a_prompt_that_does_not_fit_is_never_cut_in_silence(server: AnyServer) -> None:
    """The server is told not to cut, and its refusal is understood."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        reply = write(client, asking("one two three " * 150), num_ctx=256)

    assert reply.kind is FailureKind.TOO_LONG


def test_vectors_have_unit_length(server: AnyServer) -> None:
    """One for each text, in order."""
    with OllamaClient(server.url, connect_s=2, read_s=60) as client:
        reply = client.embed(EMBEDDER, ["a", "bb", "a"], prefix="", load_options={"num_ctx": 512}, keep_alive="5s")

    assert isinstance(reply, Embedded)
    assert reply.vectors[0] == pytest.approx(reply.vectors[2], abs=1e-5)
    assert all(math.hypot(*vector) == pytest.approx(1.0, abs=1e-3) for vector in reply.vectors)
    assert reply.profile.endswith(f"||{len(reply.vectors[0])}")


# The simulator: what goes wrong


def test_the_seed_reaches_the_model(client: OllamaClient) -> None:
    """And so do system text and prompt."""
    sampling = replace(asking().sampling, temperature=0.5, seed=99)
    reply = write(client, Generate(role=Role.GENERATOR, prompt="World", system="Hello", sampling=sampling))

    assert reply.text == "99: Hello\nWorld"


def test_an_absent_model_is_missing(simulator: SimulatorServer, client: OllamaClient) -> None:
    """Nothing is asked of the server in vain."""
    with pytest.raises(ModelMissing) as caught:
        write(client, tag="absent:1b")
    assert caught.value.hint == "ollama pull absent:1b"
    assert simulator.counts().inference == 0


def test_a_model_that_cannot_is_rejected(client: OllamaClient) -> None:
    """A model for vectors does not write."""
    assert write(client, tag=EMBEDDER).kind is FailureKind.REJECTED


def test_a_text_too_long_to_embed_fails(client: OllamaClient) -> None:
    """It is not cut either."""
    reply = client.embed(EMBEDDER, ["one two " * 400], prefix="", load_options={"num_ctx": 128}, keep_alive=None)

    assert reply == Failed(kind=FailureKind.TOO_LONG, message="the input length exceeds the context length")


def test_a_busy_server_is_asked_again(simulator: SimulatorServer, client: OllamaClient) -> None:
    """503, then the answer."""
    simulator.fail_next(Fault(status=503, error="server busy, please try again."))

    assert isinstance(retrying(lambda _: write(client))(asking()), Generated)
    assert simulator.counts().inference == 2


def test_a_crash_is_survived_once(simulator: SimulatorServer, client: OllamaClient) -> None:
    """The second one in a row fails the request for good."""
    ask = retrying(lambda _: write(client))
    simulator.fail_next(Fault(how="error_line", error="an error was encountered while running the model: OOM"))
    assert isinstance(ask(asking()), Generated)

    simulator.fail_next(Fault(status=500, error="llama-server process has terminated: exit status 1:", times=2))
    reply = ask(asking())
    assert isinstance(reply, Failed)
    assert reply.kind is FailureKind.CRASHED
    assert "terminated" in reply.message


def test_a_cut_connection_is_survived(simulator: SimulatorServer, client: OllamaClient) -> None:
    """Reset twice in the middle of the stream, then whole."""
    simulator.fail_next(Fault(how="reset", times=2))

    reply = retrying(lambda _: write(client))(asking())

    assert isinstance(reply, Generated)
    assert reply.text == "3: Name the file."


def test_a_repeat_loop_is_unfinished(simulator: SimulatorServer, client: OllamaClient) -> None:
    """The server's guard ends the stream without `done`."""
    simulator.turn({"repeat_guard": True})

    assert write(client).kind is FailureKind.UNFINISHED


def test_a_runner_that_always_breaks_is_a_crash(simulator: SimulatorServer, client: OllamaClient) -> None:
    """The client names it; the retry layer decides."""
    simulator.core.knobs = Knobs(die_mid_stream=DieMidStream(after_chunks=1, how="error_line"))

    with pytest.raises(RunnerCrashed):
        write(client)


def test_a_silent_server_is_given_up(simulator: SimulatorServer) -> None:
    """After `read_s` without a word; the server sees the client go."""
    simulator.turn({"stall_seconds": 30, "stall_after_chunks": 0})
    with OllamaClient(simulator.url, connect_s=1.0, read_s=0.3) as client, pytest.raises(Transient):
        write(client)

    assert soon(lambda: simulator.counts().by_outcome.get("cancelled") == 1)


def test_a_server_that_comes_back_is_found() -> None:
    """Down between two requests: three attempts bridge a second, a longer absence is named."""
    first = SimulatorServer(EchoWorld()).start()
    port = first.port
    with OllamaClient(first.url, connect_s=0.5, read_s=2.0) as client:
        ask = retrying(lambda _: write(client))
        ask(asking())
        client.close()
        first.stop()
        with pytest.raises(Unreachable) as caught:
            ask(asking())
        assert caught.value.hint == "ollama serve"

        started: list[SimulatorServer] = []
        timer = threading.Timer(0.3, lambda: started.append(SimulatorServer(EchoWorld(), port=port).start()))
        timer.start()
        assert isinstance(ask(asking()), Generated)
        timer.join()
        started[0].stop()


# The simulator: manners towards the user's model


def test_every_role_has_its_model_and_context(simulator: SimulatorServer, client: OllamaClient) -> None:
    """As the rules name them; embedding texts get the prefix."""
    rules = rules_for(simulator.url, model="other:1b")
    answer = OllamaAnswerer(client, rules)

    for role in (Role.GENERATOR, Role.JUDGE, Role.TASK):
        answer(asking(role=role))
    answer(Embed(texts=("a",)))

    assert used_tags(rules) == (OWN, THEIRS, EMBEDDER)
    assert simulator.counts().by_tag == {OWN: 1, THEIRS: 2, EMBEDDER: 1}
    contexts = {name: model.context_length for name, model in shown(simulator.url).items()}
    assert contexts == {OWN: 8192, THEIRS: 4096, EMBEDDER: 2048}
    with pytest.raises(TypeError):
        answer(published())


def published() -> Publish:
    """Return a request that no model answers."""
    return Publish(
        skill="s",
        text="",
        template="t",
        version=1,
        previous_accuracy=None,
        current_accuracy=None,
        evolved_at="",
        expected_version=1,
    )


def test_the_users_model_is_neither_reloaded_nor_kept_longer(simulator: SimulatorServer, client: OllamaClient) -> None:
    """Our call sends the host's own load options and no keep-alive, under any name of the model."""
    host = ollama.Client(simulator.url, trust_env=False)
    host.generate(THEIRS, "Hi", options={"num_ctx": 1024}, keep_alive="10m")
    host.close()
    simulator.turn({"load_seconds": 2.0})
    answer = OllamaAnswerer(client, rules_for(simulator.url, options=(("num_ctx", 1024),), max_tokens=2))
    started = time.monotonic()

    reply = answer(asking(role=Role.JUDGE))

    assert isinstance(reply, Generated)
    assert (reply.tokens, reply.done_reason) == (2, "length")
    assert time.monotonic() - started < 1.0
    left_s = shown(simulator.url)[THEIRS].expires_at.timestamp() - time.time()
    assert left_s == pytest.approx(600, abs=5)


def test_another_name_of_the_users_model_is_the_users_model(simulator: SimulatorServer, client: OllamaClient) -> None:
    """The digest tells."""
    rules = rules_for(simulator.url)
    models = replace(rules.settings.models, judge=f"simulated/{THEIRS}")
    answer = OllamaAnswerer(client, replace(rules, settings=replace(rules.settings, models=models)))

    assert answer.tag_of(asking(role=Role.JUDGE)) == THEIRS
    assert answer.tag_of(asking()) == OWN
    assert answer.tag_of(published()) is None
    assert answer.own_tags() == (OWN, EMBEDDER)


def test_two_roles_of_one_model_share_its_context(simulator: SimulatorServer, client: OllamaClient) -> None:
    """Two contexts in turn would load the model anew at each call."""
    rules = rules_for(simulator.url)
    models = replace(rules.settings.models, judge=OWN)
    answer = OllamaAnswerer(client, replace(rules, settings=replace(rules.settings, models=models)))

    answer(asking())
    first = shown(simulator.url)[OWN].context_length
    answer(asking(role=Role.JUDGE))

    assert first == shown(simulator.url)[OWN].context_length == 8192


def test_our_models_are_unloaded_on_the_way_out(simulator: SimulatorServer, client: OllamaClient) -> None:
    """And only ours."""
    answer = OllamaAnswerer(client, rules_for(simulator.url))
    answer(asking())
    answer(asking(role=Role.JUDGE))

    assert all(client.unload(tag) for tag in answer.own_tags())
    assert list(shown(simulator.url)) == [THEIRS]


# The simulator: the gate


def test_a_preemption_ends_the_generation_on_the_server(
    tmp_path: Path, simulator: SimulatorServer, client: OllamaClient
) -> None:
    """In the middle of a slow reply, and in the middle of a slow prompt."""
    gate = Gate(tmp_path, GateSettings(poll_s=0.05), THEIRS, simulator.url)
    for knobs in ({"tokens_per_second": 5.0}, {"tokens_per_second": 0.0, "prefill_tokens_per_second": 1.0}):
        simulator.turn(knobs)
        taken: list[float] = []
        thread = threading.Thread(target=user, args=(tmp_path, taken))
        thread.start()
        with pytest.raises(Preempted), preemptible(gate, OWN):
            write(client, asking("word " * 40))
        thread.join()

        entry = [one for one in simulator.requests() if one.path == "/api/generate"][-1]
        assert entry.outcome == "cancelled"
        assert entry.end - taken[0] < 0.5


def user(root: Path, taken: list[float]) -> None:
    """Hold the lease a little later."""
    time.sleep(0.3)
    with foreground(root):
        taken.append(time.monotonic())
        time.sleep(0.3)


def test_the_gate_sees_the_user_and_not_ourselves(
    tmp_path: Path, simulator: SimulatorServer, client: OllamaClient
) -> None:
    """Judge calls to the user's model leave the gate open; a call of the user's closes it."""
    gate = Gate(tmp_path, GateSettings(ps_poll_s=0.2), THEIRS, simulator.url)
    answer = OllamaAnswerer(client, rules_for(simulator.url))
    for _ in range(3):
        reading = gate.ask(Wish(quiet_s=60.0))
        assert reading.open, reading
        with gate.own_call(answer.tag_of(asking(role=Role.JUDGE)) or ""):
            answer(asking(role=Role.JUDGE))
        time.sleep(0.25)

    host = ollama.Client(simulator.url, trust_env=False)
    time.sleep(1.1)  # a call of the user's within a second of ours cannot be told from it
    assert gate.ask(Wish(quiet_s=60.0)).open
    host.generate(THEIRS, "Hi")
    host.close()
    time.sleep(0.25)
    assert gate.ask(Wish(quiet_s=60.0)).reason == "recent-use"


def test_the_gate_sees_the_users_first_request_while_it_runs(tmp_path: Path, simulator: SimulatorServer) -> None:
    """The model was just loaded, so its expiry moves with the clock."""
    simulator.turn({"tokens_per_second": 5.0})
    gate = Gate(tmp_path, GateSettings(ps_poll_s=0.3), THEIRS, simulator.url)
    gate.ask(Wish(quiet_s=0.0))
    host = ollama.Client(simulator.url, trust_env=False)
    stream = host.generate(THEIRS, "word " * 40, stream=True)
    next(stream)
    reasons = []
    for _ in range(3):
        time.sleep(0.35)
        reasons.append(gate.ask(Wish(quiet_s=0.0)).reason)
    stream.close()
    host.close()

    assert "foreground-busy" in reasons[1:]


def soon(check: Callable[[], bool], seconds: float = 3.0) -> bool:
    """Wait until *check* holds."""
    end = time.monotonic() + seconds
    while not check() and time.monotonic() < end:
        time.sleep(0.01)
    return check()
