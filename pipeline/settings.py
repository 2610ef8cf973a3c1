"""Every threshold and limit, with its unit, its source and how far it can be trusted.

`prompt_evolution:` in the host's config.yaml overrides any of them, section by section. A run keeps the settings it was
started with (`to_data`/`from_data`), so that a change never alters a test that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.decision_settings import Promotion, Triggers, Voting
from pipeline.judge_settings import Judging
from pipeline.machine_settings import NO_SHARE_MIB, GateSettings, MemorySettings, Work
from pipeline.setting import LoadOptions, Status
from pipeline.setting import setting as _set

FLAT_OPTIONS = {"num_ctx": 1, "num_batch": 1, "num_gpu": 0, "num_thread": 1}
"""Load options that had a setting each in older releases, with the least value that was sent."""

_SEED, _MEASURED, _PUBLISHED = "seed documents", Status.MEASURED, Status.PUBLISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How better prompts are looked for, and what that may cost."""

    mode: str = _set(
        "race",
        "race: screened and raced candidates; promptbreeder: the paper's loop",
        source="peer study",
        status=_MEASURED,
        choices=("race", "promptbreeder"),
    )
    budget_calls: int = _set(1000, "most model calls of one evolution", unit="calls", source="one night", low=10)
    budget_min: float = _set(600.0, "most model time of one evolution", unit="min", source="one night", low=0.1)
    variants: int = _set(3, "variants wanted on the ballots", unit="prompts", source=_SEED, low=1, high=10)
    finalists_per_variant: int = _set(4, "finalists handed to the judge per wanted variant", low=1, high=20)
    generations: int = _set(
        30, "most generations (rounds of a race)", unit="generations", source=_SEED, low=1, high=200
    )
    patience: int = _set(6, "generations without a better member before the search ends", unit="generations", low=1)
    population: int = _set(8, "members (promptbreeder)", unit="prompts", source="6 to 10 fits a night", low=2, high=100)
    fitness_samples: int = _set(
        20, "samples each candidate is run on (promptbreeder)", unit="samples", low=2, high=1000
    )
    pool: int = _set(10, "members kept as parents (race)", unit="prompts", low=2, high=100)
    children: int = _set(4, "children bred before any is run (race)", unit="prompts", low=1, high=50)
    race_samples: int = _set(120, "samples a candidate may be run on at most (race)", unit="samples", low=4, high=1000)
    screen_samples: int = _set(
        12, "samples of the first look, two in three of them the parent's failures", unit="samples", low=2, high=100
    )
    block_samples: int = _set(
        10, "samples between two looks of a race", unit="samples", source="CAPO", status=_PUBLISHED, low=1, high=100
    )
    drop_at: float = _set(2.0, "a candidate this far behind drops out", unit="samples", source="peer study", low=0.1)
    confirm_samples: int = _set(
        60, "fresh samples the best are confirmed on", unit="samples", source="decision study", low=0, high=1000
    )
    confirm_finalists: int = _set(
        12, "finalists that are confirmed at most, as far as the budget carries", unit="prompts", low=1, high=200
    )
    min_labelled: int = _set(
        60, "with fewer labelled samples, judge, patterns and votes decide", unit="samples", source="issue", low=0
    )
    crossover_probability: float = _set(
        0.10,
        "chance that a child is crossed (promptbreeder)",
        source="PromptBreeder 3.2",
        status=_PUBLISHED,
        low=0,
        high=1,
    )
    adapt_operators: bool = _set(True, "operators that helped are drawn more often; false draws them evenly")
    examples: int = _set(2, "most examples that a prompt carries", unit="examples", source="CAPO", low=0, high=8)
    shown_failures: int = _set(
        12, "failures shown to the generator", unit="samples", source="peer study", status=_MEASURED, low=1, high=20
    )
    length_penalty: float = _set(
        0.05, "fitness lost per relative length", source="CAPO", status=_PUBLISHED, low=0, high=1
    )
    max_instruction_words: int = _set(220, "longest instruction", unit="words", low=10, high=5000)
    retries: int = _set(2, "retries of a gibberish or redundant reply", source=_SEED, low=0, high=5)


