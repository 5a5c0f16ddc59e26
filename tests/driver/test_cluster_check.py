"""`asvp check --address`: what a cluster cannot do for a configuration is found before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from forked import Forked
from ray import cloudpickle
from tiny_runs import tiny_config, tiny_settings

import asvp
from asvp.actors import survey
from asvp.actors.survey import Asked, NodeTold, read_ends, try_uri
from asvp.driver import cluster_check
from asvp.driver.check import RunPlan, check_config
from asvp.driver.fit import ClusterFit, room_warnings
from asvp.driver.preparation import prepare
from asvp.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("check")
    (made / "config.yaml").write_text(yaml.safe_dump(tiny_settings(made / "tiny")))
    return made


@pytest.fixture(scope="module")
def two_nodes(ray_cluster: Any) -> Any:
    """One node of 1 CPU, and one of 2 CPUs and 2 logical GPUs."""
    ray_cluster.add_node(num_cpus=2, num_gpus=2, object_store_memory=150 << 20)
    ray_cluster.wait_for_nodes()
    return ray_cluster


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_node_tells_what_it_does_not_see_or_cannot_write_and_leaves_word_where_it_can(tmp_path: Path) -> None:
    good, mine = tmp_path / "good", tmp_path / "mine"
    for place in (good, mine):
        place.mkdir()
        (place / survey._ASKED).write_text("")
    (mine / "n1").mkdir()
    planted = {"--out": str(good), "extraction.cache": str(mine), "other": str(tmp_path / "unseen")}
    versions, problems = survey._teller()("n1", planted, {"encoder.model": "/no/such/encoder"})
    assert versions["asvp"] == asvp.__version__
    assert problems == {
        "extraction.cache": f"cannot write in {tmp_path}: File exists",
        "other": f"does not see what this process writes in {tmp_path}",
        "encoder.model": "has no /no/such/encoder",
    }
    assert (good / "n1").exists()


def test_a_probe_lies_in_the_nearest_folder_that_exists_and_goes(tmp_path: Path) -> None:
    with survey._planted({"--out": str(tmp_path / "a" / "b")}, NodeTold("this process", 0, 0, 0)) as planted:
        assert Path(planted["--out"]).parent == tmp_path
        assert [path.name for path in everything_below(tmp_path)] == [Path(planted["--out"]).name, survey._ASKED]
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize("key", ["extraction.cache", "--out"])
def test_what_is_at_a_uri_is_tried_and_left_as_it_was(key: str) -> None:
    import fsspec

    assert try_uri(key, "memory://asvp-check/place", "n1") == {}
    assert fsspec.filesystem("memory").find("/asvp-check") == []
    assert "cannot use it" in try_uri(key, "nosuch://bucket", "n1")[key]


def test_a_uri_to_write_to_is_tried_and_no_folder_is(folder: Path) -> None:
    config = tiny_config(folder / "tiny", extraction={"cache": None})
    asked = cluster_check._asked(prepare(config), "s3://bucket/sweep")
    assert (dict(asked.written), asked.uris) == ({}, {"--out": "s3://bucket/sweep"})


def test_rows_are_compared_by_the_first_and_the_last(tmp_path: Path) -> None:
    class Rows:
        def __init__(self, *rows: object) -> None:
            self.rows = rows

        def __len__(self) -> int:
            return len(self.rows)

        def take(self, rows: np.ndarray) -> list[object]:
            return [self.rows[row] for row in rows]

    def digest(*rows: object) -> str:
        found, problems = read_ends({"data.pool": Rows(*rows)})  # type: ignore[dict-item]
        assert problems == {}
        return found["data.pool"]

    assert digest("a", "b", "c") == digest("a", "x", "c") != digest("a", "b", "d")
    assert digest(b"\xff") != digest(b"\xfe")
    assert digest(np.ones(3)) == digest(np.ones(3)) != digest(np.zeros(3))


def test_the_rows_of_a_large_pool_go_to_nodes_once_and_in_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rows:
        def __init__(self) -> None:
            self.numbers = np.arange(1_000_000)

        def __len__(self) -> int:
            return len(self.numbers)

        def take(self, rows: np.ndarray) -> list[str]:
            return [str(self.numbers[row]) for row in rows]

    stored: list[Any] = []
    answers: dict[str, Any] = {}

    def ask(tell: Any, nodes: list[str], *given: int) -> dict[str, Any]:
        # Ray refuses a function of 100 MB.
        assert len(cloudpickle.dumps(tell)) < 100_000
        answers.update({node: tell(node, *(stored[place] for place in given)) for node in nodes})
        return answers

    monkeypatch.setattr(survey.ray, "put", lambda value: stored.append(value) or len(stored) - 1)
    monkeypatch.setattr(survey, "ask_every_node", ask)
    ids = {name: NodeTold(name, 1, 0, 0) for name in ("n1", "n2")}
    asked = Asked({}, {}, {"data.pool": Rows()})  # type: ignore[dict-item]
    assert survey._read_everywhere(ids, NodeTold("this process", 0, 0, 0), asked) == ids
    assert len(stored) == 1
    assert answers["n1"] == answers["n2"] == read_ends(asked.sources)


@pytest.mark.parametrize(
    ("count", "growing", "told"),
    [
        ("auto", False, []),
        (9, False, []),
        ("auto", True, ["auto counts what is there when the work begins, which is 3 now"]),
        (3, True, []),
        (9, True, ["3 of 9 have room now"]),
    ],
)
def test_workers_that_wait_for_nodes_are_told(tmp_path: Path, count: Any, growing: bool, told: list[str]) -> None:
    workers = tiny_config(tmp_path, workers={"count": count}).workers
    fit = ClusterFit([{"CPU": 1.0, "GPU": 0.0}, {"CPU": 2.0, "GPU": 0.0}], growing, [], [], [])
    found = list(room_warnings(workers, {"CPU": 1.0}, fit))
    assert len(found) == len(told)
    assert all(part in line for part, line in zip(told, found, strict=True))


def checked(two_nodes: Any, folder: Path, out: Path, **changes: Any) -> RunPlan:
    return check_config(tiny_config(folder / "tiny", **changes), address=two_nodes.address, out=str(out))


def test_a_cluster_that_fits_is_told_with_its_workers_and_nothing_is_left(
    two_nodes: Any, folder: Path, tmp_path: Path
) -> None:
    before = everything_below(folder)
    cache = str(tmp_path / "cache")
    plan = checked(two_nodes, folder, tmp_path / "out", extraction={"cache": cache}, workers={"gpus": 0})
    assert plan.errors == []
    assert plan.lines["cluster"] == "2 nodes with 3 CPUs and 2 GPUs"
    assert plan.numbers["workers"] == {"count": 3, "cpus": 1.0, "gpus": 0.0}
    assert plan.numbers["object_store_bytes"] == 150 << 20
    # Nodes of one machine see its /tmp; that those of a real cluster do not is told of the name.
    assert any("--out lies in" in warning for warning in plan.warnings)
    assert everything_below(tmp_path) == []
    assert everything_below(folder) == before


def test_workers_are_placed_on_the_gpus_of_the_cluster_whose_speed_is_not_guessed(
    two_nodes: Any, folder: Path, tmp_path: Path
) -> None:
    plan = checked(two_nodes, folder, tmp_path)
    assert plan.numbers["workers"] == {"count": 2, "cpus": 1.0, "gpus": 1.0}
    assert plan.numbers["estimated_seconds"] is None


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ({"count": 50}, "workers.count: there is room for"),
        ({"gpus": 3}, "workers.gpus: no node has so many GPUs: the largest has 2"),
    ],
)
def test_workers_without_room_are_an_error_beside_the_others(
    two_nodes: Any, folder: Path, tmp_path: Path, workers: dict[str, Any], told: str
) -> None:
    plan = checked(two_nodes, folder, tmp_path, workers=workers)
    assert len(plan.errors) == 1
    assert told in plan.errors[0]
    assert plan.numbers["workers"] is None


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        ({}, "has 2 (1 CPU and 1 GPU each; nodes: 1 of 2 CPUs and 2 GPUs, 1 of 1 CPU)"),
        ({"gpus": 0}, "has 2 (1 CPU each"),
    ],
)
def test_a_team_that_no_node_has_room_for_is_an_error_beside_the_others(
    two_nodes: Any, folder: Path, tmp_path: Path, workers: dict[str, Any], told: str
) -> None:
    plan = checked(two_nodes, folder, tmp_path, workers=workers, training={"devices": 3})
    assert len(plan.errors) == 1
    assert plan.errors[0].startswith("training.devices: no node has so many workers")
    assert told in plan.errors[0]
    # The pool is placed all the same.
    assert plan.numbers["workers"]["count"] >= 2
    assert checked(two_nodes, folder, tmp_path, workers=workers, training={"devices": 2}).errors == []


def test_features_that_the_smallest_store_does_not_hold_are_told(two_nodes: Any, folder: Path, tmp_path: Path) -> None:
    plan = checked(two_nodes, folder, tmp_path)
    assert not any("object store" in warning for warning in plan.warnings)
    from asvp.driver.check import _memory_warnings

    (warning,) = _memory_warnings(plan.numbers["object_store_bytes"] + 1, 1, plan.numbers["object_store_bytes"], None)
    assert "does not fit the object store" in warning


def test_another_asvp_is_told_of_every_node(
    two_nodes: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asvp, "__version__", "0.0.7")
    plan = checked(two_nodes, folder, tmp_path)
    assert len(plan.errors) == 2
    assert all("asvp 0.0.7. Install one version of asvp" in error for error in plan.errors)
    assert len({error.split(" has ")[0] for error in plan.errors}) == 2


def test_a_folder_that_nodes_do_not_share_is_an_error_and_such_a_cache_a_warning(
    two_nodes: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = survey._planted

    @contextmanager
    def unseen(places: Mapping[str, str], here: NodeTold) -> Iterator[dict[str, str]]:
        with planted(places, here) as found:
            for place in found.values():
                (Path(place) / survey._ASKED).unlink()
            yield found

    monkeypatch.setattr(survey, "_planted", unseen)
    out, cache = tmp_path / "out", tmp_path / "cache"
    plan = checked(two_nodes, folder, out, extraction={"cache": str(cache)})
    said = f"does not see what this process writes in {tmp_path}."
    assert len(plan.errors) == 2
    assert all(error.startswith("--out: the node ") and said in error for error in plan.errors)
    assert sum(warning.startswith("extraction.cache: the node ") and said in warning for warning in plan.warnings) == 2
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (None, "reads other rows there than this process"),
        ("there is no such file", "cannot read it: there is no such file"),
    ],
)
def test_rows_that_a_node_does_not_read_or_reads_otherwise_are_told(
    two_nodes: Any, problem: str | None, told: str
) -> None:
    mine = os.getpid()

    class Rows:
        # Defined in a function, this travels by value.
        def __len__(self) -> int:
            return 1

        def take(self, rows: np.ndarray) -> list[str]:
            if os.getpid() != mine and problem is not None:
                raise DataError(problem)
            return ["here" if os.getpid() == mine else "there"]

    nodes = survey.survey(Asked({}, {}, {"data.pool": Rows()}))  # type: ignore[dict-item]
    assert len(nodes) == 2
    assert all(node.problems == {"data.pool": told} for node in nodes)


def test_the_command_ends_with_status_2_where_a_cluster_cannot_run_it(two_nodes: Any, folder: Path) -> None:
    def command(*more: str) -> tuple[int | None, str, str]:
        process = Forked("-m", "asvp", "check", "config.yaml", *more, cwd=folder)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    code, out, err = command("--address", two_nodes.address, "--out", "sweep", "-s", "workers.count=50")
    assert code == 2, err
    assert "Error: workers.count: there is room for" in out
    assert out.rstrip().endswith("and this cluster cannot run it.")
    assert not (folder / "sweep").exists()
    code, out, err = command("--address", two_nodes.address, "--out", "sweep")
    assert code == 0, out + err
    assert out.rstrip().endswith("The configuration is valid.")
    code, _, err = command("--out", "sweep")
    assert code == 2
    assert "--out: is looked at on a cluster" in err
