"""The cache: atomic, checksummed, evicted by use."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from asvp.cli.app import cli
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
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    evicted = cache.prune(limit=2200)
    assert [info.key for info in evicted] == ["old"]
    assert [info.key for info in cache.entries()] == ["new", "middle"]


def test_prune_spares_what_is_kept_and_what_was_used_just_now(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("kept", "fresh"):
        cache.entry("features", name).write("0", bytes(1000), "arrow")
        cache.entry("features", name).describe({})
    assert cache.prune(limit=0) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    assert [info.key for info in cache.prune(limit=0, keep=frozenset({"kept"}))] == ["fresh"]


def test_prune_tells_what_it_leaves_and_why(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    for name in ("one", "other"):
        cache.entry("features", name).write("0", bytes(1_500_000), "arrow")
    for limit, said in (("1KB", "3.0 MB are left that were used in the last 25 minutes"), ("1GB", None)):
        done = CliRunner().invoke(cli, ["cache", "prune", limit, "--cache", str(tmp_path)])
        first, *more = done.output.splitlines()
        assert first == "0 entries evicted, 0.0 MB freed"
        assert more == ([said] if said else [])


def test_a_folder_that_cannot_be_made_is_refused_and_nothing_is_left_of_the_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Cache(str(tmp_path / "new" / "cache"))
    assert not list(tmp_path.iterdir())

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(CacheError, match=r"is not a folder that can be written .*Name another folder, or null"):
        Cache(str(tmp_path / "new" / "cache"))


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


@pytest.mark.parametrize("size", [-5, 0, True, 2.5, "0", "0.4", "nan", "inf", "1e9", "9" * 400, "five GB", "-5"])
def test_a_limit_that_no_cache_can_keep_is_refused(size: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"extraction\.cache_limit.*Write for example 200GB"):
        Cache(str(tmp_path), size)


@pytest.mark.parametrize("root", ["", "  ", "~nobody-has-this-name/cache", "a\0b", "x" * 300, "nosuchscheme://x/y"])
def test_a_root_that_is_no_folder_is_refused_with_its_key(root: str) -> None:
    with pytest.raises(CacheError) as caught:
        Cache(root)
    assert (caught.value.key, caught.value.value) == ("extraction.cache", root) or root == "x" * 300
    assert caught.value.mend


def foreign_tree(folder: Path) -> dict[str, bytes]:
    """A project with folders and names such as a cache has; what is in it."""
    files = {
        "features/train/data.arrow": b"mine",
        "features/0123456789abcdef0123456789abcdef/notes.txt": b"mine",
        "models/best/weights.safetensors": b"mine",
        "models/best/config/entry.json": b"{}",
        "teams/a/readme": b"mine",
        "digests/x": b"mine",
        "main.py": b"mine",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_of_something_else_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    files = foreign_tree(tmp_path)
    with pytest.raises(CacheError, match="is no cache: it holds other things"):
        Cache(str(tmp_path))
    with pytest.raises(CacheError, match="is no cache"):
        CacheEntry(str(tmp_path), "models", "best").write("weights", b"x", "safetensors")
    assert content_of(tmp_path) == files


@pytest.mark.parametrize("command", [["ls"], ["verify"], ["prune", "0"]])
def test_the_commands_touch_nothing_that_is_no_cache(command: list[str], tmp_path: Path) -> None:
    files = foreign_tree(tmp_path)
    missing = tmp_path / "missing"
    for root, words in ((tmp_path, "is no cache"), (missing, "no such folder")):
        done = subprocess.run(
            [sys.executable, "-m", "asvp", "cache", *command, "--cache", str(root)], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert content_of(tmp_path) == files
    assert not missing.exists()


def test_pruning_a_cache_leaves_files_of_others_in_it(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a user's own files inside an entry, nor a tree with the names of one."""
    entry = cache.entry("models", "best")
    entry.write("head", b"ours", "safetensors")
    entry.describe({"what": "ours"})
    files = foreign_tree(Path(cache.root))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    assert [info.key for info in cache.prune(limit=0)] == ["best"]
    assert cache.entries() == []
    left = content_of(Path(cache.root))
    assert {name: left[name] for name in files} == files
    assert set(left) - set(files) == {"format.json"}