BUDGETS: dict[str, tuple[int, float]] = {"light": (300, 180.0), "medium": (1000, 600.0), "heavy": (3000, 1800.0)}
"""Named budgets: most calls, most minutes of model time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduping:
    """When two prompts count as one."""

    policy: str = _set(
        "behaviour",
        "behaviour: equal outputs, else calibrated words with a guard; seeds: a cosine above 0.90",
        source="160 labelled pairs: real changes lost 37 % -> 0 to 2 %",
        status=_MEASURED,
        choices=("behaviour", "seeds"),
    )
    judge_weight: float = _set(
        0.3, "distance that a judge's score of 100 is worth when the finalists are chosen", low=0, high=3
    )
    dims: int = _set(0, "first dimensions of the embeddings that are used; 0 takes all", low=0, high=4096)
    prefix: str = _set(
        "task: sentence similarity | query: ", "put before each text", source="EmbeddingGemma card", status=_PUBLISHED
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Tags by role, in Ollama's exact spelling, and evolution's own load options."""

    ollama_url: str = _set("http://127.0.0.1:11434", "the Ollama server")
    generator: str = _set("smollm2:360m-instruct-q4_K_M", "writes variants", source=_SEED)
    judge: str = _set("qwen2.5-coder:3b", "scores variants", source=_SEED)
    embedder: str = _set("embeddinggemma:300m", "compares prompts; empty: hashed letters do", source=_SEED)
    generator_num_ctx: int = _set(8192, "context of the generator", unit="tokens", source=_SEED, low=256)
    judge_num_ctx: int = _set(4096, "context of a judge that is not the foreground model", unit="tokens", low=256)
    embedder_num_ctx: int = _set(
        2048, "context of the embedder", unit="tokens", source="model card", status=_PUBLISHED, low=128
    )
    task_num_ctx: int = _set(4096, "context of a task model that is not the foreground model", unit="tokens", low=256)
    keep_alive: str = _set("60s", "how long Ollama keeps evolution's own models; short, so that they make room first")
    generator_prompt_tokens: int = _set(
        7000, "most tokens of a question to the generator", unit="tokens", source=_SEED, low=256
    )
    generator_example_tokens: int = _set(
        5000, "most tokens of the failures and successes in it", unit="tokens", source=_SEED, low=64
    )
    generator_temperature: float = _set(0.9, "of the generator", source=_SEED, low=0, high=2)
    generator_repeat_penalty: float = _set(1.2, "of the generator", source=_SEED, low=0.5, high=2)
    generator_num_predict: int = _set(
        160, "most tokens of one variant", unit="tokens", source="PromptBreeder study", low=16
    )
    connect_s: float = _set(2.0, "time to connect", unit="s", low=0.1)
    read_s: float = _set(120.0, "longest silence inside a reply, prompt evaluation and load included", unit="s", low=1)
    reply_s: float = _set(600.0, "longest time of a whole reply, however slowly it comes", unit="s", low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreground:
    """The user-facing model. Its load options are the host's own: another value would reload the user's model."""

    model: str = _set("qwen2.5-coder:3b", "the model that evolution must never be in the way of", source=_SEED)
    options: LoadOptions | None = _set(  # noqa: RUF009 - as all others; the linter does not know tuples by another name
        None, "the load options that the host sends for it, {} when it sends none; without them it is left alone"
    )
    max_tokens: int = _set(96, "most tokens of one call of ours to it: about three seconds", unit="tokens", low=1)

    @staticmethod
    def of_older(data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return *data* with `options` where an older release kept each option by itself, a value of no effect as none.

        >>> Foreground.of_older({"num_ctx": 4096, "num_gpu": -1})["options"]
        [['num_ctx', 4096]]
        """
        if "options" in data or not any(name in data for name in FLAT_OPTIONS):
            return data
        given = [[name, data[name]] for name, least in FLAT_OPTIONS.items() if data.get(name, least - 1) >= least]
        return {**data, "options": given}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it."""

    enabled: bool = _set(True, "master switch", source=_SEED)
    triggers: Triggers = Triggers()
    search: Search = Search()
    judging: Judging = Judging()
    deduping: Deduping = Deduping()
    voting: Voting = Voting()
    promotion: Promotion = Promotion()
    gate: GateSettings = GateSettings()
    work: Work = Work()
    models: Models = Models()
    memory: MemorySettings = MemorySettings()
    foreground: Foreground = Foreground()

    @staticmethod
    def of_older(data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return *data* with a share that refuses nothing where a run began under a release that knew no share."""
        older = "memory" not in data and any(name in data.get("foreground", ()) for name in FLAT_OPTIONS)
        return {**data, "memory": {"share_mib": NO_SHARE_MIB}} if older else data
