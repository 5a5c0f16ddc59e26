"""What ends a trial for good, and what only ends a try."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asvp.errors import LostError, PoolLostError
from asvp.holds import held
from asvp.record.run_directory import RunDirectory
from asvp.tune_spaces import trainable

GIVEN = SimpleNamespace(read=lambda: (None, None))


@pytest.mark.parametrize("error", [PoolLostError("the pool is gone"), LostError("features are gone")])
def test_whoever_loses_the_pool_or_features_has_not_failed(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any) -> None:
        raise error

    monkeypatch.setattr(trainable, "_run", lose)
    with held(tmp_path, tmp_path) as hold, pytest.raises(type(error)):
        trainable.run_trial(
            {"trial": "svp-seed0", "arm": "svp", "place": 0, "given": GIVEN},
            pool=None,  # type: ignore[arg-type]
            runs=str(tmp_path / "runs"),
            mandate=str(hold.folder),
        )
    assert RunDirectory(tmp_path / "runs" / "svp-seed0").failure() is None
