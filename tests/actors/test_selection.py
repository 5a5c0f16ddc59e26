"""Where shards lie on other nodes, actors there pick what one process picks, and few rows are taken there."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray_pools import backend_of
from tiny_runs import picks, tiny_config, wait_until

import asvp.actors.far_rows
import asvp.actors.selection
from asvp.actors.cluster import node_cores
from asvp.actors.selection import ActorCrew, SelectionTeam, ShardedPicker, block_homes, bytes_elsewhere, shard_homes
from asvp.actors.shards import ObjectStoreShard
from asvp.compute.jobs import ShardJob
from asvp.compute.picking import LocalPicker
from asvp.compute.selection_inputs import selection_inputs
from asvp.compute.shard_cache import store_shard
from asvp.config import ProxyConfig
from asvp.driver.loop import run
from asvp.features.cache import Cache, CacheEntry
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.features.moments import Moments
from asvp.features.table import feature_table
from asvp.models.proxy import Proxy, fit_proxy
from asvp.record.labelled import LabelledSet
from asvp.selection import Plan, Pool, check_strategy, make_pool, run_plan, strategies

ROWS, DIM, CLASSES = 8000, 24, 4
STARTS = (0, 2048, 4096, 6144, ROWS)
SHARDED = [name for name, info in strategies().items() if info.sharded and info.inputs]


def made_features() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 2 * rng.normal(size=(CLASSES, DIM))
    return (centres[np.arange(ROWS) % CLASSES] + rng.normal(size=(ROWS, DIM))).astype(np.float32)


def tables(features: np.ndarray) -> list[Any]:
    return [feature_table(features[start:stop], start, "float32") for start, stop in itertools.pairwise(STARTS)]


def feature_set(features: np.ndarray, shards: tuple[Any, ...]) -> FeatureSet:
    return FeatureSet(0, shards, STARTS, DIM, "float32", "made", Moments.of(features))


def stored(references: list[Any], entry: CacheEntry | None = None) -> tuple[ObjectStoreShard, ...]:
    cuts = enumerate(itertools.pairwise(STARTS))
    tasks = [ShardJob(index, start, stop, "float32", entry) for index, (start, stop) in cuts]
    return tuple(ObjectStoreShard(reference, task) for reference, task in zip(references, tasks, strict=True))


def proxies(plan: Plan, features: np.ndarray, labelled: LabelledSet) -> list[Proxy]:
    # ALFA-Mix mixes what a linear head reads.
    config = ProxyConfig(epochs=5, hidden=[] if plan.info.name == "alfa_mix" else ["auto"])
    return [
        fit_proxy(features[labelled.rows], labelled.labels, classes=CLASSES, config=config, seed=seed)
        for seed in range(3 if "members" in plan.inputs else 1)
    ]


def labelled_rows() -> LabelledSet:
    labelled = LabelledSet()
    rows = np.array([2047, 2048, 5, 6, 7, 4000, 7999, 4099])
    labelled.add(rows, rows % CLASSES, 0)
    return labelled


def pool_of(plan: Plan, features: FeatureSet, labelled: LabelledSet, scorers: list[Proxy]) -> Pool:
    return make_pool(**selection_inputs(plan, features, labelled.rows, labelled.labels, scorers[0], scorers))


@pytest.fixture(scope="module")
def two_nodes(ray_cluster: Any) -> tuple[Any, Any]:
    """Two nodes beside the head node, on which nothing of a test lies."""
    nodes = tuple(ray_cluster.add_node(num_cpus=1, resources={name: 1}, object_store_memory=100 << 20) for name in "ab")
    ray_cluster.wait_for_nodes()
    return nodes


def put_on_nodes(tables: list[Any]) -> list[Any]:
    """References of tables that lie on the two nodes by turns, and nowhere else."""

    # As the results of extraction actors, these are not made again when they are lost.
    @ray.remote(num_cpus=0, max_retries=0)
    def moved(table: Any) -> Any:
        return table

    placed = zip(itertools.cycle("ab"), tables, strict=False)
    references = [moved.options(resources={node: 0.1}).remote(table) for node, table in placed]
    ray.wait(references, num_returns=len(references), fetch_local=False)
    return references


def test_actors_on_two_nodes_pick_what_one_process_picks(two_nodes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    array = made_features()
    away = feature_set(array, stored(put_on_nodes(tables(array))))
    here = feature_set(array, tuple(HeldShard(table) for table in tables(array)))
    homes = shard_homes(away)
    assert homes == [node.node_id for node in (*two_nodes, *two_nodes)]
    assert block_homes(away) == homes
    assert bytes_elsewhere(away) == away.nbytes
    team, labelled = SelectionTeam(2), labelled_rows()
    for name in SHARDED:
        plan = check_strategy(name)
        scorers = proxies(plan, array, labelled)
        picker = team.picker(plan, away, True)
        assert isinstance(picker, ShardedPicker)
        assert picker.cpus == 2
        found = picker.pick(plan, pool_of(plan, away, labelled, scorers), budget=50, seed=4)
        wanted = run_plan(plan, pool_of(plan, here, labelled, scorers), budget=50, seed=4)
        np.testing.assert_array_equal(found, wanted, err_msg=name)
    # Nothing but candidates came here: the shards still lie where they were made.
    assert shard_homes(away) == homes
    margin = check_strategy("margin")
    assert isinstance(team.picker(margin, away, "auto"), LocalPicker)
    monkeypatch.setattr(asvp.actors.selection, "WORTH_BYTES", away.nbytes)
    assert isinstance(team.picker(margin, away, "auto"), ShardedPicker)
    assert isinstance(team.picker(margin, here, "auto"), LocalPicker)


def test_few_rows_of_shards_on_other_nodes_are_taken_there_with_one_call_a_node(
    two_nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = made_features()
    away = feature_set(array, stored(put_on_nodes(tables(array))))
    homes, calls = shard_homes(away), record_calls(monkeypatch)
    few = np.array([7999, 0, 2048, 2047, 2047, 4097, 6500])
    # Whole shards have so few bytes that they come sooner than the answer to a call.
    monkeypatch.setattr(asvp.actors.far_rows, "WORTH_BYTES", 0)
    np.testing.assert_array_equal(away.gather(few), array[few])
    assert calls == [2, 2]
    assert shard_homes(away) == homes
    # A quarter of the first shard is too much of it, and only that comes; then nothing of it is asked for again.
    rows = np.concatenate([np.arange(512), few])
    np.testing.assert_array_equal(away.gather(rows), array[rows])
    here = ray.get_runtime_context().get_node_id()
    assert shard_homes(away) == [here, *homes[1:]]
    assert sorted(calls[2:]) == [1, 2]
    monkeypatch.setattr(asvp.actors.far_rows, "WORTH_BYTES", away.nbytes)
    np.testing.assert_array_equal(away.gather(few), array[few])
    assert len(calls) == 4
    assert set(shard_homes(away)) == {here}


def record_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note of each call that takes rows on another node how many shards it is about."""
    calls: list[int] = []
    taker = asvp.actors.far_rows._taker

    class Recorded:
        def options(self, **options: Any) -> Any:
            self.task = taker().options(**options)
            return self

        def remote(self, references: list[Any], rows: list[Any]) -> Any:
            calls.append(len(references))
            return self.task.remote(references, rows)

    monkeypatch.setattr(asvp.actors.far_rows, "_taker", Recorded)
    return calls


