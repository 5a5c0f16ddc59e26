"""What a sweep leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from asvp.errors import DataError
from asvp.report.comparison import Comparison, compare


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves.

    Attributes
    ----------
    directory : Path
    failed : dict of str to str
        Trials that failed, with the reason.
    unfinished : tuple of str
        Trials that have not come to their end, those that failed among them.
    """

    directory: Path
    failed: dict[str, str]
    unfinished: tuple[str, ...] = ()

    def to_pandas(self) -> pd.DataFrame:
        """results.parquet: one row a trial and round, with all options as columns."""
        return pd.read_parquet(self.directory / "results.parquet")

    def best(self, metric: str = "final_accuracy", *, at: int | None = None) -> str:
        """The arm whose mean over its seeds is highest.

        Parameters
        ----------
        metric : str
            A column of `to_pandas()`.
        at : int, optional
            Labels bought; None: at the end of each trial.

        Raises
        ------
        DataError
            If no trial tells that metric there.
        """
        rounds = self.to_pandas()
        if metric not in rounds:
            raise DataError("is no column of the results", key="metric", value=metric)
        chosen = rounds.groupby("trial").tail(1) if at is None else rounds[rounds["labelled"] == at]
        means = chosen.groupby("arm")[metric].mean().dropna()
        if means.empty:
            raise DataError("was measured in no trial", key="metric", value=metric, mend=f"at={at} labels")
        return str(means.idxmax())

    def report(self, out: Path | str | None = None) -> Comparison:
        """Curves, savings, costs and the verdict; with `out`, tables and figures are written there."""
        return compare([self.directory], out)
