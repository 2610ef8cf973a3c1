"""The searches that are compared, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One search.

    Attributes:
        name: as in the table.
        feedback: what it is told of a wrong answer: `what` was lost, `plain` (the right answer), or only the `score`.
        driver: the script that runs a peer; empty for our own search.
        options: the driver's own.
        slow: costs so much processor time that fewer seeds are run.
        search: which of our own searches.
    """

    name: str
    feedback: str
    driver: str = ""
    options: Mapping[str, int | str] = field(default_factory=dict)
    slow: bool = False
    search: str = ""


METHODS: tuple[Method, ...] = (
    Method(name="race what", feedback="what", search="race"),
    Method(name="race plain", feedback="plain", search="race"),
    Method(name="race score", feedback="score", search="race"),
    Method(name="promptbreeder what", feedback="what", search="promptbreeder"),
    Method(name="gepa what mb8", feedback="what", driver="driver_gepa.py", options={"minibatch": 8}),
    Method(name="gepa what mb3", feedback="what", driver="driver_gepa.py", options={"minibatch": 3}),
    Method(name="gepa what default", feedback="what", driver="driver_gepa.py", options={"minibatch": 3, "valset": "none"}),
    Method(name="gepa plain mb8", feedback="plain", driver="driver_gepa.py", options={"minibatch": 8}),
    Method(name="gepa plain mb3", feedback="plain", driver="driver_gepa.py", options={"minibatch": 3}),
    Method(name="gepa score mb3", feedback="score", driver="driver_gepa.py", options={"minibatch": 3}),
    Method(name="simba what", feedback="what", driver="driver_dspy.py", slow=True),
    Method(name="simba plain", feedback="plain", driver="driver_dspy.py", slow=True),
    Method(name="evoprompt-ga score", feedback="score", driver="driver_promptolution.py", options={"optimizer": "ga"}, slow=True),
    Method(name="capo score", feedback="score", driver="driver_promptolution.py", options={"optimizer": "capo"}, slow=True),
)  # fmt: skip
"""Minibatches of 3 are GEPA's default; so is to validate on the whole training set, which `default` does and the others do not. EvoPrompt and CAPO have no place for feedback."""
