"""`make demo`: a skill's accuracy drops, better prompts are bred and voted on, the winner is promoted, a bad one rolled back.

Everything is real but the models and the voter: Valkey, the database, the stock worker, Ollama's protocol. With
`--real` an Ollama server answers instead of the simulator.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from models.tables import VariantRow
from models.work_tables import RunRow, StepRow
from ops.demo import report
from ops.demo.actors import Host, Voter
from ops.demo.scene import SKILL, Pair, Scene, load_pairs, scene
from pipeline.domain import Choice, Ending, Stage, StepState
from pipeline.errors import EvolutionError, Unreachable
from pipeline.skills import parse_template
from workers.client import Evolution
from workers.home import Home
from workers.lease import foreground

POLL_S = 0.1
PATIENCE_S = {False: 240.0, True: 24 * 3600.0}  # simulated, real: then the demo gives up
AGAIN = 30  # pictures named with the bad prompt, at most, before its rollback
LATER = 5  # every so many-th picture comes in only while people vote
FEW = 5  # pictures named in one go meanwhile
SEED = 2  # of four that were tried, with a gain of 0, 0.05, 0.11 and 0.26, the one in the middle
BAD = "Be creative: invent a poetic title for the picture and explain in a sentence why it fits."
SPEED = 1500  # tokens per second of the simulated models: slow enough to be caught in the middle of a reply


@dataclass(slots=True)
class Story:
    """What the demo goes by.

    Attributes:
        pairs: the history; `later`: pictures that come in while people vote.
        quiet: nothing is told on the way (for `--json`).
    """

    evolution: Evolution
    host: Host
    voter: Voter
    pairs: tuple[Pair, ...]
    later: list[Pair]
    until: float
    quiet: bool
    began: float

    def tell(self, text: str) -> None:
        """Print one line of the story."""
        if not self.quiet:
            print(f"{time.monotonic() - self.began:5.1f} s  {text}", flush=True)  # noqa: T201 - the demo talks to a person

    def wait(self) -> None:
        """Sleep a little.

        Raises:
            Unreachable: the demo has taken too long.
        """
        if time.monotonic() > self.until:
            raise Unreachable("The demo has not come to its end in time.", hint="Look into the logs of its folder.")
        time.sleep(POLL_S)


def run_demo(*, real: bool = False, keep: str | None = None, seed: int | None = None, as_json: bool = False) -> int:
    """Run the demo; returns 0 when every chapter came to its end.

    Args:
        real: use an Ollama server with real models.
        keep: folder to leave everything in, for `evoctl status`, `results` and `web`.
        seed: of the simulated models and the voter.
        as_json: print the report as JSON and nothing else.
    """
    began = time.monotonic()
    chosen = SEED if seed is None else seed
    with _folder(keep) as folder, scene(folder, real=real, seed=chosen, speed=SPEED) as stage:
        with Evolution(stage.home) as evolution:
            pairs = load_pairs()
            rules = evolution.rules(SKILL)
            story = Story(
                evolution=evolution, host=Host(stage.url, rules, chosen), voter=Voter(rules, pairs, chosen),
                pairs=tuple(pair for i, pair in enumerate(pairs) if i % LATER), later=list(pairs[::LATER]),
                until=began + PATIENCE_S[real], quiet=as_json, began=began,
            )  # fmt: skip
            with contextlib.closing(story.host):
                facts = _tell(story, stage, simulated=not real)
        facts["wall_s"] = round(time.monotonic() - began, 1)
    if as_json:
        print(json.dumps({"schema": "evoctl.demo/1", "ok": True, "data": facts}, ensure_ascii=True))  # noqa: T201
    else:
        sys.stdout.write(report.text(facts))
        if keep:
            sys.stdout.write(_next_steps(stage.home))
    return 0


def _tell(story: Story, stage: Scene, *, simulated: bool) -> dict[str, object]:
    """Go through the chapters."""
    label = (
        "simulated models and voter; no figure here is a real model's" if simulated else "real models, simulated voter"
    )
    story.tell(f"The pipeline runs ({label}).")
    run = _accuracy_drops(story)
    _user_works(story, stage.home, run)
    ending = _vote_until_decided(story, run)
    story.tell(f"Run r{run} ended: {ending}.")
    rolled_back = None
    if ending == Ending.PROMOTED:
        bad = _bad_promotion(story)
        rolled_back = _until_rolled_back(story, bad)
    log = stage.requests if simulated else None
    return report.collect(story.evolution, run, rolled_back, log, host_calls=story.host.calls)


def _accuracy_drops(story: Story) -> int:
    """Chapter 1: the history comes in, and the drift check starts an evolution by itself."""
    template = parse_template(story.evolution.template(story.evolution.rules(SKILL)))
    told = story.host.run(template, story.pairs, version=1)
    batch = story.evolution.feedback(SKILL, told)
    right = sum(note.label == "ok" for note in batch.notes)
    story.tell(f"{len(batch.notes)} named pictures came in; {right} names are right ({right / len(batch.notes):.2f}).")
    while True:
        with story.evolution.database.read() as session:
            run = session.scalar(select(RunRow).where(RunRow.kind == "evolution").order_by(RunRow.id).limit(1))
            ended = session.scalar(select(RunRow).where(RunRow.ended_at.is_not(None)).limit(1))
        if run is not None:
            story.tell(f"Drift: {run.reason}. Run r{run.id} breeds better prompts.")
            return run.id
        if ended is not None:
            raise EvolutionError(f"The drift check found nothing to do: {ended.ending_reason}")
        story.wait()


def _user_works(story: Story, home: Home, run: int) -> None:
    """Chapter 2: in the middle of the search the user's own program needs the model; evolution makes room."""
    while True:
        with story.evolution.database.read() as session:
            step = session.scalar(
                select(StepRow).where(StepRow.run_id == run, StepRow.stage == Stage.MUTATE, StepRow.visit == 2)  # noqa: PLR2004 - the first generation is bred in visit 2
            )
            busy = step is not None and step.state == StepState.RUNNING
        if busy:
            break
        story.wait()
    story.tell("The user's own program needs the model ...")
    with foreground(home.root):
        waits = _waits_for(story, run)
    story.tell(f"... and is done; evolution made room ({waits}). The search goes on where it was.")


