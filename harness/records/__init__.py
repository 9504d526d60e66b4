"""The values that travel: frozen records, no I/O.

A :class:`Sample` is wrapped into a :class:`RenderedPrompt`, planned as a :class:`Request`,
answered by a :class:`Generation` and judged into :class:`CheckResult` rows; statistics come
out as :class:`Estimate` and :class:`Comparison`. A file here for each step of that way.
"""

from __future__ import annotations

from harness.records.answers import FinishReason, Generation, TokenScores
from harness.records.conditions import ABLATED, CONTROL_STAGE, OPENING_REMOVED, Arm, Cell, Condition
from harness.records.figures import Comparison, Decision, Estimate, Verdict
from harness.records.manifest import RunManifest
from harness.records.models import Adapter, EngineIdentity, EngineSettings, Mode, ModelFile
from harness.records.requests import (
    LogitRules,
    Passage,
    RenderedPrompt,
    Request,
    Rerank,
    Sampling,
    passage_key,
    request_key,
)
from harness.records.samples import CheckSpec, Message, Role, Sample, plain_arguments
from harness.records.verdicts import CheckResult, Scored, Span, Views, all_loose, all_pass

__all__ = [
    "ABLATED",
    "CONTROL_STAGE",
    "OPENING_REMOVED",
    "Adapter",
    "Arm",
    "Cell",
    "CheckResult",
    "CheckSpec",
    "Comparison",
    "Condition",
    "Decision",
    "EngineIdentity",
    "EngineSettings",
    "Estimate",
    "FinishReason",
    "Generation",
    "LogitRules",
    "Message",
    "Mode",
    "ModelFile",
    "Passage",
    "RenderedPrompt",
    "Request",
    "Rerank",
    "Role",
    "RunManifest",
    "Sample",
    "Sampling",
    "Scored",
    "Span",
    "TokenScores",
    "Verdict",
    "Views",
    "all_loose",
    "all_pass",
    "passage_key",
    "plain_arguments",
    "request_key",
]
