"""A driver says what it wants done and is told of it: without PyTorch, and in any process."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import Recording
from tiny_runs import picks, tiny_config

from asvp.compute import Extraction, FineTuneJob, Held, HeldWeights, Job
from asvp.compute.bench import Bench
from asvp.compute.evaluation import Evaluation
from asvp.compute.jobs import (
    EvaluateJob,
    ExtractionOrder,
    IndicatorJob,
    LookJob,
    PackJob,
    PickJob,
    ProxyJob,
    TrainingOrder,
    VerifyJob,
)
from asvp.config import ProxyConfig
from asvp.driver.loop import run
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared
from asvp.features.cache import Cache
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.features.moments import Moments
from asvp.models.head import Head
from asvp.spent import Share

HEAVY = ["torch", "transformers", "pandas", "ray"]
SHARE = Share()


def fresh(code: str, *arguments: str, without: Sequence[str] = HEAVY) -> None:
    """Run code in an interpreter of its own, and hold that it imported nothing heavy."""
    check = f"import sys\nfound = [name for name in {list(without)} if name in sys.modules]\nassert not found, found"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{check}", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["asvp.driver.loop", "asvp.compute", "asvp.compute.jobs", "asvp.driver.prepared"])
def test_a_driver_starts_without_pytorch_pandas_and_ray(module: str) -> None:
    fresh(f"import {module}")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """With options and a wrapper, whose plan stays behind."""
    selection = {"strategy": "badge", "wrap": [{"subsample": {"rows": 100}}]}
    config = tiny_config(tmp_path_factory.mktemp("tiny"), mode="asvp", selection=selection)
    found = prepare(config)
    return found.resolved(found.config.encoder, "cpu").fingerprinted()


@pytest.fixture(scope="module")
def made(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every job and every result that is told, by what it is."""
    bench, dataset = Bench(), prepared.dataset
    classes, proxy = len(dataset.classes), ProxyConfig(epochs=2)
    extraction = Extraction(dataset.pool, prepared.encoder_fingerprint, 0, prepared.config.extraction, title="pool")
    order = ExtractionOrder(extraction.fingerprint, Held(dataset.pool), prepared.encoder)
    cache = Cache(str(tmp_path_factory.mktemp("cache")))
    shards = extraction.jobs(extraction.entry(cache), print)
    extracted = [bench.extract(order, shard, SHARE) for shard in shards]
    reports = {report.index: report for _, report in extracted}
    moments = reduce(Moments.merge, (report.moments for _, report in extracted if report.moments is not None))
    pool = extraction.feature_set({i: HeldShard(table) for i, (table, _) in enumerate(extracted)}, reports, moments)
    rows = np.arange(30, dtype=np.int64)
    labels = dataset.oracle.buy(rows)
    training = FineTuneJob("lp", dataset.pool, rows, labels, classes, prepared.config.training, 0, "encoder")
    head = Head(np.ones((classes, pool.dim), np.float32), np.zeros(classes, np.float32))
    jobs: dict[str, Any] = {
        "proxy job": ProxyJob(pool, rows, labels, classes, proxy, 0),
        "evaluation job": EvaluateJob(Held(head), pool, labels.repeat(10), dataset.classes),
        "indicator job": IndicatorJob(("logme", "logme_ped"), pool, rows, labels),
        "look job": LookJob(pool, rows, Held(head), rows, rows),
        "verification job": VerifyJob(
            pool, pool, only(pool, rows), rows, labels, rows % 3 == 0, classes, proxy, seed=0
        ),
    }
    scorer = Held(bench.do(jobs["proxy job"], SHARE)[0])
    pick = PickJob(prepared.selection, pool, rows, labels, scorer, (), budget=5, seed=0)
    told = {name.replace("job", "told"): bench.do(job, SHARE)[1] for name, job in jobs.items()}
    _, trained = bench.train(TrainingOrder(training, prepared.encoder, cache), SHARE)
    weights = HeldWeights("key", {"weight": np.ones((2, 3), np.float32)})
    return {
        **jobs,
        **told,
        # Handles to proxies are not opened by a driver.
        "pick job": replace(pick, scorer=None),
        "picks": bench.do(pick, SHARE)[1],
        "prepared": prepared,
        "shard job": shards[0],
        "extraction": extraction,
        "extraction order": replace(order, weights=weights),
        "shard report": reports[0],
        "features": pool,
        "training job": training,
        "training order": TrainingOrder(training, prepared.encoder, cache),
        "trained": trained,
        "pack job": PackJob(prepared.encoder, trained.head, weights, dataset.classes),
    }


def only(pool: FeatureSet, rows: np.ndarray) -> FeatureSet:
    """The first rows as a set of their own."""
    table = pool.shards[0].table().slice(0, len(rows))
    return replace(pool, version=1, shards=(HeldShard(table),), starts=(0, len(rows)))


