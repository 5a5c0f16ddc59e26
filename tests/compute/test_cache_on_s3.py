"""A cache in a bucket serves as one on a disk does; away, slow, silent or refusing, it costs its reuse and is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recording import Told
from tiny_runs import picks, tiny_config, wait_until

from asvp.config import Config
from asvp.driver.loop import RunResult, run
from asvp.errors import CacheError
from asvp.features import lateness
from asvp.features import store as stores
from asvp.features.cache import Cache
from asvp.features.store import Store, open_store

pytest.importorskip("s3fs", reason="asvp[s3] is not installed")
pytest.importorskip("moto", reason="moto is not installed")

from s3_server import S3Server


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server
    server.cut()


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a bucket of the test's own."""
    open_store.cache_clear()
    server.requests.clear()
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    yield server.make_bucket(name[-60:].strip("-"))
    server.mood = "well"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def settings(folder: Path, cache: str | None) -> Config:
    return tiny_config(folder, mode="asvp", refresh={"policy": "at", "at": [20]}, extraction={"cache": cache})


@pytest.fixture(scope="module")
def local(folder: Path) -> Path:
    """A run with its cache on a disk."""
    run(settings(folder, str(folder / "cache")), out=folder / "local", in_process=True)
    return folder / "local"


def run_with(folder: Path, cache: str, out: Path, **given: Any) -> tuple[RunResult, list[str]]:
    told = Told()
    result = run(settings(folder, cache), out=out, in_process=True, reporter=told, **given)
    return result, [line for line in told.lines if "cache" in line]


def accuracies(out: Path) -> list[Any]:
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    return [(one["proxy_accuracy"], one["final_accuracy"]) for one in rounds]


def assert_as_local(out: Path, local: Path) -> None:
    assert picks(out) == picks(local)
    assert accuracies(out) == accuracies(local)


def patient_for(seconds: float, patch: pytest.MonkeyPatch) -> None:
    """Have clients wait no longer for a byte."""
    patch.setattr(stores, "_SILENCE_SECONDS", seconds)
    open_store.cache_clear()


def test_a_bucket_serves_as_a_folder_does(bucket: str, folder: Path, local: Path, tmp_path: Path) -> None:
    _, told = run_with(folder, f"{bucket}/asvp", tmp_path / "first")
    assert told == []
    again, told = run_with(folder, f"{bucket}/asvp", tmp_path / "second")
    assert told == []
    assert again.summary["saved_seconds"] > 0
    assert_as_local(tmp_path / "first", local)
    assert_as_local(tmp_path / "second", local)
    kinds = [info.kind for info in Cache(f"{bucket}/asvp").entries()]
    assert sorted(set(kinds)) == ["features", "models"]


def test_a_server_that_answers_late_is_waited_for(
    server: S3Server, bucket: str, folder: Path, local: Path, tmp_path: Path
) -> None:
    server.mood = "slow"
    _, told = run_with(folder, bucket, tmp_path / "out")
    assert told == []
    assert {info.kind for info in Cache(bucket).entries()} == {"features", "models"}
    assert_as_local(tmp_path / "out", local)


def test_a_server_whose_answers_are_late_again_and_again_is_told_of_by_its_name(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "SAY_AFTER_SECONDS", 0.2)
    told, cache = Told(), Cache(bucket)
    server.mood = "slow"

    def is_told_twice() -> bool:
        assert cache.entry("features", "key").parts() == {}
        return len(told.lines) > 1

    with lateness.telling_lateness(told.say):
        wait_until(is_told_twice)
    said = r"The cache answers late: \d+ of \d+ s were waited for it, now for features/key to be listed in "
    assert re.fullmatch(said + re.escape(bucket), told.lines[0])


def test_what_is_said_of_a_late_store_holds_no_secrets_and_quick_ones_are_not_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quick = lateness.Lateness()
    with lateness.waiting("for it to be read in s3://me:hush@bucket"):
        assert quick.look() == ""
        monkeypatch.setattr(lateness, "SAY_AFTER_SECONDS", 0.01)
        late = lateness.Lateness()
        said: list[str] = []
        wait_until(lambda: bool(said.append(late.look()) or said[-1]))
    assert "now for it to be read in s3://" in said[-1]
    assert "hush" not in said[-1]


def test_a_server_that_is_cut_off_in_the_middle_is_told_and_changes_nothing(
    server: S3Server, bucket: str, folder: Path, local: Path, tmp_path: Path
) -> None:
    cut = []

    def cut_off(record: Any) -> None:
        if not cut:
            cut.append(True)
            server.cut()

    _, told = run_with(folder, bucket, tmp_path / "out", on_round=cut_off)
    server.restore()
    assert len(told) == 1
    assert "EndpointConnectionError: Could not connect" in told[0]
    assert_as_local(tmp_path / "out", local)


def test_a_server_that_falls_silent_holds_nothing_up_for_long(
    server: S3Server, bucket: str, folder: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_for(0.5, monkeypatch)

    def fall_silent(record: Any) -> None:
        server.mood = "silent"

    _, told = run_with(folder, bucket, tmp_path / "out", on_round=fall_silent)
    assert len(told) == 1
    assert "timeout" in told[0].lower()
    assert_as_local(tmp_path / "out", local)
    # It was asked once, with the client's own attempts, and then left alone.
    assert server.requests["silent"] == stores._ATTEMPTS


def test_a_server_that_begins_to_refuse_is_told_and_changes_nothing(
    server: S3Server, bucket: str, folder: Path, local: Path, tmp_path: Path
) -> None:
    def refuse(record: Any) -> None:
        server.mood = "refusing"

    _, told = run_with(folder, bucket, tmp_path / "out", on_round=refuse)
    # That it cannot be read, and that it cannot be listed.
    assert len(told) == 2
    assert all("Access Denied" in line or "AccessDenied" in line or "Forbidden" in line for line in told)
    assert_as_local(tmp_path / "out", local)


def test_a_cache_that_may_only_be_read_is_read(
    server: S3Server, bucket: str, folder: Path, local: Path, tmp_path: Path
) -> None:
    run_with(folder, bucket, tmp_path / "first")
    server.mood = "refusing writes"
    again, told = run_with(folder, bucket, tmp_path / "out")
    assert told == []
    assert again.summary["saved_seconds"] > 0
    assert_as_local(tmp_path / "out", local)


def test_a_server_that_refuses_from_the_beginning_is_an_error_before_work(
    server: S3Server, bucket: str, folder: Path, tmp_path: Path
) -> None:
    server.mood = "refusing"
    with pytest.raises(CacheError, match=r"Access ?Denied|Forbidden") as caught:
        run_with(folder, bucket, tmp_path / "out")
    assert (caught.value.key, caught.value.value) == ("extraction.cache", bucket)
    assert "credentials" in str(caught.value.mend)
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_an_error_before_work(server: S3Server, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="there is no bucket 'nowhere'"):
        run_with(folder, "s3://nowhere/asvp", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_silent_server_is_an_error_before_work(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient_for(0.2, monkeypatch)
    server.mood = "silent"
    with pytest.raises(CacheError, match=r"(?i)timeout"):
        Cache(bucket)


def test_the_patience_of_the_client_is_bounded_and_what_the_user_set_counts(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 77, "signature_version": "s3v4"}})
    filesystem = Store(bucket)._filesystem
    assert filesystem.config_kwargs["connect_timeout"] == 5
    assert filesystem.config_kwargs["read_timeout"] == 77
    assert filesystem.config_kwargs["signature_version"] == "s3v4"
    assert filesystem.config_kwargs["retries"]["total_max_attempts"] == 3
