"""What a sweep leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from asvp.errors import AsvpError, DataError, first_line
from asvp.parquet import read_parquet
from asvp.remote.copies import at_hand
from asvp.report.comparison import Comparison, compare
from asvp.report.status import TrialStatus
from asvp.report.status_files import read_status
from asvp.report.status_table import progress_title, status_table


@dataclass(frozen=True)
class SweepResult:
    """What a sweep leaves; a notebook shows it as a table of its trials.

    Attributes
    ----------
    directory : Path or str
        A URI as text.
    failed : dict of str to str
        Trials that failed, with the reason.
    unfinished : tuple of str
        Trials that have not come to their end, those that failed among them; none that was stopped early.
    comparison : Comparison or None
        Arms side by side, as `asvp.sweep` has written them into the directory; None if no trial finished a round.
    """

    directory: Path | str
    failed: dict[str, str]
    unfinished: tuple[str, ...] = ()
    comparison: Comparison | None = field(default=None, repr=False, compare=False)

    @property
    def trials(self) -> tuple[TrialStatus, ...]:
        """How every trial stands, by its files: state, rounds, labels, accuracies, device-hours, dollars.

        `pandas.DataFrame(result.trials)` makes a table of them.
        """
        with at_hand(self.directory, reading=True) as folder:
            return read_status(Path(folder)).trials

    def to_pandas(self) -> pd.DataFrame:
        """results.parquet: one row a trial and round, with all options as columns.

        Raises
        ------
        DataError
            If no trial has finished a round, or the file is damaged.
        """
        with at_hand(self.directory, reading=True) as folder:
            return _read_results(Path(folder) / "results.parquet")

    def best(
        self, metric: str = "final_accuracy", *, at: int | None = None, mode: Literal["max", "min"] = "max"
    ) -> str:
        """The arm whose mean over its seeds is best; whether that is more than chance, `report` tells.

        Parameters
        ----------
        metric : str
            A column of `to_pandas()`, such as final_accuracy or cost/total.
        at : int, optional
            Labels bought; None: at the end of each finished trial.
        mode : {"max", "min"}
            Which is better.

        Raises
        ------
        DataError
            If there is no such metric, or no trial tells it there.
        """
        rounds = self.to_pandas()
        if metric not in rounds or not pd.api.types.is_numeric_dtype(rounds[metric]):
            raise DataError("is no column of numbers in the results", key="metric", value=metric)
        told = rounds.dropna(subset=[metric])
        ends = rounds[rounds["finished"]].groupby("trial").tail(1).dropna(subset=[metric])
        chosen = ends if at is None else told[told["labelled"] == at]
        if chosen.empty:
            counts = sorted(set(told["labelled"].tolist()))
            where = "at the end of no finished trial" if at is None else f"nowhere at {at} labels"
            told_at = ", ".join(map(str, counts)) or "no"
            raise DataError(f"was measured {where}", key="metric", value=metric, mend=f"It was at {told_at} labels")
        means = chosen.groupby("arm", sort=False)[metric].mean()
        return str(means.idxmax() if mode == "max" else means.idxmin())

    def report(self, out: Path | str | None = None) -> Comparison:
        """Arms side by side: costs, savings and the answer; with `out`, tables and figures are written there."""
        return compare([self.directory], out)

    def reported(self, say: Callable[[str], None]) -> SweepResult:
        """The same with its comparison, which is written into the directory; what cannot be written is said."""
        try:
            return replace(self, comparison=self.report(self.directory))
        except AsvpError as error:
            say(f"No report was written: {error}")
        try:
            return replace(self, comparison=self.report())
        except AsvpError:
            # Said already: there is nothing to compare.
            return self

    def at(self, directory: Path | str) -> SweepResult:
        """The same of a directory that is called otherwise."""
        files = () if self.comparison is None else self.comparison.files
        moved = tuple(f"{directory}/{Path(file).name}" for file in files) if isinstance(directory, str) else files
        compared = None if self.comparison is None else replace(self.comparison, files=moved)
        return replace(self, directory=directory, comparison=compared)

    def _repr_html_(self) -> str:
        trials = self.trials
        return status_table(trials, title=progress_title(trials)).html()


def _read_results(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError("is not there: no trial has finished a round", key=str(path), mend="See SweepResult.failed")
    try:
        return read_parquet(path).to_pandas()
    except Exception as error:
        # Whatever pyarrow makes of bytes that were altered.
        message, mend = f"cannot be read: {first_line(error)}", "Go on with --resume: it is written anew"
        raise DataError(message, key=str(path), mend=mend) from None
