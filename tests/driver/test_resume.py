"""A run goes on with what it was begun with and built on, its files fit each other, and nobody else's file is lost."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import Told
from tiny_encoders import tiny_text_encoder
from tiny_runs import picks, tiny_config, write_texts

from asvp import Classifier
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.config import Config, build_config, merge
from asvp.driver.loop import RunResult, run
from asvp.driver.preparation import prepare, with_absolute_paths
from asvp.errors import AsvpError, ConfigError, DataError, RunDirectoryError
from asvp.progress import SilentReporter
from asvp.record.run_directory import RunDirectory

ROUNDS = 3


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run of three rounds with a refresh after the first, with the cache that users have."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(
        folder,
        mode="asvp",
        refresh={"policy": "at", "at": [20]},
        training={"method": "lp"},
        extraction={"cache": str(folder / "cache")},
    )


@pytest.fixture(scope="module")
def stored(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `half`, stopped after the second round, and `whole`."""
    folder = tmp_path_factory.mktemp("runs")
    run(config, out=folder / "half", in_process=True, until_round=1)
    run(config, out=folder / "whole", in_process=True)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume(config: Config, out: Path) -> RunResult:
    return run(config, out=out, in_process=True, resume=True)


def copy(stored: Path, name: str, where: Path) -> Path:
    return Path(shutil.copytree(stored / name, where / "run"))


def test_a_finished_run_resumed_with_the_cache_on_tells_the_same(config: Config, stored: Path, tmp_path: Path) -> None:
    out = copy(stored, "whole", tmp_path)
    result = resume(config, out)
    assert result.summary == json.loads((stored / "whole" / "summary.json").read_text())
    assert len(result.rounds) == ROUNDS
    assert "Nothing is left to do" in (out / "run.log").read_text()
    kept = everything(stored / "whole")
    assert {name: content for name, content in everything(out).items() if name != "run.log"} == {
        name: content for name, content in kept.items() if name != "run.log"
    }


def test_a_finished_run_whose_model_was_removed_says_so_and_is_finished(
    config: Config, stored: Path, tmp_path: Path
) -> None:
    out = copy(stored, "whole", tmp_path)
    shutil.rmtree(out / "model")
    result = resume(config, out)
    assert result.summary == json.loads((stored / "whole" / "summary.json").read_text())
    assert f"its final model is no longer in {out / 'model'}" in (out / "run.log").read_text()