def test_an_entry_that_is_being_written_is_not_the_oldest(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    old = cache.entry("features", "old")
    old.write("0", bytes(1000), "arrow")
    old.describe({})
    now = time.time()
    for path in (Path(cache.root) / "features" / "old").iterdir():
        os.utime(path, (now - 5000, now - 5000))
    monkeypatch.setattr(time, "time", lambda: now - 5000)
    old.describe({})
    os.utime(Path(cache.root) / "features" / "old" / "entry.json", (now - 5000, now - 5000))
    monkeypatch.undo()
    cache.entry("features", "written now").write("0", bytes(1000), "arrow")
    assert [info.key for info in cache.prune(limit=1200)] == ["old"]
    assert [info.key for info in cache.entries()] == ["written now"]


@pytest.mark.parametrize("apart", [-600, 600])
def test_what_a_machine_whose_clock_differs_has_in_use_stays(
    cache: Cache, apart: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the files' times are by that clock."""
    now = time.time()
    for name, moment in (("long ago", now + apart - 5000), ("in use there", now + apart)):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        cache.entry("features", name).write("0", bytes(1000), "arrow")
        cache.entry("features", name).describe({})
        for path in (Path(cache.root) / "features" / name).iterdir():
            os.utime(path, (moment, moment))
    monkeypatch.setattr(time, "time", lambda: now)
    assert [info.key for info in cache.prune(limit=0)] == ["long ago"]


def test_after_the_clock_was_set_back_entries_of_the_future_go_first(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    for name, moment in (("future", now + 10**6), ("today", now)):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        cache.entry("features", name).write("0", bytes(1000), "arrow")
        cache.entry("features", name).describe({})
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    assert [info.key for info in cache.prune(limit=1200)] == ["future"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"used": "soon", "seconds": "x"}', '{"used": NaN, "seconds": true}', "[" * 100_000]
)
def test_a_damaged_description_tells_nothing(cache: Cache, text: str) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"x", "arrow")
    (Path(cache.root) / "features" / "k" / "entry.json").write_text(text)
    assert entry.spent() is None
    entry.touch()
    assert [info.parts for info in cache.entries()] == [1]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "1"}', '{"format": null}', '{"format": true}'])
def test_a_mark_that_is_not_a_caches_is_refused(cache: Cache, text: str) -> None:
    Path(cache.root).mkdir()
    (Path(cache.root) / "format.json").write_text(text)
    with pytest.raises(CacheError, match=r"format\.json is not that of a cache"):
        Cache(cache.root)


@pytest.mark.parametrize("place", ["", "/features", "/features/k"])
def test_a_file_in_the_way_is_a_cache_error(cache: Cache, place: str) -> None:
    if place:
        cache.entry("teams", "t").write("0", b"x", "arrow")
    path = Path(cache.root + place)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("in the way")
    with pytest.raises(CacheError, match=r"extraction\.cache"):
        Cache(cache.root).entry("features", "k").write("0", b"x", "arrow")
    assert path.read_text() == "in the way"


def test_a_cache_that_is_removed_during_a_run_is_begun_anew(cache: Cache) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"x", "arrow")
    shutil.rmtree(cache.root)
    assert entry.parts() == {}
    entry.write("1", b"y", "arrow")
    assert Cache(cache.root).entry("features", "k").read("1").to_pybytes() == b"y"


WRITER = """
import sys
from asvp.features.cache import Cache
entry = Cache(sys.argv[1]).entry("features", sys.argv[2])
print("ready", flush=True)
for number in range(60):
    entry.write(f"{number:06d}", bytes([number]) * 5000, "arrow")
entry.describe({"seconds": 1.0})
"""
PRUNER = """
import sys, time
from asvp.features import cache
# Nothing counts as in use, so that pruning and writing meet.
cache._IN_USE_SECONDS = 0.0
held = cache.Cache(sys.argv[1])
print("ready", flush=True)
until = time.monotonic() + 2
while time.monotonic() < until:
    held.prune(limit=0)
    list(held.verify())
"""


def test_writers_of_one_key_and_pruners_in_other_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    root = str(tmp_path / "cache")
    Cache(root).entry("features", "first").write("0", b"x", "arrow")
    scripts = [(WRITER, "k"), (WRITER, "k"), (WRITER, "other"), (PRUNER, ""), (PRUNER, "")]
    running = [
        subprocess.Popen([sys.executable, "-c", text, root, key], stderr=subprocess.PIPE, text=True)
        for text, key in scripts
    ]
    for process in running:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert all(error is None for _, error in Cache(root).verify())
    again = [subprocess.Popen([sys.executable, "-c", WRITER, root, "k"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in again] == [0, 0]
    entry = Cache(root).entry("features", "k")
    assert len(entry.parts()) == 60
    assert entry.read("000007").to_pybytes() == bytes([7]) * 5000


def test_a_writer_that_was_killed_leaves_what_prune_clears_away_later(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = cache.entry("features", "k")
    entry.write("0", b"x", "arrow")
    folder = Path(cache.root) / "features" / "k"
    (folder / f".1-{'0' * 32}.arrow.{'a' * 32}.tmp").write_bytes(bytes(100))
    assert sum(info.nbytes for info in cache.entries()) == 101
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 2000)
    cache.prune(limit=0)
    assert [path.suffix for path in folder.iterdir()] == [".tmp"]
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    cache.prune(limit=0)
    assert not folder.exists()
