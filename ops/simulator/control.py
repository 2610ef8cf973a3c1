"""The simulator's own paths under `/_simulator`: what tests read and turn; a real server has none of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict

from ops.simulator.core import Visit
from ops.simulator.errors import BadBody
from ops.simulator.knobs import ordered_fault, turned
from ops.simulator.wire import Body


def requests(visit: Visit) -> None:
    """List the requests, those above `?since=N` when given."""
    since = visit.query.get("since", "0")
    entries = visit.core.log.entries(int(since) if since.isdigit() else 0)
    visit.exchange.reply_json({"requests": [asdict(entry) for entry in entries]})


def counts(visit: Visit) -> None:
    """Count the inference requests."""
    found = visit.core.log.counts()
    loads = Counter(one.tag for one in visit.core.scheduler.history() if one.what == "load")
    evicted = Counter(one.tag for one in visit.core.scheduler.history() if one.what == "evicted")
    extra = {"paid_twice": found.paid_twice, "loads": dict(loads), "evicted": dict(evicted)}
    visit.exchange.reply_json(asdict(found) | extra)


def show_knobs(visit: Visit) -> None:
    """Tell how the knobs stand."""
    visit.exchange.reply_json(asdict(visit.core.knobs))


def turn_knobs(visit: Visit) -> None:
    """Turn the knobs named in the body; the reply tells how all of them stand."""
    try:
        visit.core.knobs = turned(visit.core.knobs, read(visit.raw))
    except ValueError as error:
        raise BadBody(str(error)) from error
    show_knobs(visit)


def fail(visit: Visit) -> None:
    """Order a failure; `{"clear": true}` forgets all that were ordered."""
    wanted = read(visit.raw)
    if wanted.pop("clear", None):
        visit.core.faults.clear()
    if wanted:
        try:
            visit.core.faults.add(ordered_fault(wanted))
        except ValueError as error:
            raise BadBody(str(error)) from error
    visit.exchange.reply_json({})


def read(raw: bytes) -> Body:
    """Read the body as a JSON object."""
    try:
        body = json.loads(raw or b"{}")
    except json.JSONDecodeError as error:
        raise BadBody(str(error)) from error
    if not isinstance(body, dict):
        raise BadBody("the body must be a JSON object")
    return body