def test_prepared_jobs_and_what_is_told_are_read_in_a_process_without_pytorch(
    made: dict[str, Any], tmp_path: Path
) -> None:
    for name, thing in made.items():
        (tmp_path / name).write_bytes(pickle.dumps(thing))
    fresh(
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    thing = pickle.loads(path.read_bytes())\n"
        "    found = [name for name in ('torch', 'transformers', 'pandas', 'ray') if name in sys.modules]\n"
        "    assert not found, (path.name, found)\n",
        str(tmp_path),
    )


def test_what_was_sent_is_what_arrives(made: dict[str, Any]) -> None:
    sent: dict[str, Any] = {name: pickle.loads(pickle.dumps(thing)) for name, thing in made.items()}
    assert isinstance(sent["evaluation told"][0], Evaluation)
    for name in ("evaluation told", "indicator told", "verification told"):
        assert sent[name] == made[name]
    assert sent["picks"][0].tolist() == made["picks"][0].tolist()
    assert sent["training job"].key == made["training job"].key
    assert sent["extraction"].fingerprint == made["extraction"].fingerprint
    np.testing.assert_array_equal(sent["features"].span(0, 300), made["features"].span(0, 300))
    np.testing.assert_array_equal(sent["trained"].head.weight, made["trained"].head.weight)
    report = sent["shard report"]
    assert (report.rows, report.spent) == (made["shard report"].rows, made["shard report"].spent)
    np.testing.assert_array_equal(report.moments.mean, made["shard report"].moments.mean)


def test_a_prepared_configuration_takes_its_fingerprint_along_and_no_strategy(
    prepared: Prepared, tmp_path: Path
) -> None:
    content = pickle.dumps(prepared)
    assert b"asvp.selection" not in content
    (tmp_path / "prepared").write_bytes(content)
    fresh(
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "prepared = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "assert prepared.encoder_fingerprint == sys.argv[2]\n"
        "assert prepared.looks_at_features\n"
        "assert (prepared.plan(0).name, prepared.plan(1).name) == ('random', 'badge')\n"
        "assert len(prepared.dataset.pool) == 300\n"
        "assert not [name for name in sys.modules if name.startswith('asvp.selection.strategies')]\n",
        str(tmp_path / "prepared"),
        prepared.encoder_fingerprint,
    )


def test_jobs_are_small_beside_what_they_are_about(made: dict[str, Any]) -> None:
    """The features are handles, and a report has their moments alone."""
    for name in ("proxy job", "indicator job"):
        assert len(pickle.dumps(replace(made[name], features=None))) < 4096
    assert len(pickle.dumps(made["shard report"])) < 4096


class Noting(Recording):
    """Keeps what it gives, with names in place of proxies, which no driver opens."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.given: list[Any] = []

    def extract(self, extraction: Extraction, weights: Any = None) -> Any:
        return self._note(super().extract(extraction, weights))

    def train(self, job: FineTuneJob) -> Any:
        return self._note(super().train(job))

    def do(self, job: Job) -> Any:
        done = super().do(job)
        self.given.append(replace(done, kept=Held("a proxy")) if isinstance(job, ProxyJob) else done)
        return done

    def _note(self, made: Any) -> Any:
        self.given.append(made)
        return made


DRIVE = """
import pickle, sys
from pathlib import Path
from asvp.driver.loop import run

prepared, given = pickle.loads(Path(sys.argv[1]).read_bytes())
given = iter(given)


class Replaying:
    def extract(self, *asked):
        return next(given)

    train = do = extract

    def beside(self):
        return None

    def resolve(self):
        return prepared.config.encoder

    def team_size(self, training):
        return 1

    def machine(self):
        return {"cpus": 1}

    def round_closed(self, record):
        pass


result = run(prepared.config, out=sys.argv[2], prepared=prepared, backend=Replaying())
assert next(given, None) is None
print(result.summary["final_accuracy"])
"""


def test_a_whole_run_is_driven_without_pytorch(tmp_path: Path) -> None:
    """On what workers gave to another driver."""
    selection = {"strategy": "margin", "wrap": [{"subsample": {"rows": 100}}]}
    refresh = {"policy": "at", "at": [30], "holdout": 0.5}
    config = tiny_config(tmp_path, mode="asvp", selection=selection, refresh=refresh)
    workers = Noting(config)
    prepared = prepare(config).resolved_by(workers, workers.machine()).fingerprinted()
    whole = run(config, out=tmp_path / "whole", prepared=prepared, backend=workers)
    (tmp_path / "given").write_bytes(pickle.dumps((prepared, workers.given)))
    # PyArrow imports pandas, where it is installed, when it makes the table of the rows that were bought.
    fresh(DRIVE, str(tmp_path / "given"), str(tmp_path / "again"), without=["torch", "transformers", "ray"])
    assert picks(tmp_path / "again") == picks(tmp_path / "whole")
    summary = json.loads((tmp_path / "again" / "summary.json").read_text())
    for key in ("final_accuracy", "recall", "refreshes", "refreshed_at"):
        assert summary[key] == whole.summary[key]
    for path in (tmp_path / "whole" / "model").rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
