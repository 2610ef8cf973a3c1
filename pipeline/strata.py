"""What kinds of tasks come, counted by name, and whether another mix of them comes than before."""

from __future__ import annotations

import re

Counts = tuple[tuple[str, int], ...]  # pairs of a stratum and how many labels it had

STRATA = 12  # strata counted by name; the rest are one, so that a state stays small
OTHER = "other"
NAME_LENGTH = 24  # characters of a stratum's name that are kept
FIELD_LENGTH = 260  # characters of a value in which a file name is looked for: the longest path on Windows
LENGTHS = ((200, "short"), (2000, "medium"))  # characters of an input below which it is called so; ours
LONG, NO_EXTENSION = "long", "-"
FEWEST_EXPECTED = 5.0  # labels per cell from which the chi-square distribution is a good approximation (Cochran 1954)
_EXTENSION = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,8}\Z", re.IGNORECASE | re.ASCII)


def stratum_of(fields: tuple[tuple[str, str], ...]) -> str:
    """Name the kind of a task: the extension of the first file name among its fields, and how long all of it is.

    Args:
        fields: pairs of a field's name and its value.

    >>> stratum_of((("file", "IMG_2041.JPG"), ("note", "x" * 400)))
    '.jpg/medium'
    >>> stratum_of((("text", "It costs 3.50"),))
    '-/short'
    """
    found = (_EXTENSION.search(value.rstrip()) for _, value in fields if len(value) <= FIELD_LENGTH)
    extension = next((match.group().lower() for match in found if match), NO_EXTENSION)
    length = sum(len(value) for _, value in fields)
    return f"{extension}/{next((name for below, name in LENGTHS if length < below), LONG)}"


def counted(counts: Counts, stratum: str, earlier: Counts = (), halve_at: int = 0) -> Counts:
    """Count one more task.

    Args:
        counts: so far.
        stratum: its name.
        earlier: counts of a period that these will be compared with: both together name at most `STRATA` strata, and
            what had no name there gets none here.
        halve_at: at so many tasks all counts are halved, so that old ones fade; 0: never.

    >>> counted((("a", 1),), "b")
    (('a', 1), ('b', 1))
    """
    mix = dict(counts)
    name = stratum[:NAME_LENGTH]
    if name not in mix and len(named := {OTHER, *mix, *dict(earlier)}) > STRATA and name not in named:
        name = OTHER
    mix[name] = mix.get(name, 0) + 1
    if halve_at and sum(mix.values()) >= halve_at:
        mix = {kind: count // 2 for kind, count in mix.items() if count > 1}
    return tuple(mix.items())


def difference(one: Counts, other: Counts) -> float:
    """Return the p-value of the chi-square test that both periods had the same mix, in [0, 1].

    The rarest strata are put together until each cell may expect five tasks, by their counts in both periods, which say
    nothing of a difference. Where fewer than two cells are left, nothing can be said: 1.

    >>> round(difference((("a", 30), ("b", 70)), (("a", 45), ("b", 55))), 3), difference((("a", 90),), (("a", 3),))
    (0.028, 1.0)
    """
    from scipy.special import gammaincc  # noqa: PLC0415 - importing scipy costs 0.3 s

    cells = _cells(dict(one), dict(other))
    if len(cells) < 2:  # noqa: PLR2004 - one cell has no mix
        return 1.0
    sizes = [sum(column) for column in zip(*cells, strict=True)]
    total = sum(sizes)
    chi_square = sum(
        (count - expected) ** 2 / expected
        for cell in cells
        for count, size in zip(cell, sizes, strict=True)
        for expected in [sum(cell) * size / total]
    )
    return float(gammaincc((len(cells) - 1) / 2, chi_square / 2))


def _cells(one: dict[str, int], other: dict[str, int]) -> list[tuple[int, int]]:
    """Return the counts of both periods per stratum, the rarest put together; nothing where a period is empty."""
    smaller, total = min(sum(one.values()), sum(other.values())), sum(one.values()) + sum(other.values())
    if not smaller:
        return []
    cells = {name: (one.get(name, 0), other.get(name, 0)) for name in sorted({*one, *other})}
    while len(cells) > 1:
        rarest, next_rarest = sorted(cells, key=lambda name: sum(cells[name]))[:2]  # of equals the first by name
        if sum(cells[rarest]) * smaller >= FEWEST_EXPECTED * total:
            break
        first, second = cells.pop(rarest), cells[next_rarest]
        cells[next_rarest] = (first[0] + second[0], first[1] + second[1])
    return list(cells.values())
