"""Comparing runs: learning curves, savings, cost, and the answer in words.

Names are loaded when first used: whoever reads one file of a run does without the library that draws figures.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asvp.report.comparison import Comparison, compare, compare_records
    from asvp.report.figures import draw_figures
    from asvp.report.records import RunRecord, read_records, read_run

__all__ = ["Comparison", "RunRecord", "compare", "compare_records", "draw_figures", "read_records", "read_run"]

_HOMES = {
    "Comparison": "asvp.report.comparison",
    "RunRecord": "asvp.report.records",
    "compare": "asvp.report.comparison",
    "compare_records": "asvp.report.comparison",
    "draw_figures": "asvp.report.figures",
    "read_records": "asvp.report.records",
    "read_run": "asvp.report.records",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asvp.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