def test_the_picks_survive_the_loss_of_a_node(
    ray_cluster: Any, two_nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, entry = made_features(), Cache(str(tmp_path)).entry("features", "made")
    away = feature_set(array, stored(put_on_nodes(tables(array)), entry))
    for shard, table in zip(away.shards, tables(array), strict=True):
        assert store_shard(shard.job, table)[1] is None
    here = feature_set(array, tuple(HeldShard(table) for table in tables(array)))
    plan, labelled = check_strategy("badge"), labelled_rows()
    scorers = proxies(plan, array, labelled)
    asked: list[str] = []
    ask = ActorCrew.each

    def lose_a_node(crew: ActorCrew, method: str, arguments: Any) -> dict[int, Any]:
        asked.append(method)
        if len(asked) == 3:
            ray_cluster.remove_node(two_nodes[1], allow_graceful=False)
            wait_until(lambda: two_nodes[1].node_id not in node_cores(), 60)
        return ask(crew, method, arguments)

    monkeypatch.setattr(ActorCrew, "each", lose_a_node)
    monkeypatch.setattr(asvp.actors.selection, "_PAUSE", 0.5)
    picker = SelectionTeam(2).picker(plan, away, True)
    found = picker.pick(plan, pool_of(plan, away, labelled, scorers), budget=50, seed=4)
    wanted = run_plan(plan, pool_of(plan, here, labelled, scorers), budget=50, seed=4)
    np.testing.assert_array_equal(found, wanted)
    assert two_nodes[0].node_id in shard_homes(away)
    assert two_nodes[1].node_id not in shard_homes(away)
    # A lost shard is read from the cache once.
    assert away.shards[1].table() is away.shards[1].table()
    # What is taken for alive when it is asked for rows cannot answer, and they are read from the cache as well.
    lost = two_nodes[1].node_id
    monkeypatch.setattr(asvp.actors.far_rows, "WORTH_BYTES", 0)
    monkeypatch.setattr(asvp.actors.far_rows, "located", lambda references: [(lost, 1)] * len(references))
    calls, rows = record_calls(monkeypatch), np.array([3, 2050, 7000])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(away)).gather(rows), array[rows])
    assert calls == [3]


