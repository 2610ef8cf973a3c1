"""How fast, how large and how broken the simulated server is; each knob stands for a real server's behaviour."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TypeVar

VERSION = "0.33.0-simulated"

HOWS = ("status", "error_line", "reset", "no_done", "repeat", "stall")
"""The ways to fail: an HTTP status; mid-stream an error line, a reset, an end without `done`, a repeat loop, a stall."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DieMidStream:
    """Break every generation after some chunks; `how` is `error_line`, `reset` or `no_done`."""

    after_chunks: int = 1
    how: str = "error_line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The server's behaviour; times in seconds, sizes in bytes, speeds in tokens a second (0 = without delay).

    Attributes:
        hide_while_loading: a model is listed only when it is ready, as since v0.30.
        chunk_tokens: tokens in one streamed chunk while `tokens_per_second` is 0; one otherwise.
        memory_budget: room for loaded models; 0 is unlimited.
        truncate_mode: `half` keeps half of the context of an over-long prompt, `full` all of it (before v0.30).
        prefix_cache: a prompt that begins like the runner's last one needs less prefill.
        runner_processes: each loaded model has a process `llama-server` of its own, with slots to ask for.
        runner_cpu: share of a core that such a process uses while a request runs.
        prefill_cancel_seconds: a client that goes while its prompt is read is noticed only so much later; each look at
            the slots meanwhile puts that off again.
        cache_bytes_per_prompt: memory that such a process keeps for each prompt, up to LLAMA_ARG_CACHE_RAM.
        ps_delay: how long `/api/ps` is blocked by a runner's lock.
        load_error: not empty, every load fails with this text.
        repeat_guard: every generation falls into a loop and is cut without `done`.
        stall_seconds: every generation stands still for so long after `stall_after_chunks`.
    """

    version: str = VERSION
    load_seconds: float = 0.0
    pull_seconds: float = 0.0
    hide_while_loading: bool = True
    tokens_per_second: float = 0.0
    prefill_tokens_per_second: float = 0.0
    chunk_tokens: int = 16
    num_parallel: int = 1
    max_loaded: int = 3
    max_queue: int = 512
    memory_budget: int = 0
    default_keep_alive: float = 300.0
    default_num_ctx: int = 4096
    truncate_mode: str = "half"
    prefix_cache: bool = True
    runner_processes: bool = False
    runner_cpu: float = 0.3
    prefill_cancel_seconds: float = 0.0
    cache_bytes_per_prompt: int = 0
    ps_delay: float = 0.0
    load_error: str = ""
    repeat_guard: bool = False
    die_mid_stream: DieMidStream | None = None
    stall_seconds: float = 0.0
    stall_after_chunks: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One ordered failure.

    Attributes:
        how: one of `HOWS`.
        status, error: the HTTP status, and the text of the error body or error line.
        times: how many matching requests fail.
        path, model: match only this path or tag; empty matches all inference paths, or all tags.
        after_chunks: chunks sent before a mid-stream failure.
        seconds: length of a stall.
    """

    how: str = "status"
    status: int = 500
    error: str = "simulated failure"
    times: int = 1
    path: str = ""
    model: str = ""
    after_chunks: int = 1
    seconds: float = 3600.0


T = TypeVar("T", Knobs, Fault, DieMidStream)


class FaultQueue:
    """The failures that tests have ordered, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Order one more failure."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget all ordered failures."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str, model: str, *, inference: bool) -> Fault | None:
        """Use up one failure that matches a request, if there is one."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.path not in ("", path) or fault.model not in ("", model) or not (fault.path or inference):
                    continue
                if fault.times <= 1:
                    del self._faults[index]
                else:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


def standing_fault(knobs: Knobs) -> Fault | None:
    """Express the knobs that break every generation as a fault."""
    if knobs.die_mid_stream is not None:
        return Fault(how=knobs.die_mid_stream.how, after_chunks=knobs.die_mid_stream.after_chunks)
    if knobs.repeat_guard:
        return Fault(how="repeat")
    if knobs.stall_seconds > 0:
        return Fault(how="stall", seconds=knobs.stall_seconds, after_chunks=knobs.stall_after_chunks)
    return None


def turned(knobs: Knobs, wanted: Mapping[str, object]) -> Knobs:
    """Turn some knobs.

    Raises:
        ValueError: a name is unknown or a value has the wrong type.
    """
    values = dict(wanted)
    die = values.pop("die_mid_stream", knobs.die_mid_stream)
    if isinstance(die, Mapping):
        die = read_fields(DieMidStream(), die)
    if die is not None and not isinstance(die, DieMidStream):
        raise ValueError("die_mid_stream must be null or an object with after_chunks and how")
    return replace(read_fields(knobs, values), die_mid_stream=die)


def ordered_fault(wanted: Mapping[str, object]) -> Fault:
    """Read a failure that a test orders.

    Raises:
        ValueError: a name is unknown, a value has the wrong type, or `how` is unknown.
    """
    fault = read_fields(Fault(), wanted)
    if fault.how not in HOWS:
        raise ValueError(f"how must be one of {', '.join(HOWS)}")
    return fault


def read_fields(base: T, wanted: Mapping[str, object]) -> T:
    """Replace fields of *base* by values of the same type; an integer may stand for a float."""
    known = {field.name for field in fields(base)}
    changes: dict[str, object] = {}
    for name, value in wanted.items():
        if name not in known:
            raise ValueError(f"unknown name {name!r}; known: {', '.join(sorted(known))}")
        kind = type(getattr(base, name))
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            changes[name] = float(value)
        elif type(value) is kind:
            changes[name] = value
        else:
            raise ValueError(f"{name} must be of type {kind.__name__}")
    return replace(base, **changes)  # type: ignore[arg-type]  # checked against the fields above
