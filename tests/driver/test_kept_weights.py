"""What of the models stays on disk: weights that the cache has are not stored again, and final models as asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from same_runs import assert_same
from tiny_runs import picks, tiny_config

from asvp.config import Config
from asvp.driver.loop import RunResult, run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(
        folder, mode="asvp", refresh={"policy": "at", "at": [20]}, extraction={"cache": str(folder / "cache")}
    )


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[int]]:
    out = tmp_path_factory.mktemp("whole") / "run"
    return run(config, out=out, in_process=True), picks(out)


def stored(out: Path) -> set[str]:
    """Arrays of the model in a checkpoint."""
    [path] = (out / "checkpoint").glob("model-*.safetensors")
    return set(load_file(path))


def test_a_checkpoint_leaves_the_weights_to_the_cache_and_goes_on_with_them(
    config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    run(config, out=tmp_path / "run", in_process=True, until_round=0)
    assert stored(tmp_path / "run") == {"head.weight", "head.bias"}
    resumed = run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert_same(resumed, tmp_path / "run", whole)


def test_weights_that_are_gone_from_the_cache_are_made_again_and_all_is_the_same(
    config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    first = run(config, out=tmp_path / "run", in_process=True, until_round=0)
    shutil.rmtree(Path(str(config.extraction.cache)) / "models")
    resumed = run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert_same(resumed, tmp_path / "run", whole)
    # What was booked when it was done first is not booked again.
    assert resumed.rounds[0]["seconds"] == first.rounds[0]["seconds"]


def test_without_a_cache_the_checkpoint_has_them(
    config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    extraction = config.extraction.model_copy(update={"cache": None})
    alone = config.model_copy(update={"extraction": extraction})
    run(alone, out=tmp_path / "run", in_process=True, until_round=0)
    assert any(name.startswith("encoder.") for name in stored(tmp_path / "run"))
    # From here on with a cache again, which has not what the checkpoint has.
    shutil.rmtree(str(config.extraction.cache))
    resumed = run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert_same(resumed, tmp_path / "run", whole)


@pytest.mark.parametrize(("keep", "kept"), [("all", True), ("best", True), ("none", False)])
def test_a_final_model_is_saved_where_it_is_to_be_kept(
    keep: str, kept: bool, config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    training = config.training.model_copy(update={"keep": keep})
    changed = config.model_copy(update={"training": training})
    result = run(changed, out=tmp_path / "run", in_process=True)
    assert (tmp_path / "run" / "model").exists() == kept
    assert result.summary["final_accuracy"] == whole[0].summary["final_accuracy"]
    assert result.summary == run(changed, out=tmp_path / "run", in_process=True, resume=True).summary
