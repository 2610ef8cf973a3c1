"""The glossary: the words of the domain, each with one meaning, as types."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

SkillName = NewType("SkillName", str)
RunId = NewType("RunId", int)
StepId = NewType("StepId", int)
VariantId = NewType("VariantId", int)
SampleId = NewType("SampleId", int)
BallotId = NewType("BallotId", int)


class Stage(StrEnum):
    """The six stages, in order; the value is the word used in tables, job ids and the CLI."""

    DETECT = "detect"  # has accuracy fallen?
    MUTATE = "mutate"  # breed better prompts
    JUDGE = "judge"  # screen them by rubric
    DEDUPE = "dedupe"  # drop those that say the same
    BANDIT = "bandit"  # let the person's blind choices decide
    PROMOTE = "promote"  # write the winner into the host's configuration, or put the previous one back


class Waiting(StrEnum):
    """What a step waits for when neither a worker nor a model can move it on."""

    FOR_VOTES = "votes"


class Ending(StrEnum):
    """How a run ended; the value is shown to people."""

    HEALTHY = "healthy"  # accuracy holds; nothing to do
    TOO_FEW_SAMPLES = "too-few-samples"  # not enough judged samples to tell
    COOLDOWN = "cooldown"  # the skill evolved a short while ago
    POOR_CANDIDATE = "poor-candidate"  # the skill is marked as one that prompts cannot help
    DISABLED = "disabled"  # evolution or this skill is switched off
    BUSY = "already-evolving"  # another evolution of the skill is open
    NO_IMPROVEMENT = "no-improvement"  # the search found nothing better than the incumbent
    CHECKED = "checked"  # the judge was measured
    NO_SURVIVOR = "no-survivor"  # the judge passed none
    ALL_REDUNDANT = "all-redundant"  # every candidate says what the incumbent says
    KEPT_INCUMBENT = "kept-incumbent"  # the votes did not show a better prompt
    PROMOTED = "promoted"  # the winner is in use
    ROLLED_BACK = "rolled-back"  # the previous prompt is in use again
    REFUSED = "refused"  # a guard stopped a promotion or rollback
    CANCELLED = "cancelled"  # a person stopped it
    FAILED = "failed"  # an error that retries did not cure


Next = Stage | Waiting | Ending
"""Where a decision sends its run: to a stage, to sleep, or to its end."""


class RunKind(StrEnum):
    """What a run is; only evolutions are one per skill at a time and count for the cooldown."""

    DRIFT_CHECK = "drift-check"  # becomes an evolution when it finds drift
    EVOLUTION = "evolution"
    ROLLBACK = "rollback"  # a drift check that found a bad promotion, or a person's command
    PROMOTION = "promotion"  # a person's command
    JUDGE_CHECK = "judge-check"  # the judge on canaries: a person's command; by itself it is part of an evolution


class StepState(StrEnum):
    """Life of a step."""

    READY = "ready"  # may be worked on; the row is the outbox
    RUNNING = "running"  # a job holds it; its epoch fences older ones out
    WAITING = "waiting"  # see Waiting
    DONE = "done"
    FAILED = "failed"  # retries did not cure it


class Role(StrEnum):
    """What a model is used for ("model" alone means a table here)."""

    GENERATOR = "generator"  # writes prompt variants
    JUDGE = "judge"  # scores them
    SECOND_JUDGE = "second-judge"  # scores those of which the judge is unsure
    EMBEDDER = "embedder"  # turns text into vectors
    TASK = "task"  # runs a skill's prompt on a sample


class MutationType(StrEnum):
    """Which operator wrote a variant (PromptBreeder's words, then ours)."""

    SEED = "seed"  # the incumbent itself, first member of the population
    ZERO_ORDER = "zero-order"  # from the problem description alone
    FIRST_ORDER = "first-order"  # mutation prompt + parent
    EDA = "eda"  # the next entry of a list of the population, in random order
    EDA_RANK = "eda-rank"  # the same, in order of fitness
    LINEAGE = "lineage"  # the next entry of the list of the parent's ancestors
    HYPER_ZERO = "hyper-zero"  # new mutation prompt from a thinking style, then first-order
    HYPER_FIRST = "hyper-first"  # improved mutation prompt, then first-order
    LAMARCKIAN = "lamarckian"  # from an accepted answer back to its instruction
    CROSSOVER = "crossover"  # two parents
    CONTEXT_SHUFFLE = "context-shuffle"  # other examples in the prompt
    DIRECT = "direct"  # rewritten from failures and successes (the seeds' meta-prompt)
    REFLECTIVE = "reflective"  # the parent's own failures, with what was lost in each
    PATTERN = "pattern"  # a rule of the task-pattern library
    EDIT = "edit"  # a sentence deleted, swapped or put back
    UNION = "union"  # the new rules of siblings that gained, put together
    CROSS_SKILL = "cross-skill"  # a rule that won for another skill
    MANUAL = "manual"  # a person wrote it


class Fate(StrEnum):
    """What became of a variant."""

    ALIVE = "alive"  # in the population
    REPLACED = "replaced"  # lost a tournament, overwritten by a child of the winner
    DROPPED = "dropped"  # fell behind on the first samples or in the race
    MERGED = "merged"  # its new rules went into a sibling that was raced in its place
    UNCONFIRMED = "unconfirmed"  # ahead in the search, but not on fresh samples
    REFUSED = "refused"  # unparsable, a copy, gibberish or suspicious: never evaluated
    FINALIST = "finalist"  # handed to the judge
    REJECTED = "rejected"  # the judge scored it below the pass mark
    UNPARSABLE = "unparsable"  # the judge's answer could not be read
    PASSED = "passed"  # the judge accepted it
    REDUNDANT = "redundant"  # says what another prompt says
    SURPLUS = "surplus"  # good, but more diverse ones filled the places
    BEHIND = "behind"  # another did better on the logged tasks that chose who goes on the ballots
    ARM = "arm"  # on the ballots
    WINNER = "winner"  # promoted
    LOSER = "loser"  # lost so often that it was dropped; it is not put to the vote again
    UNDECIDED = "undecided"  # the test ended without a word on it


class Label(StrEnum):
    """A person's or scorer's verdict on one sample."""

    OK = "ok"
    BAD = "bad"


class LabelSource(StrEnum):
    """Who judged a sample; a person outranks a scorer."""

    PERSON = "person"
    SCORER = "scorer"
    IMPLICIT = "implicit"  # silence after the maturity time


class Choice(StrEnum):
    """What a person answered to a ballot."""

    PICK = "pick"  # one card is best
    TIE = "tie"  # no difference
    NONE = "none"  # none is good
    SKIP = "skip"  # asks not to be counted


class Split(StrEnum):
    """Which part of the pipeline may look at a sample; drawn from its id, once and for ever."""

    SEARCH = "search"  # 35 %: fitness while breeding, failures and successes shown to the generator
    SELECT = "select"  # 20 %: the search's own confirmation, and which challengers go on the ballots
    CONFIRM = "confirm"  # 35 %: the replay whose evidence the votes start from; what it leaves becomes ballots
    REPORT = "report"  # 10 %: no prompt is ever chosen on these; a likely drop on them stops a promotion


class RollbackCause(StrEnum):
    """Why a previous version comes back."""

    DROP = "accuracy-drop"
    PERSON = "person"


def arm_name(index: int) -> str:
    """Name the variants of a test as the seed documents do.

    >>> arm_name(0), arm_name(2)
    ('variant_a', 'variant_c')
    """
    return f"variant_{chr(ord('a') + index)}"
