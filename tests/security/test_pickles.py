"""Nothing is unpickled from data, encoders, the cache, run directories or sweep directories."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # noqa: F401  Registers Arrow types whose values are pickles, as Ray Tune's driver does.
import torch
from PIL import Image
from planted import Charge, forms, npz, python_objects
from tiny_encoders import tiny_text_encoder
from tiny_runs import tiny_config

from asvp.config import Config, DataConfig, EncoderConfig
from asvp.data import open_dataset
from asvp.driver.loop import run
from asvp.errors import AsvpError, DataError
from asvp.features.cache import Cache
from asvp.models.classifier import Classifier
from asvp.models.encoder.encoder import Encoder
from asvp.parquet import read_parquet
from asvp.report.comparison import compare
from asvp.report.status_files import read_status
from asvp.tune_spaces.result import SweepResult

FORMS = sorted(forms(Path("marker")))
REFRESHED = {"mode": "asvp", "refresh": {"policy": "at", "at": [30]}, "training": {"keep": "all"}}


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """The folder that a planted program would make; the test fails if it does."""
    place = tmp_path / "it-ran"
    yield place
    assert not place.exists(), "a planted pickle was run"


@pytest.mark.parametrize("form", FORMS)
def test_each_planted_file_runs_its_program_in_the_hands_of_who_unpickles(form: str, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    content = forms(marker)[form]
    careless: dict[str, Callable[[], Any]] = {
        "gzip": lambda: pickle.loads(gzip.decompress(content)),
        "torch": lambda: torch.load(io.BytesIO(content), weights_only=False),
        "old torch": lambda: torch.load(io.BytesIO(content), weights_only=False),
        "npy": lambda: np.load(io.BytesIO(content), allow_pickle=True),
        "npz": lambda: np.load(io.BytesIO(content), allow_pickle=True)["features"],
        "parquet": lambda: pq.read_table(io.BytesIO(content))["row"][0].as_py(),
        "arrow": lambda: pa.ipc.open_file(content).read_all()["row"][0].as_py(),
    }
    careless.get(form, lambda: pickle.loads(content))()
    assert marker.is_dir()


ENDINGS = (
    *(".parquet", ".pq", ".arrow", ".feather", ".ipc", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".csv.gz"),
    *(".jsonl.gz", ".csv.zst", ".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".jpg", ".png"),
)


@pytest.mark.parametrize("key", ["pool", "test", "oracle"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_data_files_of_every_ending(ending: str, key: str, marker: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1", "2"], "text": ["a", "b"], "label": ["x", "y"]}), tmp_path / "good.parquet")
    for number, (form, content) in enumerate(forms(marker).items()):
        planted = tmp_path / f"{number}{ending}"
        planted.write_bytes(content)
        places = {"pool": str(tmp_path / "good.parquet"), "test": str(tmp_path / "good.parquet"), key: str(planted)}
        with pytest.raises(DataError) as caught:
            open_dataset(DataConfig(**places)).pool.take(np.arange(2))
        assert f"data.{key}" in str(caught.value) or "data." in str(caught.value), form


@pytest.mark.parametrize("column", ["text", "image", "features", "label", "id"])
def test_columns_of_python_objects_in_table_files(column: str, marker: Path, tmp_path: Path) -> None:
    objects = python_objects(Charge(marker), column)
    plain = {name: ["a", "b"] for name in ("id", "text", "label") if name != column}
    table = pa.table({**plain, column: objects[column]}, schema=pa.schema([*pa.table(plain).schema, *objects.schema]))
    pq.write_table(table, tmp_path / "t.parquet")
    told = {column: column} if column in ("image", "features") else {}
    with pytest.raises(DataError):
        open_dataset(DataConfig(pool=str(tmp_path / "t.parquet"), test=None, **told))


@pytest.mark.parametrize("array", ["features", "label", "labels", "id", "ids"])
def test_arrays_of_objects_in_npz_files(array: str, marker: Path, tmp_path: Path) -> None:
    plain = {"features": np.zeros((4, 2), np.float32), "label": np.array(["a", "b", "a", "b"])}
    plain.pop(array.removesuffix("s") if array != "features" else array, None)
    (tmp_path / "t.npz").write_bytes(npz({**plain, array: np.array([Charge(marker)] * 4, dtype=object)}))
    with pytest.raises(DataError):
        open_dataset(DataConfig(pool=str(tmp_path / "t.npz"), test=None, features="features"))


@pytest.mark.parametrize("form", FORMS)
def test_folders_of_images_and_saved_data_sets(form: str, marker: Path, tmp_path: Path) -> None:
    content = forms(marker)[form]
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / name / "0.png")
    (tmp_path / "images" / "a" / "1.png").write_bytes(content)
    data = open_dataset(DataConfig(pool=str(tmp_path / "images"), test=None, test_share=0.4))
    assert len(data.pool) + len(data.test) == 3
    saved = tmp_path / "saved"
    saved.mkdir()
    for planted in ("state.json", "dataset_info.json", "dataset_dict.json", "data-00000-of-00001.arrow"):
        (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
        (saved / "dataset_info.json").write_text("{}")
        (saved / planted).write_bytes(content)
        with pytest.raises(DataError):
            open_dataset(DataConfig(pool=str(saved), test=None))
        (saved / planted).unlink()


ENCODER_FILES = (
    *("model.safetensors", "pytorch_model.bin", "pytorch_model-00001-of-00001.bin", "model.pt", "weights.npy"),
    *("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"),
    *("training_args.bin", "optimizer.pt", "model.safetensors.index.json", "adapter_config.json", "modeling_x.py"),
    *("adapter_model.bin", "adapter_model.safetensors", "tokenizer.model", "1_Pooling/config.json", "spiece.model"),
)


@pytest.mark.parametrize("name", ENCODER_FILES)
@pytest.mark.parametrize("only", [True, False])
def test_files_of_an_encoder(name: str, only: bool, marker: Path, tmp_path: Path) -> None:
    """`only` the planted weights, or beside those that are whole; what does not concern the encoder may lie there."""
    for number, (form, content) in enumerate(forms(marker).items()):
        folder = tiny_text_encoder(tmp_path / f"encoder{number}")
        if only:
            (folder / "model.safetensors").unlink()
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        try:
            features = Encoder.load(EncoderConfig(model=str(folder)), "text").encode(["python library"])
        except AsvpError:
            continue
        assert not only, f"{form} was loaded as weights"
        assert features.shape == (1, 32)


def test_weights_that_an_index_says_are_a_pickle(marker: Path, tmp_path: Path) -> None:
    folder = tiny_text_encoder(tmp_path / "encoder")
    (folder / "model.safetensors").unlink()
    for form, content in forms(marker).items():
        for shard in ("pytorch_model.bin", "model-00001-of-00001.safetensors"):
            (folder / shard).write_bytes(content)
            index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": shard}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
            with pytest.raises(AsvpError):
                Encoder.load(EncoderConfig(model=str(folder)), "text")
            (folder / shard).unlink()
        assert not marker.exists(), form


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(folder, extraction={"cache": str(folder / "cache")}, **REFRESHED)


@pytest.fixture(scope="module")
def stored(base: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after a refresh, one that is whole, and the cache that both have used."""
    folder = tmp_path_factory.mktemp("stored")
    run(base, out=folder / "half", in_process=True, until_round=1)
    run(base, out=folder / "whole", in_process=True)
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


