"""Comparing runs: learning curves, savings, cost, and the answer in words.

Names are loaded when first used: whoever reads one file of a run does without the library that draws figures. The
functions `savings`, `rankings` and `verdict` are in the modules of the same name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asvp.report.comparison import Comparison, compare, compare_records
    from asvp.report.comparison_tables import arm_table, curve_table, rankings_table, savings_table
    from asvp.report.curves import Curve, CurvePoint, learning_curves
    from asvp.report.figures import draw_figures
    from asvp.report.intervals import Interval, interval
    from asvp.report.rankings import Ranking
    from asvp.report.records import RunRecord, read_records, read_run
    from asvp.report.results import TrialRounds, read_results, results_table, write_results
    from asvp.report.savings import Saving, cost_needed, labels_needed
    from asvp.report.status import Status, TrialStatus
    from asvp.report.status_files import read_status
    from asvp.report.tables import Table
    from asvp.report.verdict import Verdict

_NAMES = {
    "comparison": ("Comparison", "compare", "compare_records"),
    "comparison_tables": ("arm_table", "curve_table", "rankings_table", "savings_table"),
    "curves": ("Curve", "CurvePoint", "learning_curves"),
    "figures": ("draw_figures",),
    "intervals": ("Interval", "interval"),
    "rankings": ("Ranking",),
    "records": ("RunRecord", "read_records", "read_run"),
    "results": ("TrialRounds", "read_results", "results_table", "write_results"),
    "savings": ("Saving", "cost_needed", "labels_needed"),
    "status": ("Status", "TrialStatus"),
    "status_files": ("read_status",),
    "tables": ("Table",),
    "verdict": ("Verdict",),
}
_HOMES = {name: f"asvp.report.{module}" for module, names in _NAMES.items() for name in names}

__all__ = [
    "Comparison",
    "Curve",
    "CurvePoint",
    "Interval",
    "Ranking",
    "RunRecord",
    "Saving",
    "Status",
    "Table",
    "TrialRounds",
    "TrialStatus",
    "Verdict",
    "arm_table",
    "compare",
    "compare_records",
    "cost_needed",
    "curve_table",
    "draw_figures",
    "interval",
    "labels_needed",
    "learning_curves",
    "rankings_table",
    "read_records",
    "read_results",
    "read_run",
    "read_status",
    "results_table",
    "savings_table",
    "write_results",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asvp.report' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
