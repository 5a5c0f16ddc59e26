"""The cache: atomic, checksummed, evicted by use."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from asvp.errors import CacheError, ConfigError
from asvp.features.cache import Cache, CacheEntry, DamagedPartError, content_key, parse_size


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


def stored_file(cache: Cache, entry: CacheEntry, part: str) -> Path:
    return Path(cache.root) / entry.kind / entry.key / entry.parts()[part]


def test_a_part_is_read_back_in_another_cache_object(cache: Cache) -> None:
    cache.entry("features", "k").write("0", b"hello", "arrow")
    assert Cache(cache.root).entry("features", "k").read("0").to_pybytes() == b"hello"


@pytest.mark.parametrize("change", ["truncate", "alter", "empty"])
def test_a_damaged_part_is_refused_removed_and_can_be_written_again(cache: Cache, change: str) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"hello world", "arrow")
    path = stored_file(cache, entry, "0")
    path.write_bytes({"truncate": b"hello", "alter": b"hellO world", "empty": b""}[change])
    with pytest.raises(DamagedPartError):
        entry.read("0")
    entry.write("0", b"hello world", "arrow")
    assert entry.read("0").to_pybytes() == b"hello world"


def test_a_missing_part_is_told(cache: Cache) -> None:
    with pytest.raises(DamagedPartError, match="not stored"):
        cache.entry("features", "k").read("0")


def test_an_unfinished_write_is_not_a_part(cache: Cache) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"x", "arrow")
    path = stored_file(cache, entry, "0")
    path.rename(path.with_name(f".{path.name}.abc.tmp"))
    assert entry.parts() == {}


def test_two_writers_of_one_part_leave_one_whole_part(cache: Cache) -> None:
    entry = cache.entry("features", "k")
    data = os.urandom(1 << 20)
    writers = [threading.Thread(target=entry.write, args=("0", data, "arrow")) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert entry.read("0").to_pybytes() == data
    assert len(list(stored_file(cache, entry, "0").parent.iterdir())) == 1


def test_a_cache_of_a_newer_format_is_refused(cache: Cache) -> None:
    Path(cache.root).mkdir()
    (Path(cache.root) / "format.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(CacheError, match="newer version"):
        Cache(cache.root)


def test_verify_names_the_damaged_part_and_no_other(cache: Cache) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"good", "arrow")
    entry.write("1", b"bad", "arrow")
    entry.describe({})
    stored_file(cache, entry, "1").write_bytes(b"BAD")
    found = {name.rsplit("/", 1)[1].partition("-")[0]: error is None for name, error in cache.verify()}
    assert found == {"0": True, "1": False}


def test_prune_evicts_the_least_recently_used_first(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    for number, name in enumerate(["old", "new", "middle"]):
        monkeypatch.setattr(time, "time", lambda number=number: now + {0: 0, 1: 200, 2: 100}[number])
        entry = cache.entry("features", name)
        entry.write("0", bytes(1000), "arrow")
        entry.describe({})
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    evicted = cache.prune(limit=2200)
    assert [info.key for info in evicted] == ["old"]
    assert [info.key for info in cache.entries()] == ["new", "middle"]


def test_prune_spares_what_is_kept_and_what_was_used_just_now(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kept", "fresh"):
        cache.entry("features", name).write("0", bytes(1000), "arrow")
        cache.entry("features", name).describe({})
    assert cache.prune(limit=0) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000)
    assert [info.key for info in cache.prune(limit=0, keep=frozenset({"kept"}))] == ["fresh"]


def test_a_memory_uri_serves_as_well_as_a_folder() -> None:
    entry = Cache("memory://asvp-test").entry("features", "k")
    entry.write("0", b"hello", "arrow")
    assert entry.read("0").to_pybytes() == b"hello"
    entry.describe({"what": "test"})
    assert [info.key for info in Cache("memory://asvp-test").entries()] == ["k"]


def test_a_full_disk_is_told_and_leaves_no_half_file(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"before", "arrow")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CacheError, match="disk is full"):
        entry.write("1", b"after", "arrow")
    monkeypatch.undo()
    assert set(entry.parts()) == {"0"}
    assert [path.name for path in stored_file(cache, entry, "0").parent.iterdir()] == [entry.parts()["0"]]


@pytest.mark.parametrize(
    ("text", "size"), [("500", 500), ("1KB", 1000), ("1.5 gb", 1_500_000_000), (7, 7), (None, None), ("2T", 2 * 10**12)]
)
def test_sizes_are_understood(text: str | int | None, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "big", "5 XB", "-1GB"])
def test_a_wrong_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"extraction\.cache_limit"):
        parse_size(text)


def test_content_keys_follow_the_content_alone() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key("a", "b") != content_key("ab")