def test_that_a_run_is_finished_is_told_by_its_files_without_a_look_at_data_and_encoder(
    config: Config, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def look(*_: object) -> None:
        looked.append("looked")
        raise DataError("was looked at")

    monkeypatch.setattr("asvp.driver.preparation.prepare", look)
    out, heard = copy(stored, "whole", tmp_path), Told()
    run(config, out=out, in_process=True, resume=True, reporter=heard)
    assert (looked, heard.lines) == ([], ["Nothing is left to do: all rounds that were asked for are finished"])
    longer = with_changes(config, {"budget": [*config.budget, 10]})
    with pytest.raises(DataError, match="was looked at"):
        resume(longer, out)
    with pytest.raises(RunDirectoryError, match=r"training\.epochs"):
        resume(with_changes(config, {"training": {"epochs": 7}}), out)


# Each changes one file of a run; the second part is what the error must name.
DAMAGE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "config.yaml missing": ("half", lambda d: (d / "config.yaml").unlink(), "config.yaml"),
    "config.yaml empty": ("half", lambda d: (d / "config.yaml").write_text(""), "config.yaml"),
    "config.yaml with another seed": (
        "half",
        lambda d: (d / "config.yaml").write_text((d / "config.yaml").read_text().replace("seed: 0", "seed: 1", 1)),
        "config.yaml",
    ),
    "environment.json missing": ("half", lambda d: (d / "environment.json").unlink(), "environment.json"),
    "environment.json cut": ("half", lambda d: cut(d / "environment.json"), "environment.json"),
    "rounds.jsonl missing": ("half", lambda d: (d / "rounds.jsonl").unlink(), "rounds.jsonl"),
    "rounds.jsonl cut": ("half", lambda d: cut(d / "rounds.jsonl"), "rounds.jsonl"),
    "rounds.jsonl without its last line": ("half", lambda d: drop_line(d / "rounds.jsonl"), "rounds.jsonl"),
    "rounds.jsonl with another accuracy": ("half", lambda d: praise(d / "rounds.jsonl"), "rounds.jsonl"),
    "rounds.jsonl of a finished run missing": ("whole", lambda d: (d / "rounds.jsonl").unlink(), "rounds.jsonl"),
    "labelled.parquet missing": ("half", lambda d: (d / "labelled.parquet").unlink(), "labelled.parquet"),
    "labelled.parquet cut": ("half", lambda d: cut(d / "labelled.parquet"), "labelled.parquet"),
    "labelled.parquet with another row": ("half", lambda d: other_row(d / "labelled.parquet"), "labelled.parquet"),
    "labelled.parquet of others": (
        "half",
        lambda d: pq.write_table(pa.table({"a": [1]}), d / "labelled.parquet"),
        "labelled.parquet",
    ),
    "checkpoint missing": ("half", lambda d: (d / "checkpoint" / "state.json").unlink(), "state.json"),
    "checkpoint cut": ("half", lambda d: cut(d / "checkpoint" / "state.json"), "state.json"),
    "checkpoint of another round": ("half", lambda d: round_back(d / "checkpoint" / "state.json"), "state.json"),
    "checkpoint of a newer version": ("half", lambda d: newer(d / "checkpoint" / "state.json"), "newer version"),
    "weights missing": ("half", lambda d: weights(d).unlink(), "model-"),
    "weights altered": ("half", lambda d: flip(weights(d)), "model-"),
    "summary.json missing": ("whole", lambda d: (d / "summary.json").unlink(), "summary.json"),
    "summary.json cut": ("whole", lambda d: cut(d / "summary.json"), "summary.json"),
    "summary.json changed": ("whole", lambda d: (d / "summary.json").write_text("{}"), "summary.json"),
    "summary.json before the end": ("half", lambda d: (d / "summary.json").write_text("{}"), "summary.json"),
    "model/ of others": ("half", lambda d: foreign_model(d), "model"),
}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def drop_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def praise(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records[0]["proxy_accuracy"] = 1.0
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def other_row(path: Path) -> None:
    table = pq.read_table(path)
    rows = table["row"].to_pylist()
    rows[0] = next(row for row in range(300) if row not in rows)
    pq.write_table(table.set_column(0, "row", pa.array(rows)), path)


def round_back(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "rounds": 1}))


def newer(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


def weights(folder: Path) -> Path:
    return next((folder / "checkpoint").glob("model-*.safetensors"))


def foreign_model(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "mine.bin").write_text("mine")


@pytest.mark.parametrize("damage", DAMAGE)
def test_files_that_do_not_fit_each_other_are_refused_by_name(
    damage: str, config: Config, stored: Path, tmp_path: Path
) -> None:
    name, do, named = DAMAGE[damage]
    out = copy(stored, name, tmp_path)
    do(out)
    before = everything(out)
    with pytest.raises(RunDirectoryError, match=named):
        resume(config, out)
    after = everything(out)
    before.pop("run.log")
    after.pop("run.log")
    assert after == before


def test_a_key_of_another_version_is_told_with_file_and_version(config: Config, stored: Path, tmp_path: Path) -> None:
    out = copy(stored, "half", tmp_path)
    written = yaml.safe_load((out / "config.yaml").read_text())
    written["data"]["of_tomorrow"] = 1
    (out / "config.yaml").write_text(yaml.safe_dump(written))
    environment = json.loads((out / "environment.json").read_text())
    environment["packages"]["asvp"] = "99.1"
    (out / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(RunDirectoryError, match=r"config\.yaml: data\.of_tomorrow.*99\.1"):
        resume(config, out)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), finished=st.booleans())
