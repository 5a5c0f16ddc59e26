"""Selection: which rows to label next. `select` chooses, `strategies` lists, `check_strategy` checks."""

from __future__ import annotations

from asvp.selection.choose import check_budget, make_pool, run_plan, select
from asvp.selection.contract import INPUT_HELP, Options, Plan, StrategyInfo, WrapperInfo
from asvp.selection.pool.pool import Block, Pool
from asvp.selection.registry import check_strategy, find_strategy, package_of, strategies, wrappers
from asvp.selection.rows import ArrayRows, FeatureRows, MappedRows, SubsetRows, as_rows

__all__ = [
    "INPUT_HELP",
    "ArrayRows",
    "Block",
    "FeatureRows",
    "MappedRows",
    "Options",
    "Plan",
    "Pool",
    "StrategyInfo",
    "SubsetRows",
    "WrapperInfo",
    "as_rows",
    "check_budget",
    "check_strategy",
    "find_strategy",
    "make_pool",
    "package_of",
    "run_plan",
    "select",
    "strategies",
    "wrappers",
]
