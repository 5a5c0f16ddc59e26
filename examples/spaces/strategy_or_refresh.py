"""Better picks or better features? Two strategies, with and without refreshes, at two budgets.

asvp spaces examples/spaces/strategy_or_refresh.py demo
asvp sweep examples/spaces/strategy_or_refresh.py demo --dry-run
asvp sweep examples/spaces/strategy_or_refresh.py demo
"""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces import Space, budgets, cross, grid, refreshes, strategies


def space(config: Config) -> Space:
    """Every combination of two budgets, two strategies and three refreshes; and proxies with two learning rates."""
    total = sum(config.budget)
    arms = cross(
        budgets(total, round_size=[total // 8, total // 4]),
        # Badge looks at a sample, since its time grows with the rows.
        strategies("margin", badge={"strategy": "badge", "wrap": [{"subsample": {"rows": 1000}}]}),
        refreshes(never=True, every=[2], logme_ped=[None]),
    )
    return Space(arms=arms, axes={"proxy.lr": grid(0.05, 0.1)}, seeds=(0, 1, 2))
