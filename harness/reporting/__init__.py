"""An analysis as files: manifest, samples, CSV tables, plots and a report that people read."""

from __future__ import annotations

from harness.reporting.folder import Run, analysed, read_run, write_run, written_before
from harness.reporting.runs import find_run, new_run_folder, writable
from harness.reporting.terminal import decision_lines, print_tables, summary_table

__all__ = [
    "Run",
    "analysed",
    "decision_lines",
    "find_run",
    "new_run_folder",
    "print_tables",
    "read_run",
    "summary_table",
    "writable",
    "write_run",
    "written_before",
]
