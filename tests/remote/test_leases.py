"""One holder of a directory at a URI, how an older one is fenced out, and what is at the URI when a process dies."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from recording import Told
from tiny_runs import wait_until

from asvp.errors import RunDirectoryError, StorageError, SupersededError
from asvp.record.run_directory import RunDirectory
from asvp.remote import copies, lease, objects
from asvp.remote.copies import at_hand, copy_of, held_here, named
from asvp.remote.objects import ChangedError, Objects
from asvp.report.status_files import read_status

SECRET = "wJalrXUtnFEMI"


@contextmanager
def directory_at(uri: str, **given: Any) -> Iterator[RunDirectory]:
    with at_hand(uri, **given) as folder:
        yield RunDirectory(folder)


def there(uri: str) -> dict[str, bytes]:
    """Objects below a URI, and what they hold, but for the lease."""
    filesystem, base = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    found = filesystem.find(base)
    return {path.removeprefix(f"{base}/"): filesystem.cat_file(path) for path in found if not path.endswith(lease.HELD)}


def elsewhere(uri: str, name: str = f"checkpoint/{lease.HELD}") -> None:
    """Have the holder be one of another machine, whose locks are not seen here."""
    store = Objects(uri)
    told = json.loads(store.read(name) or b"")
    store.put(name, json.dumps({**told, "machine": "another"}).encode())


def fill(folder: Path) -> None:
    (folder / "weights").write_text("new")


def test_a_file_is_at_the_uri_as_soon_as_it_is_written_and_gone_when_it_is_removed(bucket: str) -> None:
    uri = f"{bucket}/runs/first"
    with directory_at(uri) as directory:
        assert named(directory.path) == uri
        assert directory.path.name == "first"
        with directory.held():
            directory.write_failure("kind", "why")
            directory.write_rounds([{"labelled": 1}])
            directory.write_stopped({"message": "enough"})
            assert set(there(uri)) == {"failure.json", "rounds.jsonl", "stopped.json"}
            directory.forget_failure()
            directory.replace_model(fill)
            assert set(there(uri)) == {"rounds.jsonl", "stopped.json", "model/weights", "model/.asvp.json"}
        directory.forget_stopped()
        directory.drop_model()
        (directory.path / "figure.png").write_bytes(b"drawn")
    assert not directory.path.exists()
    assert there(uri) == {"rounds.jsonl": b'{"labelled": 1}\n', "figure.png": b"drawn"}


def test_who_comes_later_finds_all_of_it_and_of_the_model_the_names(bucket: str) -> None:
    with directory_at(bucket) as directory, directory.held():
        directory.write_rounds([{"labelled": 1}])
        directory.replace_model(fill)
        directory.write(directory.checkpoint / "state.json", lambda path: path.write_text("{}"))
    with directory_at(bucket) as directory:
        assert directory.rounds() == [{"labelled": 1}]
        assert (directory.checkpoint / "state.json").read_text() == "{}"
        assert (directory.model / "weights").stat().st_size == 0
        directory.require_own_model()
    assert there(bucket)["model/weights"] == b"new"
    with at_hand(bucket, reading=True) as folder:
        assert {path.name for path in Path(folder).iterdir()} == {"checkpoint", "model", "rounds.jsonl"}
        assert not (Path(folder) / "checkpoint" / "state.json").exists()


def test_a_model_that_was_half_put_is_known_to_be_ours_and_replaced(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def only_the_marker(self: Any, name: str, *given: Any) -> str:
        if name.endswith("weights"):
            raise StorageError("gone")
        return put(self, name, *given)

    put = Objects.put
    with directory_at(bucket) as directory, directory.held(), monkeypatch.context() as patch:
        patch.setattr(Objects, "put", only_the_marker)
        with pytest.raises(StorageError):
            directory.replace_model(fill)
    assert set(there(bucket)) == {"model/.asvp.json"}
    with directory_at(bucket) as directory, directory.held():
        directory.require_own_model()
        directory.replace_model(fill)
    assert there(bucket)["model/weights"] == b"new"


def test_a_directory_has_one_holder_and_is_free_after_it(bucket: str) -> None:
    with directory_at(bucket) as one, directory_at(bucket) as other:
        with (
            one.held(),
            pytest.raises(RunDirectoryError, match="another process is at work here") as caught,
            other.held(),
        ):
            raise AssertionError
        assert caught.value.value == bucket
        with other.held():
            pass
    told = json.loads(Objects(bucket).read(f"checkpoint/{lease.HELD}") or b"")
    assert told == {"incarnation": 2, "holder": None}


def test_whether_somebody_is_at_work_there_is_told_by_the_last_sign_of_life(bucket: str) -> None:
    def told() -> tuple[bool, str]:
        with at_hand(bucket, reading=True) as folder:
            status = read_status(Path(folder))
            return status.at_work, status.trials[0].state

    with directory_at(bucket) as directory:
        with directory.held():
            directory.write_rounds([{"labelled": 1}])
            assert told() == (True, "running")
        assert told() == (False, "begun")


def test_of_two_that_come_together_one_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Objects(bucket)

    def look_while_another_comes(self: Objects, name: str) -> Any:
        found = look(self, name)
        monkeypatch.setattr(Objects, "look", look)
        store.put(name, json.dumps({"incarnation": 1, "holder": "another"}).encode())
        return found

    look = Objects.look
    with directory_at(bucket) as directory:
        monkeypatch.setattr(Objects, "look", look_while_another_comes)
        monkeypatch.setattr(lease, "_is_at_work", lambda *given: True)
        with pytest.raises(RunDirectoryError, match="another process is at work here"), directory.held():
            raise AssertionError
    assert json.loads(store.read(f"checkpoint/{lease.HELD}") or b"")["holder"] == "another"


def test_a_holder_on_another_machine_is_known_by_its_signs_of_life(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.02)
    monkeypatch.setattr(lease, "_LOOK", 0.02)
    told = Told()
    with directory_at(bucket) as one, directory_at(bucket, say=told.say) as other, ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lease.holds, "machine", lambda: "another")
            stack.enter_context(one.held())
        (one.path / "run.log").write_text("a line")
        wait_until(lambda: "run.log" in there(bucket))
        with pytest.raises(RunDirectoryError, match="another process is at work here"), other.held():
            raise AssertionError
        one.require_hold()
    assert len(told.lines) == 1
    assert "whether it lives is known in 45 seconds" in told.lines[0]


def test_one_on_another_machine_that_is_silent_is_fenced_out_and_writes_nothing(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "SILENCE", 0.05)
    monkeypatch.setattr(lease, "_LOOK", 0.02)
    with directory_at(bucket) as one, directory_at(bucket) as other, one.held():
        one.write_rounds([{"labelled": 1}])
        elsewhere(bucket)
        with other.held():
            assert other.rounds() == [{"labelled": 1}]
            other.write_rounds([{"labelled": 2}])
            gone = one.path / "rounds.jsonl"
            for act in (lambda: one.write_rounds([]), lambda: one.remove(gone), lambda: one.replace_model(fill)):
                with pytest.raises(SupersededError, match="taken over"):
                    act()
    assert there(bucket)["rounds.jsonl"] == b'{"labelled": 2}\n'


def test_a_write_that_was_on_its_way_while_another_took_over_is_refused_by_the_store(bucket: str) -> None:
    store = Objects(bucket)
    first = store.put("file", b"first", None)
    second = store.put("file", b"second", first)
    for late in (first, None):
        with pytest.raises(ChangedError):
            store.put("file", b"late", late)
    store.remove("file")
    with pytest.raises(ChangedError):
        store.put("file", b"late", second)
    assert there(bucket) == {}


def test_a_store_without_conditions_is_looked_at_instead(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Objects("memory://without-conditions")
    assert not store.conditional
    first = store.put("a/file", b"first", None)
    with pytest.raises(ChangedError):
        store.put("a/file", b"other", None)
    store.put("a/file", b"longer", first)
    assert store.read("a/file") == b"longer"
    with directory_at("memory://without-conditions/run") as one, one.held():
        one.write_rounds([{"labelled": 1}])
        with (
            directory_at("memory://without-conditions/run") as other,
            pytest.raises(RunDirectoryError, match="another process"),
            other.held(),
        ):
            raise AssertionError
    assert set(there("memory://without-conditions/run")) == {"rounds.jsonl"}


def test_a_mandate_takes_over_at_once_and_one_that_has_ended_takes_nothing(bucket: str) -> None:
    with ExitStack() as stack:
        sweep = Path(stack.enter_context(at_hand(f"{bucket}/sweep")))
        hold = stack.enter_context(held_here(sweep, sweep))
        mandate = hold.mandate
        place = f"{bucket}/sweep/runs/svp-seed0"
        old = stack.enter_context(directory_at(place, begun=True))
        stack.enter_context(old.held(mandate))
        old.write_rounds([{"labelled": 1}])
        new = stack.enter_context(directory_at(place, begun=True))
        with new.held(mandate):
            new.write_rounds([{"labelled": 2}])
            with pytest.raises(SupersededError):
                old.write_rounds([])
        copies.fetch_folder(sweep / "runs" / "svp-seed0")
        assert RunDirectory(sweep / "runs" / "svp-seed0").rounds() == [{"labelled": 2}]
        RunDirectory(sweep / "runs" / "svp-seed0").write_stopped({"message": "enough"})
        assert new.stopped() is None
        assert new.stopped(anew=True) == {"message": "enough"}
    with directory_at(place, begun=True) as late, pytest.raises(SupersededError), late.held(mandate):
        raise AssertionError


def test_what_others_keep_there_is_neither_fetched_nor_touched(bucket: str) -> None:
    store = Objects(bucket)
    for name in ("photos/one.jpg", "notes.txt"):
        store.put(name, b"mine")
    with directory_at(bucket) as directory:
        assert (directory.path / "notes.txt").stat().st_size == 0
        assert not (directory.path / "photos" / "one.jpg").exists()
        with pytest.raises(RunDirectoryError, match=r"is not empty \(notes.txt lies there\)") as caught:
            directory.check(resume=False)
    assert str(caught.value).startswith("--out: ")
    assert there(bucket) == {"photos/one.jpg": b"mine", "notes.txt": b"mine"}


def test_names_of_objects_lead_nowhere_else() -> None:
    store = Objects("memory://climbing/sweep")
    for name in ("runs/svp/arm.json", "runs/../../outside", "runs//twice", ".asvp.json"):
        store._filesystem.store[f"/climbing/sweep/{name}"] = MemoryFile(data=b"{}")
    assert set(store.below("runs")) == {"runs/svp/arm.json"}


def test_a_uri_with_a_secret_is_refused_and_the_secret_is_not_shown() -> None:
    for uri in (f"s3://me:{SECRET}@bucket/run", f"s3://bucket/run?X-Amz-Signature={SECRET}"):
        with pytest.raises(RunDirectoryError, match="holds a password") as caught, at_hand(uri):
            raise AssertionError
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.value)


@pytest.mark.parametrize("uri", ["s3://", "s3:///run", "s3://bucket//run", "s3://bucket/../run", "s3://bu\ncket/x"])
def test_a_uri_that_can_be_no_directory_is_refused(uri: str) -> None:
    with pytest.raises(RunDirectoryError, match="is no URI of a folder"), at_hand(uri):
        raise AssertionError


def test_an_unknown_kind_of_uri_is_refused() -> None:
    with pytest.raises(RunDirectoryError, match="cannot be opened"), at_hand("nosuch://bucket/run"):
        raise AssertionError


def test_a_file_uri_is_the_folder(tmp_path: Path) -> None:
    with directory_at(f"file://{tmp_path}/a%20run") as directory:
        assert directory.path == tmp_path / "a run"


def test_no_bucket_and_no_rights_are_errors_before_work(server: Any, bucket: str) -> None:
    with pytest.raises(RunDirectoryError, match="there is no bucket 'nowhere'"), at_hand("s3://nowhere/run"):
        raise AssertionError
    for mood, said in (("refusing", "cannot be listed"), ("refusing writes", "cannot be written")):
        server.mood = mood
        with pytest.raises(RunDirectoryError, match=f"{said}.*Denied") as caught, at_hand(bucket):
            raise AssertionError
        assert (caught.value.key, caught.value.value, caught.value.exit_code) == ("--out", bucket, 2)
        assert "credentials" in str(caught.value.mend)


def test_a_store_that_is_slow_to_answer_is_told_of(server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "SAY_AFTER_SECONDS", 0.01)
    server.mood = "slow"
    told = Told()
    with directory_at(bucket, say=told.say):
        pass
    assert set(told.lines) == {f"{bucket} has not answered for 0 seconds; it is waited for"}


def test_a_store_that_comes_back_while_it_is_waited_for_has_cost_nothing(
    server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with directory_at(bucket) as directory, directory.held():
        copy = copy_of(directory.path)
        assert copy is not None
        copy.objects.patience = 60.0
        restored = []

        def restore(seconds: float) -> None:
            server.restore()
            restored.append(True)

        monkeypatch.setattr(objects, "time", SimpleNamespace(monotonic=time.monotonic, sleep=restore))
        server.cut()
        directory.write_rounds([{"labelled": 1}])
        assert restored == [True]
    assert there(bucket)["rounds.jsonl"] == b'{"labelled": 1}\n'
