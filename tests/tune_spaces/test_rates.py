"""What the cache remembers of the time that work takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_config

from asvp.driver.loop import run
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared
from asvp.features.cache import Cache
from asvp.spent import Spent
from asvp.tune_spaces.rates import Rates, known_rates, remembered
from asvp.tune_spaces.work import shared_by


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture
def prepared(folder: Path, tmp_path: Path) -> Prepared:
    return prepare(tiny_config(folder, extraction={"cache": str(tmp_path / "cache")}))


def describe(prepared: Prepared, kind: str, key: str, cost: Spent, **told: Any) -> None:
    """An entry as somebody else has left it, who worked on the kind of device that it cost."""
    assert prepared.cache is not None
    there = prepared.resolved(prepared.config.encoder, "cuda" if cost.gpu_seconds else "cpu")
    entry = prepared.cache.entry(kind, key)
    entry.write("part", b"bytes", "bin")
    entry.describe({"encoder": there.encoder_fingerprint, "spent": cost.as_json()} | told)


def test_nothing_is_remembered_of_what_was_never_done(prepared: Prepared, folder: Path) -> None:
    assert remembered(prepared, gpu=False) == Rates()
    assert remembered(prepare(tiny_config(folder)), gpu=False) == Rates()


def test_a_run_leaves_what_the_next_plan_reads(prepared: Prepared) -> None:
    run(prepared.config, in_process=True, prepared=prepared)
    found = remembered(prepared, gpu=False)
    assert found.cached == {"pool", "test"}
    assert found.encoded is not None
    assert found.encoded.seconds > 0
    assert list(found.trained) == ["ft"]
    assert prepared.cache is not None
    (model,) = [entry for entry in prepared.cache.entries() if entry.kind == "models"]
    assert (model.description["rows"], model.description["epochs"]) == (40, 1)
    spent = Spent.from_json(model.description["spent"])
    assert spent is not None
    assert found.trained["ft"].cpu_seconds == pytest.approx(spent.cpu_seconds / 40)
    assert known_rates([prepared], gpu=False) == {shared_by(prepared.config): found}
    # What a processor does says nothing of a GPU, and its features are not those that a GPU makes.
    assert remembered(prepared, gpu=True) == Rates()


def test_rates_are_means_over_the_rows_of_all_entries_of_the_encoder(prepared: Prepared) -> None:
    describe(prepared, "features", "a" * 32, Spent(10.0, 20.0), rows=100)
    describe(prepared, "features", "b" * 32, Spent(2.0, 2.0), rows=20)
    describe(prepared, "models", "c" * 32, Spent(6.0, 6.0), rows=3, epochs=2, method="ft")
    describe(prepared, "models", "d" * 32, Spent(8.0, 8.0), rows=8, epochs=1, method="ft")
    describe(prepared, "models", "e" * 32, Spent(5.0, 5.0, 5.0), rows=8, epochs=1, method="lp_ft")
    found = remembered(prepared, gpu=False)
    assert found.encoded == Spent(12 / 120, 22 / 120)
    assert found.trained == {"ft": Spent(14 / 14, 14 / 14)}
    assert remembered(prepared, gpu=True).trained == {"lp_ft": Spent(5 / 8, 5 / 8, 5 / 8)}


@pytest.mark.parametrize(
    "told",
    [
        {"encoder": "another", "rows": 10},
        {"rows": "10"},
        {"rows": True},
        {"rows": 0},
        {},
        {"rows": 10, "spent": {"seconds": -1.0}},
        {"rows": 10, "spent": {"seconds": 0.0, "cpu_seconds": 0.0, "gpu_seconds": 0.0}},
    ],
)
def test_entries_that_tell_nothing_of_this_encoder_are_passed_over(prepared: Prepared, told: dict[str, Any]) -> None:
    describe(prepared, "features", "a" * 32, Spent(1.0, 1.0), **told)
    describe(prepared, "models", "b" * 32, Spent(1.0, 1.0), method="ft", epochs=1, **told)
    describe(prepared, "models", "c" * 32, Spent(1.0, 1.0), rows=3, epochs=1, method="unheard of")
    assert remembered(prepared, gpu=False) == Rates()


def test_a_cache_that_cannot_be_read_tells_nothing(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    from asvp.errors import CacheError

    def broken(*_: Any) -> Any:
        raise CacheError("cannot be reached")

    monkeypatch.setattr(Cache, "entries", broken)
    monkeypatch.setattr("asvp.features.cache.CacheEntry.parts", broken)
    assert remembered(prepared, gpu=False) == Rates()
