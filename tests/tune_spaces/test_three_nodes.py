"""On three nodes with two GPUs each all arms come out as in one process, also while a node goes and another comes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import ray
from forked import fork_ray_workers
from placed_worker import placed_workers, recording_pool
from ray import tune
from ray.cluster_utils import Cluster
from tiny_runs import picks, wait_until, wide_config

from asvp.config import Config
from asvp.driver.loop import run
from asvp.progress import SilentReporter
from asvp.tune_spaces import sweep as sweeps
from asvp.tune_spaces import tuning
from asvp.tune_spaces.ready import svp_vs_asvp
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import run_sweep

NODES, GPUS, WORKERS = 3, 2, 6
NODE = {"num_cpus": 1, "num_gpus": GPUS, "resources": {"driver": 1}, "object_store_memory": 100 << 20}
"""Logical GPUs: there are none, so the workers that hold them compute on the CPU. A trial lies on each node."""
SETTLED = ("labelled", "feature_version", "refreshed", "proxy_accuracy", "final_accuracy", "logme_ped")


class Placing(NamedTuple):
    """Where things were (for each trial its node after the first round, and what each worker told); what was said."""

    trials: dict[str, str]
    workers: list[dict[str, Any]]
    said: list[str]


class Watching(SilentReporter):
    """Notes the node of a trial when its first round is done, and then calls what is to happen."""

    def __init__(self, out: Path, act: Callable[[str], None]) -> None:
        self.trials: dict[str, str] = {}
        self.said: list[str] = []
        self._out, self._act = out, act

    def say(self, text: str, **ids: Any) -> None:
        self.said.append(text)

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        assert trial is not None
        if trial in self.trials:
            return
        [told] = (self._out / "runs" / trial / "checkpoint").glob(".held.*.tmp/holder.json")
        process = json.loads(told.read_text())["pid"]
        [node] = {one["Address"]["NodeID"] for one in ray._private.state.actors().values() if one["Pid"] == process}
        self.trials[trial] = node
        self._act(node)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """Three nodes; a test leaves as many behind."""
    fork_ray_workers()
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    for _ in range(NODES - 1):
        cluster.add_node(**NODE)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", namespace="tests")
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    # No cache: what lay on a lost node has to be computed again. Two workers share a GPU.
    workers = {"per_gpu": 2, "cpus": 0.5}
    return wide_config(tmp_path_factory.mktemp("tiny"), budget="20+10x3", workers=workers)


@pytest.fixture(scope="module")
def chosen(base: Config) -> list[Trial]:
    return list(trials(Space(svp_vs_asvp.space(base).arms, (0,)), base.model_dump()))


@contextmanager
def _recorded(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "worker_pool", recording_pool(folder))
        patch.setattr(tuning, "_DRIVER", tune.PlacementGroupFactory([{"driver": 1}]))
        yield


def swept(chosen: list[Trial], out: Path, act: Callable[[str], None]) -> Placing:
    """Run a sweep, which has to end well; the workers' words lie in `workers` beside it."""
    workers = out.with_name("workers")
    watching = Watching(out, act)
    with _recorded(workers):
        result = run_sweep(chosen, out, resume=False, address=None, max_concurrent=NODES, reporter=watching)
    assert result.failed == {}
    assert result.unfinished == ()
    return Placing(watching.trials, placed_workers(workers), watching.said)


def outcome(folder: Path) -> tuple[list[int], list[list[Any]]]:
    """What a trial bought, and what each round measured."""
    rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    return picks(folder), [[one[key] for key in SETTLED] for one in rounds]


def living() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


@pytest.fixture(scope="module")
def undisturbed(ray_cluster: Any, chosen: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The sweep's directory, and where its trials and workers lay."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, swept(chosen, out, lambda node: None)


def test_all_arms_run_on_all_nodes_with_two_workers_to_a_gpu(
    ray_cluster: Any, undisturbed: tuple[Path, Placing], chosen: list[Trial], tmp_path: Path
) -> None:
    out, placing = undisturbed
    assert Counter(worker["node"] for worker in placing.workers) == dict.fromkeys(living(), WORKERS // NODES)
    assert {worker["device"] for worker in placing.workers} == {"cpu"}
    assert any("holds 0.5 CPUs and 0.5 GPU, but PyTorch sees no GPU there" in line for line in placing.said)
    assert all(worker["share"] == {"CPU": 0.5, "GPU": 0.5} for worker in placing.workers)
    # The two of a node have one GPU of it between them.
    assert len({(worker["node"], *worker["gpus"]) for worker in placing.workers}) == NODES
    assert placing.trials.keys() == {trial.name for trial in chosen}
    assert set(placing.trials.values()) == living()
    # The cache spares this process what several arms need.
    extraction = chosen[0].config.extraction.model_copy(update={"cache": str(tmp_path / "cache")})
    for trial in chosen:
        run(trial.config.model_copy(update={"extraction": extraction}), out=tmp_path / trial.name, in_process=True)
        assert outcome(out / "runs" / trial.name) == outcome(tmp_path / trial.name)


def test_a_node_that_is_removed_and_one_that_is_added_change_nothing(
    ray_cluster: Any, undisturbed: tuple[Path, Placing], chosen: list[Trial], tmp_path: Path
) -> None:
    calm, _ = undisturbed
    out, changed = tmp_path / "out", []

    def change_nodes(node: str) -> None:
        """Once, when a trial beside the head has finished a round: its node goes, with all that is there."""
        lost = next((one for one in ray_cluster.worker_nodes if one.node_id == node), None)
        if changed or lost is None:
            return
        ray_cluster.remove_node(lost, allow_graceful=False)
        new = ray_cluster.add_node(**NODE)
        changed.extend([node, new.node_id])
        # No round is heard of meanwhile, and so no trial ends: there is work left for the new node.
        wait_until(lambda: any(one["node"] == new.node_id for one in placed_workers(tmp_path / "workers")), 60)

    placing = swept(chosen, out, change_nodes)
    lost, new = changed
    assert {lost, new} <= {worker["node"] for worker in placing.workers}
    assert placing.trials.keys() == {trial.name for trial in chosen}
    for trial in chosen:
        assert outcome(out / "runs" / trial.name) == outcome(calm / "runs" / trial.name)