def _waits_for(story: Story, run: int) -> str:
    """Keep working until the pipeline shows that it waits, and return its words for it."""
    while True:
        with story.evolution.database.read() as session:
            words = session.scalar(
                select(StepRow.waiting_for).where(StepRow.run_id == run, StepRow.waiting_for != "").limit(1)
            )
        if words:
            return words
        story.wait()


def _vote_until_decided(story: Story, run: int) -> str:
    """Chapter 3: blind ballots are voted on until the votes decide."""
    votes = 0
    seen = ""
    while True:
        with story.evolution.database.read() as session:
            row = session.get_one(RunRow, run)
            stage = session.scalar(
                select(StepRow.stage).where(StepRow.run_id == run).order_by(StepRow.id.desc()).limit(1)
            )
        if stage != seen and stage in (Stage.JUDGE, Stage.DEDUPE, Stage.BANDIT):
            story.tell(
                {"judge": "The judge rates the finalists.", "dedupe": "Those that say the same are dropped."}.get(
                    stage, "Blind ballots are ready."
                )
            )
            seen = stage
        if row.ended_at is not None:
            story.tell(f"{votes} votes were cast.")
            return row.ending
        ballot = story.evolution.next_ballot(SKILL)
        if ballot is None:
            if stage == Stage.BANDIT:
                _name_more(story)
            story.wait()
            continue
        choice, position = story.voter.choose(ballot)
        counted = story.evolution.vote(ballot.ballot, choice, position=position, voter="simulated voter")
        votes += choice is not Choice.SKIP
        if counted.verdict.winner is not None:
            story.tell(f"Decided: {counted.verdict.reason}.")


def _name_more(story: Story) -> None:
    """Name a few new pictures with the prompt in use; some of them become ballots, and nobody has said yet if they are right."""
    few, story.later[:FEW] = story.later[:FEW], []
    if few:
        template = parse_template(story.evolution.template(story.evolution.rules(SKILL)))
        told = story.host.run(template, few, version=1)
        story.evolution.feedback(SKILL, [replace(one, expected=None) for one in told])


def _bad_promotion(story: Story) -> int:
    """Chapter 4: somebody puts a prompt of his own in use by hand, without a vote. Returns its version."""
    started = story.evolution.create(SKILL, (BAD,), reason="a person's own idea, for the demo")
    story.evolution.cancel(started.run, "no patience for a vote")
    with story.evolution.database.read() as session:
        variant = session.scalar(select(VariantRow.variant_id).where(VariantRow.run_id == started.run))
        assert variant is not None
    story.evolution.promote(SKILL, variant, force=True, reason="a mistake, for the demo")
    version = story.evolution.rules(SKILL).skill.version
    story.tell(f"Somebody's own prompt is put in use by hand, without a vote, as version {version} ...")
    return version


def _until_rolled_back(story: Story, version: int) -> int | None:
    """Chapter 5: the host goes on with the bad prompt, and the pipeline puts the previous one back."""
    template = parse_template(story.evolution.template(story.evolution.rules(SKILL)))
    for start in range(0, AGAIN, 5):
        pairs = story.pairs[start : start + 5]
        batch = story.evolution.feedback(SKILL, story.host.run(template, pairs, version=version, prefix="again-"))
        if batch.check is not None:
            break
    while True:
        with story.evolution.database.read() as session:
            run = session.scalar(select(RunRow).where(RunRow.ending == Ending.ROLLED_BACK).limit(1))
            waiting = session.scalar(select(RunRow.id).where(RunRow.ended_at.is_(None)).limit(1))
        if run is not None:
            story.tell(f"... and rolled back by the pipeline: {run.reason}.")
            return run.id
        if waiting is None:
            story.tell("... and it did well enough to stay: no rollback.")
            return None
        story.wait()


@contextlib.contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """Use the given folder and keep it, or a temporary one.

    Raises:
        EvolutionError: the folder is not empty.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="evoctl-demo-") as name:
            yield Path(name)
        return
    folder = Path(keep).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise EvolutionError(f"The folder {folder} is not empty.", hint="Name a new folder with --keep.")
    yield folder


def _next_steps(home: Home) -> str:
    where = f"--home {home.root} --config {home.config}"
    commands = (f"evoctl {where} status", f"evoctl {where} results {SKILL}", f"evoctl {where} up")
    return "\nEverything is kept. Look around:\n" + "".join(f"  {command}\n" for command in commands)
