"""CPU seconds of writing a run's report again: ``python -m benchmarks.report RUN``.

One process; the phases in order: imports, reading the rows, the analysis, the Markdown.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="a run's folder")
    folder = parser.parse_args().run
    spent: list[tuple[str, float]] = []
    last = time.process_time()

    def lap(name: str) -> None:
        nonlocal last
        now = time.process_time()
        spent.append((name, now - last))
        last = now

    import scipy.special  # noqa: F401

    from harness.reporting import read_run
    from harness.reporting.report import report_text

    lap("imports")
    run = read_run(folder)
    lap("reading")
    found = run.analysis
    lap("analysis")
    report_text(found, run.scored, run.manifest, description="", warnings=[], command="", plots={})
    lap("Markdown")
    print(f"{len(run.scored):,} rows, {len(found.conditions)} conditions\n")
    print("| phase | CPU s |\n| --- | ---: |")
    for name, seconds in [*spent, ("all", sum(seconds for _, seconds in spent))]:
        print(f"| {name} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
