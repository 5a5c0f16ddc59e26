"""What of a run's configuration is held fast while the run lasts, and what is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from asvp.config import Config, build_config
from asvp.errors import RunDirectoryError
from asvp.folders import mark
from asvp.record.run_directory import RunDirectory
from asvp.record.same_config import MAY_CHANGE, config_digest

LEAVES = {
    "budget": "300+200x9",
    "cost.per_label": "1",
    "cost.gpu_hour": "0",
    "cost.cpu_hour": "0",
    "data.allow_outside": "true",
    "data.max_image_bytes": "5",
    "data.max_text_bytes": "5",
    "data.root": "elsewhere",
    "encoder.trust_remote_code": "true",
    "extraction.cache": "null",
    "extraction.cache_limit": "5GB",
    "report.rows": "false",
    "training.keep": "none",
    "workers.count": "2",
    "workers.cpus": "2",
    "workers.gpus": "0",
    "workers.per_gpu": "2",
}


def begun(folder: Path, *overrides: str) -> RunDirectory:
    directory = RunDirectory(folder / "run")
    with directory.opened(build_config({}, overrides), {"cpus": 1}, resume=False):
        return directory


@pytest.mark.parametrize("key", LEAVES)
def test_what_may_change_is_not_in_the_digest(key: str) -> None:
    assert config_digest(build_config({}, [f"{key}={LEAVES[key]}"])) == config_digest(Config())


@pytest.mark.parametrize(
    "override", ["seed=1", "mode=svp", "extraction.shard_rows=5", "proxy.lr=1", "training.epochs=1", "data.limit=500"]
)
def test_everything_else_is(override: str) -> None:
    assert config_digest(build_config({}, [override])) != config_digest(Config())


def test_every_key_that_may_change_is_one_of_the_configuration_and_tried_here() -> None:
    for key in MAY_CHANGE:
        section: type[BaseModel] = Config
        *above, name = key.split(".")
        for part in above:
            section = section.model_fields[part].annotation  # type: ignore[assignment]
        inner = section.model_fields[name].annotation
        options = inner.model_fields if isinstance(inner, type) and issubclass(inner, BaseModel) else None
        assert {key} <= set(LEAVES) if options is None else {f"{key}.{one}" for one in options} <= set(LEAVES)


def test_the_readme_names_all_that_may_change() -> None:
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    told = re.search(
        r"it was begun with, except for (.*?), which may be others, and a longer `budget`", readme, re.DOTALL
    )
    assert told is not None
    assert sorted([*re.findall(r"`(.*?)`", told[1]), "budget"]) == sorted(MAY_CHANGE)


@pytest.mark.parametrize("going_on", [False, True])
def test_a_sweep_is_told_from_a_run(going_on: bool, tmp_path: Path) -> None:
    mark(tmp_path, "sweep", "1")
    (tmp_path / "results.parquet").touch()
    with pytest.raises(RunDirectoryError, match="holds a sweep, not a run") as caught:
        RunDirectory(tmp_path).check(resume=going_on)
    assert caught.value.mend is not None
    assert ("`asvp sweep SPACE --out DIR --resume`" in caught.value.mend) == going_on
    assert ("new or empty folder" in caught.value.mend) != going_on


@pytest.mark.parametrize(
    ("finished", "budget", "fits"),
    [
        (0, "300+200x6", True),
        (0, "100x15", True),
        (0, "100x14", False),
        (1, "300+300x4", True),
        (1, "300+200", False),
        (2, "300+200+400x3", True),
        (2, "300+300x4", False),
        (7, "300+200x7", True),
        (7, "300+200x5+201", False),
    ],
)
def test_a_budget_begins_with_the_finished_rounds_and_buys_no_fewer_labels(
    finished: int, budget: str, fits: bool, tmp_path: Path
) -> None:
    directory = begun(tmp_path)
    directory.write_rounds([{"round": number} for number in range(finished)])
    config = build_config({"budget": budget})
    if fits:
        directory.require_same(config)
        directory.go_on_with(config)
        assert directory.read_config() == config
    else:
        with pytest.raises(RunDirectoryError, match=r"budget = 300\+200x6, not .*no fewer than 1500 labels"):
            directory.require_same(config)


def test_the_configuration_of_a_run_of_an_earlier_version_is_answered_with_the_new_key(tmp_path: Path) -> None:
    directory = begun(tmp_path)
    path = directory.path / "config.yaml"
    path.write_text(path.read_text().replace("extraction:\n", "extraction:\n  actors: 2\n"))
    with pytest.raises(RunDirectoryError, match=r"extraction\.actors: is called workers\.count now"):
        directory.read_config()
