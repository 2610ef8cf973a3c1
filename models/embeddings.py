"""Vectors of prompts, by the profile that they may be compared within, and the labelled pairs that calibrate one."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from importlib.resources import files

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from models.prompts import text_sha
from models.tables import EmbeddingRow
from pipeline.dedupe import Remembered
from pipeline.redundancy import HASHED, LabelledPair, Limits, calibrate, hashed

ASKED = 500  # texts in one question to the database


@lru_cache(maxsize=1)
def kit() -> tuple[LabelledPair, ...]:
    """Return the 104 labelled pairs that every profile is calibrated on."""
    text = files("models").joinpath("data/labelled-pairs.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return tuple(LabelledPair(row["cls"], row["a"], row["b"]) for row in rows)


def remember(
    session: Session, profile: str, texts: Sequence[str], vectors: Iterable[Sequence[float]], now: datetime
) -> None:
    """Keep vectors that are not known yet."""
    for text, vector in zip(texts, vectors, strict=True):
        key = (text_sha(text), profile)
        if session.get(EmbeddingRow, key) is None:
            packed = array("f", vector).tobytes()
            session.add(EmbeddingRow(text_sha=key[0], profile=key[1], vector=packed, created_at=now))
            session.flush()


def remembered(session: Session, texts: Sequence[str]) -> tuple[Remembered, ...]:
    """Return the known vectors of *texts*, one value for each profile."""
    by_sha = {text_sha(text): text for text in texts}
    shas, found = list(by_sha), dict[str, dict[str, bytes]]()
    for start in range(0, len(shas), ASKED):
        rows = session.execute(
            select(EmbeddingRow.text_sha, EmbeddingRow.profile, EmbeddingRow.vector).where(
                EmbeddingRow.text_sha.in_(shas[start : start + ASKED])
            )
        )
        for sha, profile, vector in rows:
            found.setdefault(profile, {})[by_sha[sha]] = vector
    return tuple(
        Remembered(
            profile,
            {text: row for row, text in enumerate(vectors)},
            np.frombuffer(b"".join(vectors.values()), dtype="<f4").reshape(len(vectors), -1),
        )
        for profile, vectors in found.items()
    )


def calibrated(session: Session) -> tuple[Limits, ...]:
    """Return the limits of every profile that all labelled pairs have vectors of, and of the hashed letters."""
    pairs = kit()
    texts = [text for pair in pairs for text in (pair.a, pair.b)]
    first, second = hashed([pair.a for pair in pairs]), hashed([pair.b for pair in pairs])
    found = [calibrate(HASHED, pairs, [float(a @ b) for a, b in zip(first, second, strict=True)])]
    for one in remembered(session, texts):
        if all(text in one.rows for text in texts):
            rows = [(one.rows[pair.a], one.rows[pair.b]) for pair in pairs]
            found.append(calibrate(one.profile, pairs, [float(one.vectors[a] @ one.vectors[b]) for a, b in rows]))
    return tuple(found)
