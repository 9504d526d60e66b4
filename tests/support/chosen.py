"""A choice between two models as reports get it, its texts hostile."""

from __future__ import annotations

import numpy as np

from harness.choice import Choice
from harness.choice.sides import Sides
from harness.choice.uses import USES, measured
from harness.choice.values import ArmScores, Perplexity
from harness.choice.verdict import row_of

EVIL = "<script>document.title='owned'</script>\x1b[2J|`x`"
SIDES = Sides(("base", "sft", "instruct"), "base", "instruct", ("qa",))


def chosen() -> Choice:
    """One use that was run, over twelve documents; the others were not."""
    rng = np.random.default_rng(2)
    sizes = rng.uniform(500, 900, 12)
    arms = [
        ArmScores("continuation", stage, way, sizes * rng.normal(1, 0.1, 12), sizes, 321.0)
        for stage, way in SIDES.columns
    ]
    found = {"continuation": measured("continuation", arms, "documents", [EVIL])}
    return Choice(
        base="base",
        instruct="instruct",
        level="as-is",
        columns=SIDES.columns,
        models={"base": {"file": EVIL, "sha256": "a" * 64, "level": "Q8_0"}},
        rows=tuple(row_of(found.get(name, use), SIDES) for name, use in USES.items()),
        notes=(EVIL,),
        perplexities=(Perplexity("base", 128, 2, 126, 12.5, 1.25),),
        command=f"harness choose --text '{EVIL}'",
    )
