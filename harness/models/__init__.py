"""Everything between a model's name and a file that llama.cpp may open."""

from __future__ import annotations

from harness.models.adapter import check_adapter, resolve_adapter
from harness.models.families import families, resolve_family
from harness.models.fit import Fit, fit
from harness.models.inspect import inspect_model, inspect_models
from harness.models.levels import require_level
from harness.models.pair import Difference, compare_pair, first_token_difference
from harness.models.quantize import already_made, quantize
from harness.models.resolve import resolve_model
from harness.models.spec import asked_level

__all__ = [
    "Difference",
    "Fit",
    "already_made",
    "asked_level",
    "check_adapter",
    "compare_pair",
    "families",
    "first_token_difference",
    "fit",
    "inspect_model",
    "inspect_models",
    "quantize",
    "require_level",
    "resolve_adapter",
    "resolve_family",
    "resolve_model",
]
