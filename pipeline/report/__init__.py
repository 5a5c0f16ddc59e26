"""Comparing runs: learning curves, savings, cost, and the answer in words."""

from __future__ import annotations

from asvp.report.comparison import Comparison, compare, compare_records
from asvp.report.curves import Curve, CurvePoint, learning_curves
from asvp.report.figures import draw_figures
from asvp.report.records import RunRecord, read_records, read_run
from asvp.report.results import TrialRounds, read_results, results_table, write_results
from asvp.report.savings import Saving, cost_needed, labels_needed, savings
from asvp.report.tables import Table, arm_table, curve_table, savings_table
from asvp.report.verdict import Verdict, verdict

__all__ = [
    "Comparison",
    "Curve",
    "CurvePoint",
    "RunRecord",
    "Saving",
    "Table",
    "TrialRounds",
    "Verdict",
    "arm_table",
    "compare",
    "compare_records",
    "cost_needed",
    "curve_table",
    "draw_figures",
    "labels_needed",
    "learning_curves",
    "read_records",
    "read_results",
    "read_run",
    "results_table",
    "savings",
    "savings_table",
    "verdict",
    "write_results",
]