def test_whatever_happens_to_one_file_the_picks_are_the_same_or_it_is_told(
    config: Config, stored: Path, tmp_path: Path, seed: int, finished: bool
) -> None:
    chance = random.Random(seed)
    place = tmp_path / str(seed)
    out = copy(stored, "whole" if finished else "half", place)
    (place / "beside.txt").write_text("mine")
    kept = [path for path in sorted(out.rglob("*")) if path.is_file() and "model" not in path.relative_to(out).parts]
    path = chance.choice(kept)
    content = bytearray(path.read_bytes())
    what = chance.choice(["cut", "flip", "flips", "append", "remove"])
    if what == "cut":
        del content[chance.randrange(len(content) + 1) :]
    elif what == "append":
        content += chance.randbytes(5)
    for _ in range({"flip": 1, "flips": 5}.get(what, 0) if content else 0):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    if what == "remove":
        path.unlink()
    refusal = None
    try:
        resume(config, out)
    except AsvpError as error:
        refusal = str(error)
    if refusal is not None:
        assert str(out) in refusal
    else:
        assert picks(out) == picks(stored / "whole")
        assert (
            json.loads((out / "summary.json").read_text())["final_accuracy"]
            == (json.loads((stored / "whole" / "summary.json").read_text())["final_accuracy"])
        )
    assert {one.name for one in place.iterdir()} == {"run", "beside.txt"}
    assert (place / "beside.txt").read_text() == "mine"
    shutil.rmtree(place)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Config, Path]:
    """A run with an oracle file, stopped after the first round, whose inputs a test may change."""
    write_texts(tmp_path / "with.parquet", 300, seed=1)
    table = pq.read_table(tmp_path / "with.parquet")
    pq.write_table(table.drop_columns("label"), tmp_path / "pool.parquet")
    pq.write_table(table.drop_columns("text"), tmp_path / "oracle.parquet")
    write_texts(tmp_path / "test.parquet", 60, seed=2)
    tiny_text_encoder(tmp_path / "encoder")
    config = tiny_config(tmp_path, data={"oracle": str(tmp_path / "oracle.parquet")}, training={"method": "lp"})
    run(config, out=tmp_path / "run", in_process=True, until_round=0)
    return config, tmp_path


def relabel(path: Path, row: int) -> None:
    table = pq.read_table(path)
    labels = table["label"].to_pylist()
    labels[row] = "class-1" if labels[row] == "class-0" else "class-0"
    pq.write_table(table.set_column(table.column_names.index("label"), "label", [labels]), path)


