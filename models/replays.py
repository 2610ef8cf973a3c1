"""What a replay found, kept with its run as JSON: outcomes by part and prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.search_tables import EvaluationRow
from models.tables import VariantRow
from models.work_tables import EvolutionRow
from pipeline.decision import INCUMBENT, Paired
from pipeline.domain import MutationType, SampleId, Split, VariantId
from pipeline.population import Outcome
from pipeline.replay import Replay, Replayed

PARTS = ("select", "confirm", "report")


def to_json(found: Replay) -> str:
    """Write a replay for `EvolutionRow.replay`: per part and prompt, lists of [sample, score, right]."""
    parts: dict[str, dict[str, list[list[float]]]] = {
        part: {
            str(int(one.variant)): [[int(o.sample), round(o.value, 6), int(o.correct)] for o in getattr(one, part)]
            for one in found.prompts
            if getattr(one, part)
        }
        for part in PARTS
    }
    return json.dumps({"kept": [int(v) for v in found.kept], "reason": found.reason, **parts})


def replay_of(evolution: EvolutionRow | None) -> Replay | None:
    """Return the replay of an evolution; None where there was none, or it was decided against."""
    data = _data(evolution)
    if "kept" not in data:
        return None
    variants = sorted({int(v) for part in PARTS for v in data.get(part, {})})
    prompts = tuple(
        Replayed(variant=VariantId(v), **{part: _outcomes(data.get(part, {}).get(str(v), ())) for part in PARTS})
        for v in variants
    )
    kept = tuple(VariantId(v) for v in data["kept"])
    return Replay(prompts=prompts, kept=kept, served_by=(), reason=str(data.get("reason", "")))


def replayed_samples(evolution: EvolutionRow | None) -> frozenset[int]:
    """Return the held-out tasks that a replay has used up: a vote on them would count the same answers twice."""
    data = _data(evolution)
    parts = [rows for part in ("confirm", "report") for rows in data.get(part, {}).values()]
    return frozenset(int(row[0]) for rows in parts for row in rows)


def flags_of(evolution: EvolutionRow | None, variants: tuple[int, ...]) -> dict[int, Paired]:
    """Return right and wrong answers of each variant beside the incumbent's, on samples that nothing was selected on."""
    found = replay_of(evolution)
    if found is None:
        return dict.fromkeys(variants, Paired())
    return {variant: found.flags(VariantId(variant)) for variant in variants}


def known(session: Session, run: int) -> Mapping[VariantId, tuple[Outcome, ...]]:
    """Return what the search of *run* measured on the select part: the incumbent's outcomes, and its variants'."""
    rows = session.execute(
        select(EvaluationRow, VariantRow.mutation_type)
        .join(VariantRow, VariantRow.variant_id == EvaluationRow.variant_id)
        .where(VariantRow.run_id == run, EvaluationRow.split == Split.SELECT)
        .order_by(EvaluationRow.id)
    )
    found: dict[VariantId, list[Outcome]] = {}
    for row, kind in rows:
        variant = INCUMBENT if kind == MutationType.SEED else VariantId(row.variant_id)
        outcome = Outcome(sample=SampleId(row.sample_id), value=row.value, correct=row.correct)
        found.setdefault(variant, []).append(outcome)
    return {variant: tuple(outcomes) for variant, outcomes in found.items()}


def _outcomes(rows: Any) -> tuple[Outcome, ...]:
    return tuple(Outcome(sample=SampleId(int(s)), value=float(value), correct=bool(right)) for s, value, right in rows)


def _data(evolution: EvolutionRow | None) -> dict[str, Any]:
    return dict(json.loads(evolution.replay)) if evolution is not None and evolution.replay else {}
