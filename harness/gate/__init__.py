"""The gate: did a change of templates cost instruction-following? Start at :func:`gate`.

A baseline is a text file beside the templates. What did not change since it was written is not
asked again; what did is answered, compared item by item and judged: pass, regress, inconclusive.
"""

from __future__ import annotations

from harness.gate.baseline import Arm, Baseline, Item, Source, read_baseline, write_baseline
from harness.gate.judge import ArmVerdict, Flip, Verdicts, judge
from harness.gate.run import Gated, GateOptions, gate, update
from harness.gate.watch import changed_files, watched
from harness.stats.power import default_margin

__all__ = [
    "Arm",
    "ArmVerdict",
    "Baseline",
    "Flip",
    "GateOptions",
    "Gated",
    "Item",
    "Source",
    "Verdicts",
    "changed_files",
    "default_margin",
    "gate",
    "judge",
    "read_baseline",
    "update",
    "watched",
    "write_baseline",
]