def reword(path: Path) -> None:
    table = pq.read_table(path)
    texts = ["video audio", *table["text"].to_pylist()[1:]]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", [texts]), path)


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "the label of a bought row": (
        lambda f: relabel(f / "oracle.parquet", picks(f / "run")[0]),
        r"data\.oracle: labels",
    ),
    "the label of another row": (
        lambda f: relabel(f / "oracle.parquet", next(r for r in range(300) if r not in picks(f / "run"))),
        r"data\.oracle: labels",
    ),
    "a text of the pool": (lambda f: reword(f / "pool.parquet"), r"data\.pool: the rows"),
    "a text of the test rows": (lambda f: reword(f / "test.parquet"), r"data\.test: the test rows"),
    "the encoder": (lambda f: tiny_text_encoder(f / "encoder", seed=5), r"encoder\.model: the encoder"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_resume_names_what_has_changed_since_the_run_was_begun(change: str, own: tuple[Config, Path]) -> None:
    config, folder = own
    do, said = CHANGES[change]
    before = everything(folder / "run")
    do(folder)
    with pytest.raises(RunDirectoryError, match=said):
        resume(config, folder / "run")
    after = everything(folder / "run")
    assert {**after, "run.log": b""} == {**before, "run.log": b""}


def test_a_checkpoint_of_another_version_of_asvp_is_refused_by_name(own: tuple[Config, Path], monkeypatch: Any) -> None:
    config, folder = own
    monkeypatch.setattr("asvp.__version__", "99.0")
    with pytest.raises(RunDirectoryError, match=r"begun with asvp .*, and this is 99\.0"):
        resume(config, folder / "run")


class Moved(InProcessBackend):
    """Says that it has a GPU."""

    def machine(self) -> dict[str, Any]:
        return {**super().machine(), "gpus": ["NVIDIA H200"]}


def test_a_run_begun_on_cpus_is_not_taken_up_by_gpus_whose_features_have_keys_of_their_own(
    own: tuple[Config, Path],
) -> None:
    config, folder = own
    workers = Moved(EncoderSpec(config.encoder, "text"), None, SilentReporter())
    with pytest.raises(RunDirectoryError, match="was computed on CPUs, and the workers would now do it on GPUs"):
        run(config, out=folder / "run", backend=workers, resume=True)
    assert resume(config, folder / "run").summary
    there = run(config, backend=workers)
    here = run(config, in_process=True)
    keys = [{record["feature_fingerprint"] for record in result.rounds} for result in (there, here)]
    assert len(keys[0] | keys[1]) == 2


def test_a_run_of_an_earlier_version_goes_on(own: tuple[Config, Path], tmp_path: Path) -> None:
    """Format 1 had no digests, and environment.json none of the configuration."""
    config, folder = own
    path = folder / "run" / "checkpoint" / "state.json"
    state = json.loads(path.read_text())
    for key in ("built_on", "files", "model_digest", "checksum"):
        del state[key]
    path.write_text(json.dumps({**state, "format": 1}))
    path = folder / "run" / "environment.json"
    environment = json.loads(path.read_text())
    del environment["config"]
    path.write_text(json.dumps(environment))
    resume(config, folder / "run")
    run(config, out=tmp_path / "whole", in_process=True)
    assert picks(folder / "run") == picks(tmp_path / "whole")


def test_a_resume_keeps_the_type_that_was_decided_when_the_run_began(own: tuple[Config, Path]) -> None:
    config, folder = own
    left_open = config.model_copy(update={"encoder": config.encoder.model_copy(update={"dtype": "auto"})})
    result = resume(left_open, folder / "run")
    assert yaml.safe_load((folder / "run" / "config.yaml").read_text())["encoder"]["dtype"] == "float32"
    assert result.summary


def test_a_resume_keeps_the_number_of_devices_that_was_decided_when_the_run_began(own: tuple[Config, Path]) -> None:
    config, folder = own
    left_open = with_changes(config, {"training": {"devices": "auto"}})
    assert resume(left_open, folder / "run").summary
    assert read(folder / "run" / "config.yaml")["training"]["devices"] == 1
    # A trial was prepared before it is known what its run was begun with.
    again = run(left_open, out=folder / "run", resume=True, in_process=True, prepared=prepare(left_open))
    assert again.summary
    with pytest.raises(RunDirectoryError, match=r"training\.devices = 1, not 2"):
        resume(with_changes(config, {"training": {"devices": 2}}), folder / "run")


def with_changes(config: Config, changes: dict[str, Any]) -> Config:
    return build_config(merge(config.model_dump(mode="json"), changes))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def what_came_out(rounds: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = ("round", "labelled", "refreshed", "feature_fingerprint", "proxy_accuracy", "logme")
    return [tuple(record[key] for key in keys) for record in rounds]


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": {"count": 1, "cpus": 0.5, "gpus": 0}},
        {"cost": {"per_label": 1.0, "gpu_hour": 0, "cpu_hour": 3}},
        {"extraction": {"cache": None}},
        {"extraction": {"cache": "another", "cache_limit": "1GB"}},
    ],
)
def test_who_works_at_what_price_and_with_which_cache_may_change(
    changes: dict[str, Any], config: Config, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = copy(stored, "half", tmp_path)
    result = resume(with_changes(config, changes), out)
    assert picks(out) == picks(stored / "whole")
    assert result.summary["final_accuracy"] == read(stored / "whole" / "summary.json")["final_accuracy"]
    kept = RunDirectory(out).read_config()
    assert kept == with_absolute_paths(with_changes(config, changes))
    # As it was begun, it may go on too.
    assert resume(config, out).summary == result.summary


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "seed = 0, not 1"),
        ({"mode": "svp"}, "mode = asvp, not svp"),
        ({"data": {"limit": 200}}, r"data\.limit = None, not 200"),
        ({"proxy": {"epochs": 6}}, r"proxy\.epochs = 5, not 6"),
        ({"extraction": {"shard_rows": 60}}, r"extraction\.shard_rows = 50, not 60"),
        ({"extraction": {"feature_dtype": "float16"}}, r"extraction\.feature_dtype = float32, not float16"),
        ({"training": {"evaluate_at": "every"}}, r"training\.evaluate_at = last, not every"),
        ({"budget": "20+10"}, r"budget = 20\+10x2, not 20\+10 .*begins with the finished rounds, 20\+10, and buys"),
        ({"budget": "20+5x4"}, r"budget = 20\+10x2, not 20\+5x4"),
        ({"budget": "20+20+10"}, r"budget = 20\+10x2, not 20x2\+10"),
    ],
)
def test_what_may_not_change_is_named_by_key(
    changes: dict[str, Any], said: str, config: Config, stored: Path, tmp_path: Path
) -> None:
    out = copy(stored, "half", tmp_path)
    before = everything(out)
    with pytest.raises(RunDirectoryError, match=said):
        resume(with_changes(config, changes), out)
    assert everything(out) == before


