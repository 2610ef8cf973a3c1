"""Settings of the judge: how it is asked, what passes, who is asked when it is unsure, and when it is measured."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.setting import Status
from pipeline.setting import setting as _set

CHECKLIST, RUBRIC, FLOW_JUDGE = PROTOCOLS = ("checklist", "rubric", "flow-judge")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How finalists are judged."""

    protocol: str = _set(
        "checklist",
        "checklist: seven yes/no questions of one token; rubric: four scores as JSON; flow-judge: Flow Judge's own format",
        source="RocketEval, CheckEval",
        status=Status.PUBLISHED,
        choices=PROTOCOLS,
    )
    pass_mark: float = _set(
        60.0, "score that passes (checklist, rubric)", unit="0-100", source="seed documents", low=0, high=100
    )
    flow_pass_mark: float = _set(
        70.0, "score that passes (flow-judge)", unit="0-100", source="seed documents", low=0, high=100
    )
    veto: float = _set(
        0.2, "a good answer to a veto question less likely than this rejects", source="peer study", low=0, high=1
    )
    retries: int = _set(2, "further tries when the reply cannot be read", low=0, high=5)
    num_predict: int = _set(160, "most tokens of one verdict (rubric)", unit="tokens", low=16, high=2000)
    flow_num_predict: int = _set(
        1000, "most tokens of one verdict (flow-judge)", unit="tokens", source="Flow Judge card", low=16, high=2000
    )
    pairwise: bool = _set(True, "compare those that pass with the prompt in use, in both orders; decides nothing")
    escalate_to: str = _set("", "tag of a second, local judge, asked where the first is unsure; empty asks none")
    escalate_protocol: str = _set("flow-judge", "how the second judge is asked", source="issue", choices=PROTOCOLS)
    escalate_within: float = _set(
        5.0,
        "a score this near to the mark is unsure; so is one half of whose answers are",
        unit="0-100",
        low=0,
        high=50,
    )
    check_every_d: float = _set(
        7.0,
        "a judge is measured anew after so long; 0: never by itself, and an unmeasured judge's verdicts count",
        unit="d",
        source="peer study",
        low=0,
        high=365,
    )
    least_youden: float = _set(0.5, "Youden's J below which verdicts are advisory", source="peer study", low=0, high=1)
    least_tnr: float = _set(
        0.6, "lower 95 % bound of the share of bad prompts caught, below which they are advisory",
        source="peer study", low=0, high=1,
    )  # fmt: skip

    def mark(self, protocol: str) -> float:
        """Return the score that passes under *protocol*."""
        return self.flow_pass_mark if protocol == FLOW_JUDGE else self.pass_mark
