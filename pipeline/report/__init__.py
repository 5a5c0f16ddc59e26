"""Comparing runs: learning curves, savings, cost, and the answer in words."""

from __future__ import annotations

from pipeline.report.comparison import Comparison, compare, compare_records
from pipeline.report.curves import Curve, CurvePoint, learning_curves
from pipeline.report.figures import draw_figures, draw_learning_curves
from pipeline.report.records import RunRecord, read_records, read_run
from pipeline.report.results import TrialRounds, read_results, results_table, write_results
from pipeline.report.savings import Saving, cost_needed, labels_needed, savings
from pipeline.report.tables import Table, arm_table, curve_table, savings_table
from pipeline.report.verdict import Verdict, verdict

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
    "draw_learning_curves",
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
