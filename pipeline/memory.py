"""Whether a model may be loaded now: the prediction that Ollama makes, and a plan that never costs the user a model.

Ollama unloads an idle model, perhaps the user's, when the next one does not fit beside it by its own prediction. So the
same prediction is made here first, and a load that would not fit is not asked for. Sizes are in bytes; GB are 10^9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

BYTES_PER_VALUE = 2  # keys and values are kept as 16-bit numbers
GB, MIB = 1e9, 2**20


class Step(StrEnum):
    """What to do before a model is asked."""

    GO = "go"
    UNLOAD = "unload"  # evolution's own idle models first, then go on
    WAIT = "wait"
    REFUSE = "refuse"  # no waiting helps


class Owner(StrEnum):
    """Whose model it is."""

    OWN = "own"  # evolution's, and idle: it makes one request at a time
    FOREGROUND = "foreground"
    OTHER = "other"  # of another program


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model that the server lists as loaded."""

    tag: str
    memory_bytes: int
    owner: Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The model to be asked.

    Attributes:
        need_bytes: what Ollama will predict for it; None when that cannot be known.
        foreground: it is the user's own, to which evolution's share does not apply.
        loaded: it is loaded with the load options that the request has.
    """

    tag: str
    need_bytes: int | None
    foreground: bool = False
    loaded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What there is.

    Attributes:
        free_bytes: memory that programs can still have; None when the server runs on another machine.
        total_bytes: all of it; None as above.
        share_bytes: most that evolution's own models may take together.
        fit: largest share of what is free that a prediction may take, in (0, 1).
        keep_bytes: what stays free after a load.
        max_loaded: most models that the server keeps loaded.
    """

    free_bytes: int | None
    total_bytes: int | None
    share_bytes: int
    fit: float
    keep_bytes: int
    max_loaded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do, and why.

    Attributes:
        unload: evolution's own idle models that have to go first; only with `Step.UNLOAD`.
        words: the arithmetic; empty with `Step.GO`.
        setting: the setting that forbids it; empty when it is the machine.
    """

    step: Step
    unload: tuple[str, ...] = ()
    words: str = ""
    setting: str = ""


def bytes_per_token(model_info: Mapping[str, object]) -> int | None:
    """Return what one token of context costs, as Ollama 0.30 and later reckon; None where the metadata do not say.

    >>> bytes_per_token({"general.architecture": "llama", "llama.block_count": 32, "llama.attention.head_count": 15,
    ...     "llama.attention.head_count_kv": 5, "llama.embedding_length": 960})
    40960
    """
    family = model_info.get("general.architecture")
    names = ("block_count", "attention.head_count_kv", "embedding_length", "attention.head_count")
    layers, kv_heads, length, heads = (_count(model_info.get(f"{family}.{name}")) for name in names)
    if layers is None or kv_heads is None or length is None or heads is None:
        return None
    return 2 * layers * kv_heads * (length // heads) * BYTES_PER_VALUE or None


def predicted_bytes(file_bytes: int, model_info: Mapping[str, object], num_ctx: int, parallel: int) -> int | None:
    """Return the memory that Ollama predicts for a model before it loads it; None where the metadata do not say.

    Args:
        file_bytes: size of the model's file.
        model_info: of `/api/show`.
        num_ctx: context of one request, in tokens.
        parallel: OLLAMA_NUM_PARALLEL.
    """
    each = bytes_per_token(model_info)
    if each is None or file_bytes <= 0 or num_ctx <= 0 or parallel <= 0:
        return None
    return file_bytes + each * num_ctx * parallel


def plan(wanted: Wanted, loaded: Sequence[Loaded], room: Room) -> Plan:
    """Decide what to do before *wanted* is asked.

    Own idle models go only when the load does not fit beside them, the largest first, and only when their going is
    enough: else nothing is given up for a load that must wait all the same. The user's model and those of other
    programs are never asked to go, and a load that would make the server unload one of them waits.
    """
    if wanted.loaded:
        return Plan(step=Step.GO)
    never = _never(wanted, room)
    if never is not None:
        return never
    if any(one.tag == wanted.tag and one.owner is Owner.FOREGROUND for one in loaded):
        words = f"the load options for {wanted.tag} differ from those it is loaded with: it would be loaded anew"
        return Plan(step=Step.WAIT, words=words, setting="foreground.options")
    others = [one for one in loaded if one.tag != wanted.tag]  # the same one with other options makes room for itself
    given_up = [one for one in loaded if one.tag == wanted.tag]
    idle = sorted((one for one in others if one.owner is Owner.OWN), key=lambda one: (-one.memory_bytes, one.tag))
    unload: list[Loaded] = []
    while (why := _against(wanted, others, sum(one.memory_bytes for one in (*given_up, *unload)), room)) and idle:
        unload.append(idle.pop(0))
        others.remove(unload[-1])
    if why:
        return Plan(step=Step.WAIT, words=f"{why}, without evolution's idle models" if unload else why)
    if unload:
        names = ", ".join(one.tag for one in unload)
        return Plan(step=Step.UNLOAD, unload=tuple(one.tag for one in unload), words=f"{names} made room")
    return Plan(step=Step.GO)


def _never(wanted: Wanted, room: Room) -> Plan | None:
    """Refuse what no waiting can make fit."""
    need = wanted.need_bytes
    if need is None:
        return None
    if not wanted.foreground and need > room.share_bytes:
        words = f"{wanted.tag} needs {_gb(need)}; evolution's models may take {_gb(room.share_bytes)}"
        return Plan(step=Step.REFUSE, words=words, setting="memory.share_mib")
    if room.total_bytes is None:
        return None
    if need > _limit(room.total_bytes, room):
        words = f"{wanted.tag} needs {_gb(need)}; {_limit_words(room.total_bytes, room, 'of memory')}"
        return Plan(step=Step.REFUSE, words=words)
    return None


def _against(wanted: Wanted, others: Sequence[Loaded], freed: int, room: Room) -> str:
    """Say what stands against a load beside *others*, when *freed* bytes have become free; empty when nothing does."""
    need = wanted.need_bytes
    theirs = [one.tag for one in others if one.owner is not Owner.OWN]
    if need is None and theirs:
        return f"what {wanted.tag} needs cannot be predicted (its metadata lack it), and {theirs[0]} is loaded"
    if len(others) + 1 > room.max_loaded:
        names = ", ".join(one.tag for one in others)
        return f"{wanted.tag} would be one model more than the {room.max_loaded} that Ollama keeps; loaded: {names}"
    if need is None:
        return ""
    ours = sum(one.memory_bytes for one in others if one.owner is Owner.OWN)
    if not wanted.foreground and need + ours > room.share_bytes:
        share = f"evolution's models take {_gb(ours)} of {_gb(room.share_bytes)}"
        return f"{wanted.tag} needs {_gb(need)}; {share}"
    if room.free_bytes is None:
        return ""
    free = max(0, room.free_bytes + freed)
    return "" if need <= _limit(free, room) else f"{wanted.tag} needs {_gb(need)}; {_limit_words(free, room, 'free')}"


def _limit(size: int, room: Room) -> float:
    return max(0.0, min(room.fit * size, size - room.keep_bytes))


def _limit_words(size: int, room: Room, what: str) -> str:
    """Put the limit into words, such as `80 % of 0.55 GB free is 0.44 GB`."""
    if room.fit * size <= size - room.keep_bytes:
        return f"{room.fit * 100:.3g} % of {_gb(size)} {what} is {_gb(_limit(size, room))}"
    return f"{_gb(room.keep_bytes)} of {_gb(size)} {what} stays free"


def _gb(size: float) -> str:
    return f"{size / GB:.2f} GB"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
