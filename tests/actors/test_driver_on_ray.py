"""The driver with workers: the same picks as without, and no more feature versions in the store than are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ray_pools import backend_of
from tiny_runs import picks, tiny_config, wait_until, wide_config

from asvp.config import Config
from asvp.driver.loop import RunResult, run
from asvp.progress import SilentReporter


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    # One of the two refreshes is verified to be put aside or kept; either way all must agree.
    return tiny_config(folder, mode="asvp", refresh={"policy": "at", "at": [20, 30], "holdout": 0.2})


def run_by(workers: int, config: Config, out: Path) -> RunResult:
    with backend_of(config, workers) as backend:
        return run(config, out=out, backend=backend)


def test_picks_are_the_same_with_one_worker_two_workers_and_in_process(
    ray_local: Any, config: Config, tmp_path: Path
) -> None:
    results = [
        run_by(1, config, tmp_path / "1"),
        run_by(2, config, tmp_path / "2"),
        run(config, out=tmp_path / "0", in_process=True),
    ]
    assert picks(tmp_path / "1") == picks(tmp_path / "2") == picks(tmp_path / "0")
    assert len({result.summary["final_accuracy"] for result in results}) == 1


def test_a_run_in_a_folder_that_goes_with_a_job_says_so(ray_local: Any, config: Config, tmp_path: Path) -> None:
    said: list[str] = []

    class Heard(SilentReporter):
        def say(self, text: str) -> None:
            said.append(text)

    out = tmp_path / "runtime_resources" / "run"
    run(config, out=out, until_round=0, reporter=Heard())
    assert (
        f"Warning: --out lies in a folder of Ray's, {out}, which is removed with the job; name one that stays" in said
    )


def stored_bytes() -> int:
    """Bytes of objects in this node's store."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address
    from ray._private.worker import global_worker

    state = get_state_from_address(global_worker.node.address)
    return int(get_memory_info_reply(state).store_stats.object_store_bytes_used)


@pytest.mark.parametrize(("features", "versions"), [pytest.param("aligned", 1, marks=pytest.mark.slow), ("both", 2)])
def test_after_refreshes_the_store_holds_what_is_read(
    ray_local: Any, tmp_path: Path, features: str, versions: int
) -> None:
    refresh = {"policy": "at", "at": [20, 30, 40], "features": features}
    config = wide_config(tmp_path, mode="asvp", refresh=refresh, budget="20+10x4")
    version = 1000 * 256 * 4
    weights = (tmp_path / "encoder" / "model.safetensors").stat().st_size
    before = stored_bytes()
    refreshed: list[int] = []

    def look(record: Mapping[str, Any]) -> None:
        if record["refreshed"]:
            refreshed.append(record["feature_version"])
            assert stored_bytes() - before > versions * version
            # The store frees what is dropped a moment later. What is read and the weights that made it stay.
            wait_until(lambda: stored_bytes() - before < (versions + 0.2) * version + weights)

    with backend_of(config) as backend:
        run(config, backend=backend, on_round=look)
        assert refreshed == [1, 2, 3]
        wait_until(lambda: stored_bytes() - before < 0.2 * version)
