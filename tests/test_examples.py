"""The spaces of examples/ make the arms that their words promise, and one of them is run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from recording import Told
from tiny_runs import tiny_config

from asvp.config import load_config
from asvp.tune_spaces.catalogue import load_space, question
from asvp.tune_spaces.space import Space, chosen_arms
from asvp.tune_spaces.sweep import sweep

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SPACES = EXAMPLES / "spaces"


def test_the_python_example_crosses_budgets_strategies_refreshes_and_an_axis() -> None:
    path, config = str(SPACES / "strategy_or_refresh.py"), load_config("demo")
    assert question(path).startswith("Better picks or better features?")
    arms = chosen_arms(load_space(path, config), config.model_dump())
    assert len(arms) == 2 * 2 * 3 * 2
    assert list(arms)[:2] == ["30x8-margin-svp-lr_0.05", "30x8-margin-svp-lr_0.1"]
    badge = arms["60x4-badge-asvp_every_2-lr_0.1"].config
    assert badge.selection.wrap == [{"subsample": {"rows": 1000}}]
    assert (badge.budget, badge.refresh.every, badge.proxy.lr) == ([60] * 4, 2, 0.1)


def test_the_yaml_example_draws_the_same_rates_for_all_arms() -> None:
    path, config = str(SPACES / "learning_rates.yaml"), load_config("demo")
    assert question(path).startswith("How fast should the encoder learn")
    space = load_space(path, config)
    arms = chosen_arms(space, config.model_dump())
    rates = [arm.config.training.lr for arm in arms.values()]
    assert (len(arms), list(space.seeds)) == (3 * 4, [0, 1])
    assert rates[:4] == rates[4:8] == rates[8:]
    assert all(5e-5 <= rate <= 1e-3 for rate in rates)
    assert list(arms)[4] == f"asvp-every_1-lr_{rates[0]:g}"


@pytest.mark.ray
def test_a_space_from_a_file_is_swept(ray_local: Any, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, budget="10+10", proxy={"epochs": 2})
    loaded = load_space(str(SPACES / "strategy_or_refresh.py"), config)
    few = {name: arm for name, arm in loaded.arms.items() if name.endswith("badge-svp")}
    assert list(few) == ["2x10-badge-svp", "5x4-badge-svp"]
    told = Told()
    result = sweep(Space(few, (0,), loaded.axes), config, out=tmp_path / "sweep", reporter=told)
    assert result.failed == {}
    # What it will do is said before anything is done. Final models: of ten rounds after 8, 14, 18 and 20 labels, of
    # four after 10, 15 and 20, with two rates each.
    assert told.lines[:2] == ["Reading the data and the encoder", "Starting Ray"]
    assert told.lines[2].startswith(
        "4 trials: 4 arms x 1 seed; 1 extraction of the pool and 14 trainings after sharing, "
    )
    assert told.lines[3].startswith("How long that takes is not known: no rate of extraction, training (ft) and picks")
    assert set(result.to_pandas()["arm"]) == {f"{name}-lr_{rate}" for name in few for rate in (0.05, 0.1)}


@pytest.mark.ray
def test_the_notebook_runs_on_a_cluster_that_is_there_and_leaves_it(
    ray_local: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ray.get_runtime_context().get_job_id()
    cells = runpy.run_path(str(EXAMPLES / "notebook.py"))
    assert ray.get_runtime_context().get_job_id() == before
    result = cells["result"]
    assert (result.failed, result.unfinished) == ({}, ())
    table = cells["rounds"]
    assert len(table) == 3 * 2 * 5
    at_80 = table[table["labelled"] == 80].groupby("arm")["final_accuracy"].mean()
    assert np.isfinite(at_80).all()
    said = capsys.readouterr().out
    assert f"Best at 80 labels: {at_80.idxmax()}" in said
    assert cells["result"].report().verdict.text in said
