"""The people of the world: they start tests, bring tasks in, vote, and remember each vote outside the database."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from pipeline.domain import Choice
from pipeline.errors import EvolutionError, NotFound, Refused
from tests.chaos.world import SKILLS, World, unknown

FEED = 24  # new tasks at a time
STYLE = "kebab-case"
GOOD = f"Name it in {STYLE}, lower case, with words of the description, in version {{}}."
OTHER = "Write a short file name with underscores, in version {}."
THIRD = "Write a long Name With Capitals And Spaces, in version {}."
REFUSED = 4  # what evoctl ends with when a rule said no
CANCELLED_AT = 0.3  # share of tries at which a person cancels a run


@dataclass
class People:
    """Everyone who uses the home. For one thread.

    Args:
        world: where they live.
        rng: of what they do; the plan of faults does not go by it.
    """

    world: World
    rng: random.Random
    begun: int = 0
    fed: int = 0

    def live(self, *, begin: bool) -> None:
        """Do what is to be done at this moment: begin a test where none is, vote, bring tasks in."""
        for skill in SKILLS:
            try:
                if self._is_open(skill):
                    self._decide(skill)
                elif begin:
                    self._begin(skill)
            except Refused:
                self.world.counts["refused"] += 1
            except EvolutionError as trouble:  # the database is locked for long: people try again later
                self.world.counts[f"trouble: {trouble.what}"] += 1

    def vote_by_command(self) -> None:
        """Vote in a process of its own, perhaps on what somebody else votes on just now."""
        ballot = self.world.evolution.next_ballot()
        if ballot is not None:
            choice, position = self.world.voter.choose(ballot)
            answer = ["--pick", str(position)] if choice is Choice.PICK else [f"--{choice.value}"]
            number, given = ballot.ballot, (choice.value, position)

            def said(code: int, text: str) -> None:
                if code == 0 and json.loads(text)["data"]["counted"]:
                    self._note(number, given, acknowledged=True)
                elif code not in (0, REFUSED):
                    self._note(number, given, acknowledged=False)

            self.world.evoctl("vote", "--ballot", str(number), *answer, then=said)

    def undo_by_command(self) -> None:
        """Take the newest vote back, if its test still goes on."""
        number = max(self.world.votes, default=0)

        def said(code: int, text: str) -> None:
            if code == 0 and json.loads(text)["data"]["undone"]:
                self.world.undone[number] += 1
                self.world.counts["undone"] += 1

        if number:
            self.world.evoctl("vote", "--ballot", str(number), "--undo", then=said)

    def cancel_by_command(self) -> None:
        """Cancel a run that is open; not often, since little would come to its end."""
        open_runs = self.world.open_runs()
        if open_runs and self.rng.random() < CANCELLED_AT:
            self.world.evoctl("cancel", f"r{self.rng.choice(open_runs)}", "--reason", "chaos")

    def _is_open(self, skill: str) -> bool:
        return bool(self.world.open_runs(skill))

    def _begin(self, skill: str) -> None:
        self.begun += 1
        if self.begun % 2:
            self.world.evolution.enqueue(skill, force=True)
        else:
            now = self.world.evolution.template(self.world.evolution.rules(skill))
            texts = (OTHER, THIRD) if STYLE in now else (GOOD, OTHER)  # what answers alike is never to be voted on
            self.world.evolution.create(skill, [text.format(self.begun) for text in texts], reason="chaos")

    def _decide(self, skill: str) -> None:
        ballot = self.world.evolution.next_ballot(skill)
        if ballot is None:
            if self.world.waits_for_votes(skill):
                self._bring_tasks(skill)
            return
        choice, position = self.world.voter.choose(ballot)
        try:
            counted = self.world.evolution.vote(ballot.ballot, choice, position=position)
        except (Refused, NotFound):
            raise
        except EvolutionError:
            self._note(ballot.ballot, (choice.value, position), acknowledged=False)
            raise
        if counted.fresh:
            self._note(ballot.ballot, (choice.value, position), acknowledged=True)

    def _note(self, ballot: int, answer: tuple[str, int | None], *, acknowledged: bool) -> None:
        if acknowledged:
            self.world.votes.setdefault(ballot, []).append(answer)
            self.world.counts["votes"] += 1
        else:
            self.world.unsure.setdefault(ballot, []).append(answer)
            self.world.counts["votes not acknowledged"] += 1

    def _bring_tasks(self, skill: str) -> None:
        told = self.world.told
        new = [unknown(told[(self.fed + i) % len(told)], f"new-{self.fed + i}") for i in range(FEED)]
        self.fed += FEED
        self.world.evolution.feedback(skill, new)
