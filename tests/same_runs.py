"""What two runs have in common when one was killed and resumed and the other was not."""

from __future__ import annotations

from pathlib import Path

from tiny_runs import picks

from asvp.driver.loop import RunResult

_TOLD = (
    *("labelled", "proxy_accuracy", "final_accuracy"),
    *("refreshed", "refresh_reason", "feature_version", "feature_fingerprint"),
)


def assert_same(resumed: RunResult, out: Path, whole: tuple[RunResult, list[int]]) -> None:
    """The resumed run in `out` bought, measured and refreshed as the whole one with its picks."""
    expected, expected_picks = whole
    assert picks(out) == expected_picks
    for key in ("final_accuracy", "final_macro_f1", "recall", "refreshed_at"):
        assert resumed.summary[key] == expected.summary[key]
    for one, other in zip(resumed.rounds, expected.rounds, strict=True):
        for key in _TOLD:
            assert one[key] == other[key]