@pytest.fixture(scope="module")
def longer(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path, RunResult]:
    """A run that had two more rounds in its budget from the start."""
    config = with_changes(config, {"budget": "20+10x2+15+5"})
    out = tmp_path_factory.mktemp("longer") / "run"
    return config, out, run(config, out=out, in_process=True)


@pytest.mark.parametrize("name", ["half", "whole"])
def test_a_run_resumed_with_a_longer_budget_goes_on_with_the_next_round(
    name: str, stored: Path, longer: tuple[Config, Path, RunResult], tmp_path: Path
) -> None:
    config, begun_longer, expected = longer
    out = copy(stored, name, tmp_path)
    result = resume(config, out)
    assert picks(out) == picks(begun_longer)
    assert what_came_out(result.rounds) == what_came_out(expected.rounds)
    assert result.summary == read(out / "summary.json")
    for key in ("rounds", "labels", "final_accuracy", "final_macro_f1", "refreshed_at"):
        assert result.summary[key] == expected.summary[key]
    # The end of the shorter budget stays in the rounds that tell of it.
    assert (result.rounds[2]["final_accuracy"] is not None) == (name == "whole")
    assert RunDirectory(out).read_config().budget == [20, 10, 10, 15, 5]
    texts = [f"text {i}" for i in range(5)]
    assert Classifier.load(out / "model").predict(texts) == Classifier.load(begun_longer / "model").predict(texts)
    after = everything(out)
    assert resume(config, out).summary == result.summary
    assert {**everything(out), "run.log": b""} == {**after, "run.log": b""}


def test_between_two_ends_a_run_is_not_finished(
    stored: Path, longer: tuple[Config, Path, RunResult], tmp_path: Path
) -> None:
    config, begun_longer, _ = longer
    out = copy(stored, "whole", tmp_path)
    result = run(config, out=out, in_process=True, resume=True, until_round=3)
    assert (len(result.rounds), result.summary) == (4, {})
    assert not (out / "summary.json").exists()
    assert resume(RunDirectory(out).read_config(), out).summary["labels"] == 60
    assert picks(out) == picks(begun_longer)


