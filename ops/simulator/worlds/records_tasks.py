"""The tasks of the records world: order notes, their right records, and which rule each of them would miss.

A record is one line of `key=value` parts, for example `order=48213; date=2026-03-04; qty=12 kg; lang=de`. Every draw hangs on
the world's seed and the task's number alone, so a task goes wrong in the same way whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.simulator.worlds.draws import between, chance, choose, shuffled
from ops.simulator.worlds.records_rules import HARMS, RULES, Reading

POPULATION = 2000  # tasks in a world; 0.05 points each
STUBBORN = 0.04  # share of the tasks that no prompt gets right
PARTS = (4, 6)  # fewest and most parts of a note beside its number
KEYS = ("date", "name", "qty", "item", "code", "price", "phone", "lang", "country", "flag")

GIVEN = ("Anna", "Bruno", "Clara", "David", "Elena", "Felix", "Greta", "Hugo", "Irene", "Jonas", "Katja", "Louis")
FAMILY = (
    "Berg",
    "Costa",
    "Duval",
    "Eriksen",
    "Fischer",
    "Greco",
    "Hansen",
    "Ivanov",
    "Jensen",
    "Keller",
    "Lopez",
    "Moreau",
)
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
UNITS = (("kilos", "kg"), ("litres", "l"), ("boxes", "box"), ("pallets", "pal"), ("metres", "m"))
ITEMS = (
    "Rye Flour",
    "Oak Boards",
    "Sea Salt",
    "Olive Oil",
    "Wool Yarn",
    "Copper Wire",
    "Green Tea",
    "White Paint",
    "Pine Resin",
    "Black Beans",
)
MONEY = (("euros", "EUR"), ("dollars", "USD"), ("pounds", "GBP"))
LANGUAGES = (("German", "de"), ("French", "fr"), ("Spanish", "es"), ("Italian", "it"), ("Dutch", "nl"))
COUNTRIES = (("Germany", "DE"), ("France", "FR"), ("Spain", "ES"), ("Italy", "IT"), ("Norway", "NO"))
DIALS = ("49", "33", "34", "39", "47")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a task: what the note says, the right value, and the value of a model that lacks the rule."""

    clause: str
    right: str
    naive: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One order note.

    Attributes:
        number: five digits, unique in its world.
        parts: the parts by key, in the order of the record.
        misses: bit set of the rules that the model needs to be told for this task.
        spoils: bit set of the harms that spoil this task.
        stubborn: the model gets a value wrong whatever it is told.
        patience: in [0, 1); a prompt that spoils a larger share of the tasks spoils this one.
    """

    number: str
    note: str
    parts: tuple[tuple[str, Part], ...]
    misses: int
    spoils: int
    stubborn: bool
    patience: float

    @property
    def expected(self) -> str:
        """Give the right record."""
        return "; ".join([f"order={self.number}", *(f"{key}={part.right}" for key, part in self.parts)])

    def solved(self, reading: Reading) -> bool:
        """Tell whether the model gets the task right under an instruction, at temperature 0."""
        failed = self.stubborn or self.misses & ~reading.rules or self.spoils & reading.harms
        return not failed and self.patience >= reading.spoiled


def make_task(seed: int, number: str) -> Task:
    """Draw one task."""
    key = (seed, number)
    count = between(*PARTS, "count", *key)
    chosen = set(shuffled(KEYS, "keys", *key)[:count])
    parts = {name: MAKERS[name]((*key, name)) for name in KEYS if name in chosen}
    clauses = shuffled([part.clause for part in parts.values()], "clauses", *key)
    return Task(
        number=number, note=" ".join([choose(OPENERS, "opener", *key).format(number), *clauses]), parts=tuple(parts.items()),
        misses=drawn_misses(chosen, key), spoils=drawn_spoils(chosen, key),
        stubborn=chance("stubborn", *key) < STUBBORN, patience=chance("patience", *key),
    )  # fmt: skip


def drawn_misses(keys: set[str], key: tuple[object, ...]) -> int:
    """Draw which of the rules that concern a task it would miss."""
    return sum(
        1 << bit
        for bit, rule in enumerate(RULES)
        if (not rule.key or rule.key in keys) and chance("rule", rule.lost, *key) < rule.rate
    )


def drawn_spoils(keys: set[str], key: tuple[object, ...]) -> int:
    """Draw which harms spoil a task."""
    return sum(
        1 << bit
        for bit, harm in enumerate(HARMS)
        if (not harm.key or harm.key in keys) and chance("harm", bit, *key) < harm.rate
    )


OPENERS = ("Order {} came in by mail.", "Here is order {} from this morning.", "We got order {} over the counter.")


def _date(key: tuple[object, ...]) -> Part:
    month, day = between(1, 12, "month", *key), between(1, 28, "day", *key)
    said = f"{MONTHS[month - 1]} {day}, 2026"
    clause = choose(("It should arrive on {}.", "They want it by {}.", "Delivery was promised for {}."), "said", *key)
    return Part(clause.format(said), f"2026-{month:02}-{day:02}", said.removesuffix(", 2026"))


def _name(key: tuple[object, ...]) -> Part:
    given, family = choose(GIVEN, "given", *key), choose(FAMILY, "family", *key)
    clause = choose(("It was placed by {}.", "The buyer is {}.", "Please thank {} for it."), "said", *key)
    return Part(clause.format(f"{given} {family}"), f"{family}, {given}", f"{given} {family}")


def _qty(key: tuple[object, ...]) -> Part:
    number, (said, unit) = between(2, 90, "number", *key), choose(UNITS, "unit", *key)
    clause = choose(("They take {} {}.", "Pack {} {} of it.", "It comes to {} {}."), "said", *key)
    return Part(clause.format(number, said), f"{number} {unit}", f"{number}")


def _item(key: tuple[object, ...]) -> Part:
    said = choose(ITEMS, "item", *key)
    clause = choose(("The goods are {}.", "They asked for {}.", "It is about {}."), "said", *key)
    return Part(clause.format(said), said.lower(), said)


def _code(key: tuple[object, ...]) -> Part:
    letters, number = choose(("ab", "cx", "kt", "mr", "zp"), "letters", *key), between(2, 999, "number", *key)
    clause = choose(("In the catalogue that is {}.", "The label says {}.", "It is listed as {}."), "said", *key)
    return Part(clause.format(f"{letters} {number}"), f"{letters.upper()}-{number:04}", f"{letters} {number}")


def _price(key: tuple[object, ...]) -> Part:
    number, (said, code) = between(5, 400, "number", *key), choose(MONEY, "money", *key)
    clause = choose(("We agreed on {} {}.", "It costs {} {}.", "They pay {} {} on delivery."), "said", *key)
    return Part(clause.format(number, said), f"{number}.00 {code}", f"{number} {said}")


def _phone(key: tuple[object, ...]) -> Part:
    dial, area, line = choose(DIALS, "dial", *key), between(10, 99, "area", *key), between(10000, 99999, "line", *key)
    clause = choose(("Call 00{} {} {} before you come.", "The line to ring is 00{} {} {}."), "said", *key)
    return Part(clause.format(dial, area, line), f"+{dial}{area}{line}", f"00{dial} {area} {line}")


def _lang(key: tuple[object, ...]) -> Part:
    said, code = choose(LANGUAGES, "language", *key)
    clause = choose(("They write to us in {}.", "The papers should be in {}.", "Speak {} with them."), "said", *key)
    return Part(clause.format(said), code, said)


def _country(key: tuple[object, ...]) -> Part:
    said, code = choose(COUNTRIES, "country", *key)
    clause = choose(("Ship it to {}.", "It goes to {}.", "The truck leaves for {}."), "said", *key)
    return Part(clause.format(said), code, said)


def _flag(key: tuple[object, ...]) -> Part:
    clause = choose(
        ("They are in a great hurry.", "It is rather urgent.", "Nothing may delay it, they say."), "said", *key
    )
    return Part(clause, "URGENT", "")


MAKERS: dict[str, Callable[[tuple[object, ...]], Part]] = {
    "date": _date, "name": _name, "qty": _qty, "item": _item, "code": _code,
    "price": _price, "phone": _phone, "lang": _lang, "country": _country, "flag": _flag,
}  # fmt: skip
