"""Start a measurement of the judge because a person asks for it."""

from __future__ import annotations

from models import checks
from pipeline.errors import Refused
from workers.client import Evolution, Started
from workers.clock import now
from workers.refusal import refuse_without_options


def start_judge_check(evolution: Evolution) -> Started:
    """Measure the judge on the canaries now, whatever is known of it; the run is the first skill's.

    A measurement that is under way, or that waits, is the one that was asked for: its calls are paid once.

    Raises:
        Refused: no skill is configured.
    """
    names = list(evolution.config.skills)
    if not names:
        where = evolution.home.config
        raise Refused(
            "There is no skill.",
            why=f"A run belongs to one, and {where} describes none.",
            hint="Describe one there under 'skills:', or evoctl init --example --config ANOTHER writes an example.",
        )
    rules = evolution.rules(names[0])
    refuse_without_options(rules, evolution.config)
    with evolution.database.write() as session:
        run = checks.open_judge_check(session, rules)
        bells = [] if run else [checks.start_judge_check(session, rules, evolution.template(rules), now())]
    return Started(run=run or bells[0].run, rung=evolution.ring(bells))