EXTRA = ("pytorch_model.bin", "model.pt", "state.pkl", "checkpoint/state.pkl", "checkpoint/model.pt", "data.npy")


def test_run_directories(base: Config, stored: Path, marker: Path, tmp_path: Path) -> None:
    """Each file of a run, and some that others' checkpoints have, as a pickle: resume, report, status and load."""
    uncached = base.model_copy(update={"extraction": base.extraction.model_copy(update={"cache": None})})
    for kind in ("half", "whole"):
        names = [name for name in files_of(stored / kind) if not name.endswith((".png", ".log"))]
        assert {"config.yaml", "labelled.parquet", "checkpoint/state.json"} <= set(names)
        for number, name in enumerate((*names, *EXTRA)):
            form = FORMS[number % len(FORMS)] if not name.endswith(".parquet") else "parquet"
            out = Path(shutil.copytree(stored / kind, tmp_path / "run"))
            (out / name).write_bytes(forms(marker)[form])
            for read in (
                lambda out=out: compare([out]),
                lambda out=out: read_status(out),
                lambda out=out: Classifier.load(out / "model").predict(["python"]),
                lambda out=out: run(uncached, out=out, in_process=True, resume=True),
            ):
                with suppress(AsvpError):
                    read()
                assert not marker.exists(), f"{name} as {form}"
            shutil.rmtree(out)


def test_cache_entries(base: Config, stored: Path, marker: Path, tmp_path: Path) -> None:
    """Each file of the cache as a pickle: the run ends as it did without."""
    assert base.extraction.cache is not None
    whole = json.loads((stored / "whole" / "summary.json").read_text())
    for number, form in enumerate(("pickle", "torch", "arrow")):
        cache = Path(shutil.copytree(base.extraction.cache, tmp_path / f"cache{number}"))
        names = [name for name in files_of(cache) if name != "format.json"]
        assert {name.partition("/")[0] for name in names} >= {"features", "models"}
        for name in names:
            (cache / name).write_bytes(forms(marker)[form])
        kept = base.extraction.model_copy(update={"cache": str(cache)})
        result = run(base.model_copy(update={"extraction": kept}), out=tmp_path / f"run{number}", in_process=True)
        assert result.summary["final_accuracy"] == whole["final_accuracy"]
        list(Cache(str(cache)).verify())
        assert not marker.exists(), form


def test_files_that_asvp_wrote_have_plain_columns_alone(marker: Path, tmp_path: Path) -> None:
    objects = python_objects(Charge(marker), "trial", "arm", "seed", "finished", "labelled", "label")
    pq.write_table(objects, tmp_path / "results.parquet")
    with pytest.raises(ValueError, match="is no plain one"):
        read_parquet(tmp_path / "results.parquet")
    with pytest.raises(DataError, match=r"results\.parquet"):
        SweepResult(tmp_path, {}).to_pandas()
    with pytest.raises(AsvpError, match=r"results\.parquet"):
        compare([tmp_path])
