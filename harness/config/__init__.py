"""The experiment file: what is compared, as pydantic models, with one-line errors.

An experiment names stages (or a ``pair`` of the family registry), quantization levels, strategies
per stage, suites, decoding and engine settings, and what the recovered share compares. See
``docs/experiments.md`` for a commented example.
"""

from __future__ import annotations

from harness.config.aims import Contrast, Ends, Measure, Names, Uses
from harness.config.arms import (
    BASE_STRATEGIES,
    CONTROL_NAMES,
    CONTROLS,
    TUNED_STRATEGIES,
    Constant,
    Control,
    Entry,
    StrategyEntry,
    strategy_entry,
)
from harness.config.engine import EngineConfig, RayConfig, SamplingConfig
from harness.config.experiment import NAME_LENGTH, Experiment
from harness.config.loading import load_experiment, parse_experiment
from harness.config.stages import (
    AS_IS,
    ENDPOINT,
    LLAMA_CPP,
    WITH_IMATRIX,
    MadeLevels,
    Stage,
    StageEntry,
    is_url,
)

__all__ = [
    "AS_IS",
    "BASE_STRATEGIES",
    "CONTROLS",
    "CONTROL_NAMES",
    "ENDPOINT",
    "LLAMA_CPP",
    "NAME_LENGTH",
    "TUNED_STRATEGIES",
    "WITH_IMATRIX",
    "Constant",
    "Contrast",
    "Control",
    "Ends",
    "EngineConfig",
    "Entry",
    "Experiment",
    "MadeLevels",
    "Measure",
    "Names",
    "RayConfig",
    "SamplingConfig",
    "Stage",
    "StageEntry",
    "StrategyEntry",
    "Uses",
    "is_url",
    "load_experiment",
    "parse_experiment",
    "strategy_entry",
]
