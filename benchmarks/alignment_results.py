"""Records of the study in alignment.py as paired differences, and what rules make of held-out comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Record = dict[str, Any]


class Setting(NamedTuple):
    """One refresh: a data set, how rows were picked, labels at the refresh, a seed."""

    data: str
    picks: str
    refresh: int
    seed: int


class Summary(NamedTuple):
    """Mean over seeds, its standard error, and the number of seeds."""

    mean: float
    error: float
    seeds: int

    def __str__(self) -> str:
        if not self.seeds:
            return ""
        text = f"{self.mean:+.3f}".replace("0.", ".", 1)
        return f"{text} ± {self.error:.3f}".replace("± 0.", "± .") if self.seeds > 1 else text


@dataclass(frozen=True)
class Results:
    """All records, found by refresh, features and labels."""

    records: list[Record]

    def __post_init__(self) -> None:
        index = {
            (self.setting(record), record["features"], record["labels"]): record
            for record in self.records
            if record["kind"] == "proxy"
        }
        object.__setattr__(self, "_index", index)

    @staticmethod
    def setting(record: Record) -> Setting:
        """The refresh that a record belongs to."""
        return Setting(record["data"], record["picks"], record["refresh"], record["seed"])

    def of(self, kind: str) -> list[Record]:
        """Records of a kind, one for each refresh and choice of features."""
        found = {
            (self.setting(record), record.get("features"), record.get("labels")): record
            for record in self.records
            if record["kind"] == kind
        }
        return list(found.values())

    def settings(self, kind: str = "indicators") -> list[Setting]:
        """Refreshes that have records of a kind, by default those with the main variants."""
        return sorted({self.setting(record) for record in self.of(kind)}, key=lambda s: (s.data, s.picks, s[2:]))

    def courses(self) -> list[tuple[str, str, int]]:
        """Refreshes without their seeds."""
        return list(dict.fromkeys(setting[:3] for setting in self.settings()))

    def data(self) -> list[str]:
        """Names of the data sets."""
        return list(dict.fromkeys(setting.data for setting in self.settings()))

    def seeds(self, course: tuple[str, str, int]) -> list[int]:
        """Seeds of a course."""
        return [setting.seed for setting in self.settings() if setting[:3] == course]

    def value(self, setting: Setting, features: str, labels: int, measure: str = "accuracy") -> float | None:
        """One score on test rows, None if it was not measured."""
        record = self.__dict__["_index"].get((setting, features, labels))
        return None if record is None else float(record[measure])

    def difference(
        self, setting: Setting, features: str, labels: int, measure: str = "accuracy", base: str = "old"
    ) -> float | None:
        """A score less that of other features, same labels and test rows."""
        one, other = (self.value(setting, name, labels, measure) for name in (features, base))
        return None if one is None or other is None else one - other

    def level(
        self, course: tuple[str, str, int], features: str, multiple: int, measure: str = "accuracy", beside: str = "old"
    ) -> float:
        """Mean of a score at a multiple of the labels at the refresh, over seeds where `beside` was measured too."""
        found = []
        for seed in self.seeds(course):
            setting = Setting(*course, seed)
            if self.value(setting, beside, multiple * course[2]) is not None:
                found.append(self.value(setting, features, multiple * course[2], measure))
        return mean_of(found)

    def gain(
        self,
        course: tuple[str, str, int],
        features: str,
        multiple: int,
        measure: str = "accuracy",
        base: str = "old",
    ) -> Summary:
        """Mean over seeds of a difference, at a multiple of the labels at the refresh."""
        labels = multiple * course[2]
        return summary(
            self.difference(Setting(*course, seed), features, labels, measure, base) for seed in self.seeds(course)
        )


def summary(values: Iterable[float | None]) -> Summary:
    """Mean and standard error of what there is."""
    present = [value for value in values if value is not None]
    if not present:
        return Summary(float("nan"), float("nan"), 0)
    error = float(np.std(present, ddof=1) / np.sqrt(len(present))) if len(present) > 1 else float("nan")
    return Summary(float(np.mean(present)), error, len(present))


class Trial(NamedTuple):
    """A verified refresh: what the held-out rows say, what test rows say, and what a refresh without holdout gains."""

    setting: Setting
    held: Record
    true: float
    unheld: float


Rule = Callable[[Record], bool]
RULES: dict[str, Rule] = {
    "always keep": lambda held: True,
    "log-loss is lower": lambda held: held["loss_difference"] < 0,
    "log-loss is lower by 1 s.e.": lambda held: held["loss_difference"] < -held["loss_error"],
    "log-loss is not higher by 1 s.e.": lambda held: held["loss_difference"] < held["loss_error"],
    "accuracy is higher": lambda held: held["accuracy_difference"] > 0,
    "accuracy is not lower": lambda held: held["accuracy_difference"] >= 0,
    "accuracy is not lower by 1 s.e.": lambda held: held["accuracy_difference"] > -held["accuracy_error"],
    "accuracy is not lower by 2 s.e.": lambda held: held["accuracy_difference"] > -2 * held["accuracy_error"],
    "accuracy higher or log-loss lower": lambda held: held["accuracy_difference"] > 0 or held["loss_difference"] < 0,
}
"""Rules that keep a refresh, from paired differences new - old on held-out rows."""


def trials(results: Results, features: str) -> list[Trial]:
    """Verified refreshes; the gain is the mean of those at the refresh and at twice its labels."""
    part, full = {"both": ("old + part", "both"), "new": ("part", "new")}[features]
    found = []
    for held in results.of("held"):
        if held["features"] != features:
            continue
        setting = results.setting(held)
        counts = (setting.refresh, 2 * setting.refresh)
        true = [results.difference(setting, part, count) for count in counts]
        unheld = [results.difference(setting, full, count) for count in counts]
        found.append(Trial(setting, held, mean_of(true), mean_of(unheld)))
    return found


def gain_of(results: Results, setting: Setting, features: str) -> float:
    """Mean gain at the refresh and at twice its labels; of the fine-tune on 80 % where there was no other."""
    names = {"both": ("both", "old + part"), "new": ("new", "part")}[features]
    for name in names:
        found = [results.difference(setting, name, multiple * setting.refresh) for multiple in (1, 2)]
        if found[0] is not None:
            return mean_of(found)
    return float("nan")


def mean_of(values: list[float | None]) -> float:
    """Mean of the values there are, NaN without any."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else float("nan")


class Verdict(NamedTuple):
    """What a rule does over many refreshes; harm is a loss of accuracy on test rows."""

    kept: int
    harms: int
    harms_kept: int
    gains: int
    gains_lost: int
    value: float
    worst: float


def judge(rule: Rule, tried: list[Trial]) -> Verdict:
    """Apply a rule; what is put aside gains nothing."""
    kept = [rule(trial.held) for trial in tried]
    true = np.array([trial.true for trial in tried])
    earned = np.where(kept, true, 0.0)
    return Verdict(
        sum(kept),
        int((true < 0).sum()),
        int(((true < 0) & kept).sum()),
        int((true > 0).sum()),
        int(((true > 0) & ~np.array(kept)).sum()),
        float(earned.mean()),
        float(earned.min()),
    )