@pytest.mark.parametrize("step", ["go_on_with", "write_labelled", "write_rounds", "replace_model", "write_summary"])
def test_killed_on_the_way_to_its_new_end_it_goes_on_and_ends_the_same(
    step: str, stored: Path, longer: tuple[Config, Path, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, begun_longer, expected = longer
    out = copy(stored, "whole", tmp_path)
    real = getattr(RunDirectory, step)

    def killed(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, step, killed)
        with pytest.raises(KeyboardInterrupt):
            resume(config, out)
    assert resume(config, out).summary["final_accuracy"] == expected.summary["final_accuracy"]
    assert picks(out) == picks(begun_longer)


def test_a_round_that_was_cut_off_may_have_another_size_when_it_is_done_again(
    config: Config, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy(stored, "half", tmp_path)
    real = RunDirectory.write_labelled

    def killed(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_labelled", killed)
        with pytest.raises(KeyboardInterrupt):
            resume(config, out)
    assert len(picks(out)) == 40
    assert resume(with_changes(config, {"budget": "20+10+25"}), out).summary["labels"] == 55
    assert picks(out)[:30] == picks(stored / "whole")[:30]


def test_all_seconds_are_counted_at_the_prices_of_the_resume_and_written_rounds_stay(
    config: Config, stored: Path, tmp_path: Path
) -> None:
    out = copy(stored, "half", tmp_path)
    before = (out / "rounds.jsonl").read_text()
    prices = {"per_label": 1.0, "gpu_hour": 0.0, "cpu_hour": 360.0}
    summary = resume(with_changes(config, {"cost": prices}), out).summary
    assert summary["cost"]["labels"] == 40.0
    assert summary["cost"]["compute"] == pytest.approx(summary["device_seconds"]["cpu"] * 0.1)
    assert (out / "rounds.jsonl").read_text().startswith(before)
    assert summary["device_seconds"]["cpu"] > sum(
        record["device_seconds"]["cpu"] for record in map(json.loads, before.splitlines())
    )


THEIRS: dict[str, Callable[[Path], Any]] = {
    "a model of theirs": lambda d: d / "model" / "mine.bin",
    "a table of theirs": lambda d: d / "labelled.parquet",
    "a configuration of theirs": lambda d: d / "config.yaml",
    "notes": lambda d: d / "notes.txt",
    "a hidden file": lambda d: d / ".git" / "HEAD",
    "an environment.json of theirs": lambda d: d / "environment.json",
    "a checkpoint of theirs": lambda d: d / "checkpoint" / "best.pt",
}


@pytest.mark.parametrize("going_on", [False, True])
@pytest.mark.parametrize("theirs", THEIRS)
def test_a_folder_of_others_is_refused_and_left_as_it_is(
    theirs: str, going_on: bool, config: Config, tmp_path: Path
) -> None:
    path = THEIRS[theirs](tmp_path / "proj")
    path.parent.mkdir(parents=True)
    path.write_text("mine: 1")
    before = everything(tmp_path)
    with pytest.raises(RunDirectoryError, match="holds no run"):
        run(config, out=tmp_path / "proj", in_process=True, resume=going_on)
    assert everything(tmp_path) == before


def test_a_run_killed_before_it_had_a_configuration_begins_again(config: Config, tmp_path: Path, stored: Path) -> None:
    out = tmp_path / "run"
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / "lock").touch()
    shutil.copy(stored / "half" / "environment.json", out)
    (out / ".config.yaml.0123456789abcdef0123456789abcdef.tmp").write_text("half")
    run(config, out=out, in_process=True, until_round=0)
    assert not list(out.glob("*.tmp")) + list(out.glob(".*.tmp"))


def test_files_that_came_into_the_models_folder_meanwhile_are_not_removed(
    config: Config, stored: Path, tmp_path: Path
) -> None:
    """A run that was killed between the final model and the last checkpoint, and notes that were put beside it."""
    out = copy(stored, "half", tmp_path)
    shutil.copytree(stored / "whole" / "model", out / "model")
    resume(config, out)
    assert picks(out) == picks(stored / "whole")
    out = copy(stored, "half", tmp_path / "again")
    shutil.copytree(stored / "whole" / "model", out / "model")
    (out / "model" / "notes.txt").write_text("mine")
    with pytest.raises(RunDirectoryError, match="model: is in the way"):
        resume(config, out)
    assert (out / "model" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"out": ""}, RunDirectoryError),
        ({"out": 5}, RunDirectoryError),
        ({"out": "a" * 256}, RunDirectoryError),
        ({"out": "s3://"}, RunDirectoryError),
        ({"until_round": -1}, ConfigError),
        ({"until_round": True}, ConfigError),
        ({"until_round": "1"}, ConfigError),
        ({"resume": True}, RunDirectoryError),
    ],
)
def test_arguments_that_are_none_are_refused(
    changes: dict[str, Any], kind: type[AsvpError], config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind):
        run(config, in_process=True, **changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["demo", {"seed": 1}, None])
def test_what_is_no_config_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="not a Config"):
        run(given, in_process=True)
