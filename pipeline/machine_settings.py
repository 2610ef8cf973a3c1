"""When evolution may use the machine, how much of it, and how its work is cut into jobs."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.setting import Status
from pipeline.setting import setting as _set

_SEED, _MEASURED, _PUBLISHED = "seed documents", Status.MEASURED, Status.PUBLISHED
NO_SHARE_MIB = 2**20  # a tebibyte


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """When a model request may start."""

    start_idle_min: float = _set(30.0, "quiet before a drift starts an evolution", unit="min", source=_SEED, low=0)
    resume_idle_s: float = _set(60.0, "quiet before any other model request", unit="s", low=0)
    wait_s: float = _set(20.0, "a job waits this long, then a fresh one is rung", unit="s", low=0.1, high=600)
    poll_s: float = _set(
        0.03,
        "time between looks at the lease while a request is in flight",
        unit="s",
        source="20 us a look; preempt p99 <= 150 ms",
        status=_MEASURED,
        low=0.02,
        high=5,
    )
    ps_poll_s: float = _set(1.0, "time between looks at Ollama's list", unit="s", low=0.2, high=60)
    ps_timeout_s: float = _set(
        1.5, "an answer later than this means busy", unit="s", source="Ollama facts", low=0.1, high=10
    )
    runner_poll_s: float = _set(
        0.2, "time between looks at the processor time of Ollama's runners", unit="s", low=0.05, high=5
    )
    runner_cpu: float = _set(
        0.05,
        "a runner that uses more of a core than this works",
        unit="cores",
        source="llama-server: idle 0.000, busy 0.44 or more on a CPU build",
        status=_MEASURED,
        low=0.01,
        high=1,
    )
    slots_poll_s: float = _set(
        1.2,
        "time between looks at a runner's slots; a faster look would keep a dropped request alive",
        unit="s",
        source="llama-server's timer of 1 s",
        status=_MEASURED,
        low=1.2,
        high=60,
    )
    machine_poll_s: float = _set(
        5.0, "time between looks at keyboard and pointer, power and memory", unit="s", low=1, high=60
    )
    input: str = _set(
        "auto",
        "auto: nobody may be at the machine when a search that nobody asked for works; ignore: that does not matter",
        choices=("auto", "ignore"),
    )
    on_battery: bool = _set(False, "work on battery too")
    memory_stall: float = _set(
        10.0, "tasks waited for memory this much of the last 10 s: wait (Linux)", unit="%", low=0, high=100
    )
    night_from_h: float = _set(
        1.0, "in the night, from this local hour, the short quiet is enough to begin", unit="h", low=0, high=24
    )
    night_to_h: float = _set(5.0, "until this one; equal hours mean no night", unit="h", low=0, high=24)
    unknown_alert_min: float = _set(
        30.0, "a probe that fails for so long is an alert, and no longer blocks alone", unit="min", low=0.1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """What evolution's models may take beside the user's."""

    share_mib: int = _set(
        1024, "most memory of evolution's own models together", unit="MiB", source="8 GB machine", low=64
    )
    fit: float = _set(
        0.8,
        "a model is loaded when its predicted memory is at most this share of what is free",
        source="Ollama 0.30",
        status=_PUBLISHED,
        low=0.05,
        high=0.95,
    )
    min_free_mib: int = _set(128, "memory that stays free after a load", unit="MiB", low=0)
    budget_mib: int = _set(0, "most memory of all loaded models, the user's too; 0: the machine's", unit="MiB", low=0)
    max_loaded: int = _set(
        0, "OLLAMA_MAX_LOADED_MODELS; 0: as the server's process says, 2 where it cannot be seen", unit="models", low=0
    )
    num_parallel: int = _set(
        0, "OLLAMA_NUM_PARALLEL; 0: as the server's process says, 1 where it cannot be seen", unit="requests", low=0
    )
    loads_per_hour: int = _set(30, "most loads of models in an hour", unit="loads", low=1)
    recycle_prompts: int = _set(
        25,
        "distinct prompts after which an own model whose process cannot be seen is loaded anew",
        unit="prompts",
        source="17 MB of hidden cache per prompt of 449 tokens",
        status=_MEASURED,
        low=1,
    )
    look_s: float = _set(1.0, "time between looks at the loaded models while ours is one of them", unit="s", low=0.05)
    again_s: float = _set(30.0, "wait before a step that found no room tries again", unit="s", low=0.1, high=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Slices and repairs of the stage engine."""

    slice_s: float = _set(300.0, "model time of one job", unit="s", low=0.05)
    tick_s: float = _set(0.5, "time between reconciliations", unit="s", low=0.05, high=60)
    ring_grace_s: float = _set(
        0.75, "a ready step whose job is not seen for this long is rung again", unit="s", low=0.2
    )
    max_crashes: int = _set(5, "deaths of a step without a new model reply before it fails", low=1, high=100)
    unreachable_retry_s: float = _set(15.0, "wait before a step tries an unreachable server again", unit="s", low=0.1)
    min_free_mb: float = _set(
        64.0, "with less room on the home's disk no model is asked: its reply could not be kept", unit="MB", low=0
    )