@pytest.fixture
def local_set(ray_local: Any) -> FeatureSet:
    array = made_features()
    return feature_set(array, stored([ray_local.put(table) for table in tables(array)]))


def test_strategies_that_need_all_rows_are_run_here(local_set: FeatureSet) -> None:
    team = SelectionTeam(2)
    for name, info in strategies().items():
        picker = team.picker(check_strategy(name), local_set, True)
        assert isinstance(picker, ShardedPicker) == (info.sharded and bool(info.inputs)), name
    assert isinstance(team.picker(check_strategy("badge"), local_set, False), LocalPicker)
    assert isinstance(team.picker(check_strategy("bait", wrap=["subsample"]), local_set, True), ShardedPicker)


def test_a_killed_actor_is_replaced_and_the_picks_stay_the_same(
    ray_local: Any, local_set: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asvp.actors.selection, "_PAUSE", 0.5)
    plan, labelled, team = check_strategy("coreset_self"), labelled_rows(), SelectionTeam(2)
    pool = pool_of(plan, local_set, labelled, proxies(plan, made_features(), labelled))
    picker = team.picker(plan, local_set, True)
    wanted = picker.pick(plan, pool, budget=30, seed=0)
    [worker] = team._workers.values()
    process = ray_local.get(worker.__ray_call__.remote(lambda _: os.getpid()))
    os.kill(process, signal.SIGKILL)
    np.testing.assert_array_equal(picker.pick(plan, pool, budget=30, seed=0), wanted)


@pytest.mark.parametrize("strategy", ["badge", "margin"])
def test_a_run_with_sharded_selection_is_the_run_without(ray_local: Any, tmp_path: Path, strategy: str) -> None:
    config = tiny_config(tmp_path, mode="asvp", refresh={"policy": "at", "at": [30]}, selection={"strategy": strategy})
    sharded = config.model_copy(update={"selection": config.selection.model_copy(update={"sharded": True})})
    with backend_of(config) as backend:
        run(sharded, out=tmp_path / "sharded", backend=backend)
    run(config, out=tmp_path / "plain", in_process=True)
    assert picks(tmp_path / "sharded") == picks(tmp_path / "plain")
