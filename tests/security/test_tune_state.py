"""What Ray Tune keeps in a sweep directory is pickled, so that nothing of it is ever read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from planted import Charge
from recording import Told
from tiny_runs import tiny_config

from asvp.config import Config
from asvp.report.comparison import compare
from asvp.report.status_files import read_status
from asvp.tune_spaces.space import Space, trials
from asvp.tune_spaces.sweep import run_sweep

NAMES = (
    *("tuner.pkl", "trainable.pkl", "search_gen_state-x.json", "searcher-state-x.pkl", "scheduler.pkl"),
    *("basic-variant-state-x.json", "experiment_state-x.json", ".validate_storage_marker", ".is_checkpoint"),
    *("params.pkl", "result.json", "error.pkl", ".metadata.json", "checkpoint_000000/dict_checkpoint.pkl"),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("tiny"), budget="20+10")


def test_a_sweep_goes_on_beside_planted_state_and_reads_none_of_it(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    arms = {"svp": {}, "random": {"selection": {"strategy": "random"}}}
    both = list(trials(Space(arms, (0,)), base.model_dump()))
    out, marker = tmp_path / "sweep", tmp_path / "it-ran"
    run_sweep(both[:1], out, resume=False, address=None, reporter=Told())
    planted = pickle.dumps(Charge(marker))
    state = {"checkpoints": [], "trial_data": [[_hexed(planted), _hexed(planted)]], "runner_data": _hexed(planted)}
    told = {"stats": json.loads(_hexed(planted)), **state}
    # Where Tune would look: in the experiment, in the folder of each trial, and under the very names that it wrote.
    written = {path for path in out.rglob("*") if path.is_file() and _is_tunes(path, out)}
    folders = (out, out / "svp-seed0", out / "random-seed0")
    for path in {*written, *(folder / name for folder in folders for name in NAMES)}:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json.dumps(told).encode() if path.suffix == ".json" else planted)
    assert any(path.name.startswith("experiment_state") for path in written)
    result = run_sweep(both, out, resume=True, address=None, reporter=Told())
    assert result.failed == {}
    assert {trial.state for trial in read_status(out).trials} == {"finished"}
    compare([out])
    assert len(result.to_pandas()) == 4
    assert not marker.exists(), "a planted pickle was run"


def _hexed(content: bytes) -> str:
    """As Tune's own JSON holds what JSON has no form for."""
    return json.dumps({"_type": "CLOUDPICKLE_FALLBACK", "value": content.hex()})


def _is_tunes(path: Path, out: Path) -> bool:
    """Whether a file of a sweep directory is Tune's and not asvp's."""
    return path.name.startswith(("experiment_state", "tuner", "trainable", "basic-variant", "search", "params."))
