"""The shell around a bench: whichever of Ray's threads asks, a few threads compute."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from asvp.actors.worker import _Worker
from asvp.compute import jobs
from asvp.spent import NOTHING, Share

TOKENIZERS = "TOKENIZERS_PARALLELISM"


@pytest.fixture(params=[Share(1.0), Share(8.0, 0.5)], ids=["cpu", "gpu"])
def share(request: pytest.FixtureRequest) -> Share:
    share: Share = request.param
    return share


@pytest.fixture
def worker(share: Share, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("asvp.actors.metrics.count", lambda *told, **tags: None)
    monkeypatch.setattr("asvp.actors.worker.few_heaps", lambda count: None)
    # What it says to the tokenizers library is for a process of its own.
    monkeypatch.setattr("os.environ", dict(os.environ))
    return _Worker(share, 1.0)


@pytest.mark.parametrize("said", ["true", "false", None])
def test_texts_are_tokenised_by_all_cores_of_a_worker_whatever_the_environment_says(
    said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvp.actors.worker.few_heaps", lambda count: None)
    monkeypatch.setattr("os.environ", {key: text for key, text in os.environ.items() if key != TOKENIZERS})
    if said is not None:
        os.environ[TOKENIZERS] = said
    _Worker(Share(3.0), 3.0)
    assert (os.environ[TOKENIZERS], os.environ["RAYON_NUM_THREADS"]) == ("true", "3")


def test_all_work_is_done_by_a_few_threads_and_all_are_used(worker: Any, share: Share) -> None:
    most = 4 if share.gpus else 2
    threads, all_of_them = set(), threading.Barrier(most)

    def note(*asked: Any) -> Any:
        # As many shards at a time: none ends before the others have begun.
        all_of_them.wait(30)
        threads.add(threading.get_ident())
        return "table", jobs.ShardReport(0, 1, 1, None, reused=True)

    def do(*asked: Any) -> Any:
        threads.add(threading.get_ident())
        return None, (None, NOTHING)

    worker._bench = SimpleNamespace(extract=note, do=do, train=do, train_beside=do)
    with ThreadPoolExecutor(8) as ray_threads:
        asked = [ray_threads.submit(worker.extract, None, None, None) for _ in range(3 * most)]
        for one in asked:
            assert one.result()[0] == "table"
        job = jobs.IndicatorJob((), None, None, None)  # type: ignore[arg-type]
        done = [ray_threads.submit(worker.do, job, None) for _ in range(6)]
        done += [
            ray_threads.submit(worker.train, None, None),
            ray_threads.submit(worker.train_beside, None, None, None),
        ]
        for one in done:
            one.result()
    assert len(threads) == most
    assert worker._active == 0


def test_what_the_work_raises_is_raised_to_who_asked(worker: Any) -> None:
    def fail(*asked: Any) -> Any:
        raise ZeroDivisionError("inside")

    worker._bench = SimpleNamespace(train=fail)
    with pytest.raises(ZeroDivisionError, match="inside"):
        worker.train(None, None)
    worker.rest()
