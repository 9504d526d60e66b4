"""Batched generation through llama.cpp: same answers at any parallelism.

``Engine`` (parent) talks to a ``worker`` (child process), whose ``loop`` asks the ``scheduler``
which job gets which slot, the ``runner`` to compute, and each ``sequence`` whether it is done.
"""

from harness.engine.engine import ABILITIES, Engine, engine_identity
from harness.engine.fake import FakeEngine, FakeTokenizer
from harness.engine.fleet import Fleet, open_engine
from harness.engine.pipe import dismiss_spares
from harness.engine.tokenizer import ChildTokenizer, open_tokenizer

__all__ = [
    "ABILITIES",
    "ChildTokenizer",
    "Engine",
    "FakeEngine",
    "FakeTokenizer",
    "Fleet",
    "dismiss_spares",
    "engine_identity",
    "open_engine",
    "open_tokenizer",
]
