"""Who acts in the demo beside the pipeline: a host that runs the skill, and a simulated voter."""

from __future__ import annotations

from collections.abc import Iterable

from models.ballots import Shown
from models.feedback import Feedback
from ops.demo.scene import Pair
from pipeline.algorithms.streams import seed32, stream
from pipeline.domain import Choice
from pipeline.fitness import task_request
from pipeline.flow import Generated
from pipeline.rules import Rules
from pipeline.scoring import score
from pipeline.skills import PromptTemplate
from workers.llm.ollama import OllamaClient
from workers.llm.route import OllamaAnswerer

VOTER_NOISE = 0.05  # share of ballots on which the simulated voter picks at random


class Host:
    """A program that names files with the skill's prompt in use."""

    def __init__(self, url: str, rules: Rules, seed: int) -> None:
        models = rules.settings.models
        self._client = OllamaClient(url, connect_s=models.connect_s, read_s=models.read_s)
        self._ask = OllamaAnswerer(self._client, rules)
        self._rules, self._seed = rules, seed
        self.calls = 0

    def run(self, template: PromptTemplate, pairs: Iterable[Pair], version: int, prefix: str = "") -> list[Feedback]:
        """Name each picture; the name that its author gave comes along as the right answer."""
        told: list[Feedback] = []
        for pair in pairs:
            reply = self._ask(task_request(self._rules, template, pair.fields, seed32(self._seed, pair.id)))
            self.calls += 1
            output = reply.text if isinstance(reply, Generated) else ""
            told.append(
                Feedback(
                    task_id=prefix + pair.id,
                    fields=pair.fields,
                    output=output,
                    expected=pair.accepted_name,
                    version=version,
                )
            )
        return told

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class Voter:
    """Votes for the name nearest to the one that the picture's author gave; now and then at random."""

    def __init__(self, rules: Rules, pairs: Iterable[Pair], seed: int) -> None:
        self._rules, self._seed = rules, seed
        self._accepted = {pair.fields: pair.accepted_name for pair in pairs}

    def choose(self, ballot: Shown) -> tuple[Choice, int | None]:
        """Look at a ballot as a person does: input and results, nothing else."""
        rng = stream(self._seed, "voter", ballot.ballot)
        if rng.random() < VOTER_NOISE:
            return Choice.PICK, int(rng.integers(len(ballot.cards))) + 1
        wanted = self._accepted.get(ballot.fields, "")
        values = [score(self._rules.skill, card, wanted, dict(ballot.fields)).value for card in ballot.cards]
        best = max(values)
        if best == 0:
            return Choice.NONE, None
        if values.count(best) > 1:
            return Choice.TIE, None
        return Choice.PICK, values.index(best) + 1
