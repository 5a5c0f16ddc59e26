"""How fast features are extracted, against plain loops over the same rows in the same run.

    python benchmarks/extraction.py                       # text, float32 and auto, the cache
    python benchmarks/extraction.py --images              # also a ViT-S/16-sized encoder on JPEGs
    python benchmarks/extraction.py --memory              # peak memory of the driver, 32,000 and 320,000 rows
    pip install sentence-transformers                     # for that rival; it is left out where it is missing

Every rate is in steady state: actors are started, and their encoders loaded, before the clock runs. Rates of a noisy
machine mean little alone; what counts is their ratio, from repetitions that take turns.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch

from asvp.actors.backend import PoolBackend
from asvp.actors.cluster import cluster, nodes
from asvp.actors.pool import worker_pool
from asvp.compute import Extraction
from asvp.compute.jobs import EncoderSpec
from asvp.compute.placement import Placement, place
from asvp.config import Config, EncoderConfig, load_config
from asvp.data import Dataset, open_dataset
from asvp.data.source import View
from asvp.features import FeatureSet
from asvp.features.cache import Cache
from asvp.models.encoder import Encoder
from asvp.models.proxy import fit_proxy
from asvp.progress import SilentReporter

Rate = Callable[[], float]


def main() -> None:
    """Run what the arguments ask for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000, help="text rows")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-text", action="store_true")
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--image-rows", type=int, default=2000)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--memory-child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_child:
        _memory_child(arguments.memory_child)
        return
    with cluster("local"):
        if not arguments.no_text:
            with ExitStack() as pools:
                _text(arguments.rows, arguments.repeats, pools)
        if arguments.images:
            with ExitStack() as pools:
                _images(arguments.image_rows, arguments.repeats, pools)
    if arguments.memory:
        _memory()


def _text(rows: int, repeats: int, pools: ExitStack) -> None:
    config = load_config("debian-sections", [f"data.limit={rows}"])
    dataset = open_dataset(config.data)
    texts = dataset.pool.take(np.arange(len(dataset.pool)))
    assert isinstance(texts, list)
    float32 = config.encoder.model_copy(update={"dtype": "float32"})
    plain = {threads: _plain_text_loop(float32, texts, threads) for threads in _thread_counts()}
    teams = {
        name: _Team(config, dataset, config.encoder.model_copy(update={"dtype": name}), pools)
        for name in ("float32", "auto")
    }
    rivals: dict[str, Rate] = {f"plain loop, {threads} threads": rate for threads, rate in plain.items()}
    rivals |= {f"actors, {name}": team.rate for name, team in teams.items()}
    rival = _sentence_transformers(texts)
    if rival is not None:
        rivals["sentence-transformers encode"] = rival
    rates = _take_turns(rivals, repeats)
    best = max((name for name in rates if name.startswith("plain")), key=lambda name: statistics.median(rates[name]))
    _print(f"Text: MiniLM, {rows:,} rows of debian_sections (auto became {teams['auto'].dtype})", rates, best)
    _accuracy(teams["float32"].features, teams["auto"].features, dataset)
    _from_cache(config, dataset, statistics.median(rates["actors, auto"]))


class _Team:
    """A pool of workers that are warm, until the stack of pools is closed."""

    features: FeatureSet

    def __init__(self, config: Config, dataset: Dataset, encoder: EncoderConfig, pools: ExitStack) -> None:
        pool = pools.enter_context(worker_pool(_shared(config)))
        self._workers = PoolBackend(pool, EncoderSpec(encoder, dataset.kind), None, SilentReporter())
        self._dataset = dataset
        self._config = config
        self.dtype = self._workers.resolve().dtype
        # Starts all workers and loads their encoders: a shard for each.
        few = View(dataset.pool, np.arange(min(len(dataset.pool), 128 * _shared(config).workers)))
        self._workers.extract(Extraction(few, "warm-up", 0, config.extraction))

    def rate(self) -> float:
        """Rows a second; the features stay in the object store."""
        began = time.perf_counter()
        self.features = self._extract()
        return len(self._dataset.pool) / (time.perf_counter() - began)

    def _extract(self) -> FeatureSet:
        return self._workers.extract(Extraction(self._dataset.pool, "benchmark", 0, self._config.extraction))


def _shared(config: Config) -> Placement:
    """The placement that `auto` gives, in shares so small that several teams are there at once; they work in turn."""
    placement = place(config.workers, nodes())
    return replace(placement, cpus=placement.cpus / 8, gpus=placement.gpus / 8)


def _plain_text_loop(config: EncoderConfig, texts: list[str], threads: int, batch: int = 64) -> Rate:
    """The loop everyone writes: tokenise, sort by length, pad each batch, mean over the tokens."""
    encoder = Encoder.load(config, "text")
    tokenizer, model = encoder.inputs.tokenizer, encoder.model

    def rate() -> float:
        torch.set_num_threads(threads)
        began = time.perf_counter()
        tokens = tokenizer(texts, truncation=True, max_length=config.max_length)["input_ids"]
        order = np.argsort([len(one) for one in tokens], kind="stable")
        features = np.empty((len(texts), encoder.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(texts), batch):
                rows = order[start : start + batch]
                padded = tokenizer.pad({"input_ids": [tokens[row] for row in rows]}, return_tensors="pt")
                hidden = model(**padded).last_hidden_state
                mask = padded["attention_mask"].unsqueeze(-1)
                features[rows] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
        return len(texts) / (time.perf_counter() - began)

    return rate


def _sentence_transformers(texts: list[str]) -> Rate | None:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    from asvp.models.encoder.location import encoder_folder

    folder = encoder_folder(load_config("debian-sections").encoder)
    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 64

    def rate() -> float:
        torch.set_num_threads(max(_thread_counts()))
        began = time.perf_counter()
        model.encode(texts, batch_size=64, show_progress_bar=False)
        return len(texts) / (time.perf_counter() - began)

    return rate


def _accuracy(exact: FeatureSet, fast: FeatureSet, dataset: Dataset) -> None:
    """What the faster type costs: in the features, and in the accuracy of a proxy fitted on them."""
    one, other = (np.concatenate([block for _, block in features.blocks()]) for features in (exact, fast))
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    print(
        f"largest difference of a feature {np.abs(one - other).max():.4f} (their spread is {one.std():.3f}), ", end=""
    )
    print(f"smallest cosine similarity {cosine.min():.6f}")
    half = len(one) // 2
    labels = dataset.oracle.buy(np.arange(len(one)))
    accuracies = []
    for features in (one, other):
        proxy = fit_proxy(
            features[:half], labels[:half], classes=len(dataset.classes), config=load_config(None).proxy, seed=0
        )
        accuracies.append(float((proxy.probabilities(features[half:]).argmax(1) == labels[half:]).mean()))
    exactly, quickly = accuracies
    print(f"proxy fitted on {half:,} rows, accuracy on the rest: float32 {exactly:.4f}, auto {quickly:.4f}")


def _from_cache(config: Config, dataset: Dataset, rate: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(folder)
        placement = _shared(config)
        extraction = Extraction(dataset.pool, "benchmark", 0, config.extraction)
        with worker_pool(placement) as pool:
            workers = PoolBackend(pool, EncoderSpec(config.encoder, "text"), cache, SilentReporter())
            workers.extract(extraction)
            seconds = []
            for _ in range(3):
                began = time.perf_counter()
                workers.extract(extraction)
                seconds.append(time.perf_counter() - began)
    cached = len(dataset.pool) / min(seconds)
    print(f"from the cache into the object store: {cached:,.0f} rows/s, {cached / rate:,.0f} times the extraction\n")


def _images(rows: int, repeats: int, pools: ExitStack) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = write_jpegs(folder / "images", rows)
        write_vit(folder / "encoder")
        config = load_config(None, image_options(folder))
        dataset = open_dataset(config.data)
        taken = [images[place] for place in range(len(dataset.pool))]
        float32 = config.encoder.model_copy(update={"dtype": "float32"})
        # The slower setting of the plain loop is found on a few images, since all of them take minutes.
        few = {threads: _plain_image_loop(float32, taken[:64], threads)() for threads in _thread_counts()}
        threads = max(few, key=few.__getitem__)
        rivals: dict[str, Rate] = {f"plain loop, {threads} threads": _plain_image_loop(float32, taken, threads)}
        for dtype in ("float32", "auto"):
            encoder = config.encoder.model_copy(update={"dtype": dtype})
            rivals[f"actors, {dtype}"] = _Team(config, dataset, encoder, pools).rate
        rates = _take_turns(rivals, repeats, warm_up=False)
    best = next(iter(rates))
    _print(f"Images: ViT-S/16-sized, random weights, {len(taken):,} JPEGs of 256 x 256", rates, best)


def _plain_image_loop(config: EncoderConfig, images: list[bytes], threads: int, batch: int = 32) -> Rate:
    """Decode, process and encode, batch after batch."""
    from PIL import Image

    encoder = Encoder.load(config, "image")
    processor, model = encoder.inputs.processor, encoder.model

    def rate() -> float:
        torch.set_num_threads(threads)
        began = time.perf_counter()
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                decoded = [Image.open(io.BytesIO(one)).convert("RGB") for one in images[start : start + batch]]
                pixels = processor(decoded, return_tensors="pt")["pixel_values"]
                model(pixel_values=pixels).last_hidden_state[:, 0].numpy()
        return len(images) / (time.perf_counter() - began)

    return rate


def write_jpegs(folder: Path, rows: int) -> list[bytes]:
    """Smooth random images in two classes; returns them in the order in which a source lists them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    written = []
    for row in range(rows):
        place = folder / f"class{row % 2}" / f"{row:06d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC).save(place, quality=90)
        written.append(place)
    return [place.read_bytes() for place in sorted(written)]


def image_options(folder: Path) -> list[str]:
    """What makes a configuration of the images and the encoder in a folder."""
    return [
        f"data.pool=imagefolder:{folder / 'images'}",
        "data.test=null",
        "data.test_share=0.01",
        f"encoder.model={folder / 'encoder'}",
        "encoder.pooling=cls",
        "encoder.batch_size=32",
    ]


def write_vit(folder: Path) -> None:
    """A ViT-S/16-sized encoder with random weights."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)


def _thread_counts() -> list[int]:
    cores = os.cpu_count() or 1
    return sorted({1, cores})


def _take_turns(rivals: dict[str, Rate], repeats: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Rates of all rivals, in turns, so that what else the machine does hits all alike; a first turn warms up."""
    rates: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(repeats + warm_up):
        for name, rate in rivals.items():
            measured = rate()
            if turn >= warm_up:
                rates[name].append(measured)
    return rates


def _print(title: str, rates: dict[str, list[float]], best: str) -> None:
    print(f"\n{title}")
    print(f"{'':34}{'rows/s':>10}{'lowest':>10}{'highest':>10}{'ratio':>8}")
    for name, measured in rates.items():
        ratios = [one / other for one, other in zip(measured, rates[best], strict=True)]
        middle = statistics.median(measured)
        print(f"{name:34}{middle:10.0f}{min(measured):10.0f}{max(measured):10.0f}{statistics.median(ratios):8.2f}")
    print(f"ratio: to the {best}, median over turns")


def _memory() -> None:
    """Peak memory of the driver's process with the pool as it is, and ten times as large."""
    told = {}
    for times in (1, 10):
        output = subprocess.run(
            [sys.executable, __file__, "--memory-child", str(times)], capture_output=True, text=True, check=True
        ).stdout
        told[times] = json.loads(output.strip().splitlines()[-1])
    grown = told[10]["peak"] - told[1]["peak"]
    features = told[10]["features"] - told[1]["features"]
    print(f"\nDriver memory: {told[1]['peak'] / 1e6:,.0f} MB with {told[1]['rows']:,} rows, ", end="")
    print(f"{told[10]['peak'] / 1e6:,.0f} MB with {told[10]['rows']:,}: {grown / 1e6:,.0f} MB more, ", end="")
    print(f"while the features grew by {features / 1e6:,.0f} MB (bound: that and 100 MB)")


def _memory_child(times: int) -> None:
    """A whole svp run on the repeated pool, with an encoder of one narrow layer, so that rows cost little."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from asvp.driver.loop import run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config("debian-sections")
        dataset = open_dataset(config.data)
        rows = np.arange(len(dataset.pool))
        texts, labels = dataset.pool.take(rows), dataset.oracle.buy(rows)
        names = [dataset.classes[number] for number in labels]
        schema = pa.schema({"text": pa.string(), "label": pa.string()})
        with pq.ParquetWriter(folder / "pool.parquet", schema) as writer:
            for _ in range(times):
                writer.write_table(pa.table({"text": texts, "label": names}, schema=schema))
        del texts, names, labels, dataset
        changed: dict[str, Any] = {
            "data.pool": folder / "pool.parquet",
            "data.test_limit": 500,
            "encoder.options.num_hidden_layers": 1,
            "encoder.max_length": 8,
            "mode": "svp",
            "training.method": "lp",
            "budget": "200+200",
            "extraction.cache": "null",
        }
        settings = load_config("debian-sections", [f"{key}={value}" for key, value in changed.items()])
        before = _peak()
        run(settings, out=folder / "run", address="local")
        features = len(rows) * times * 384 * 4
        print(json.dumps({"rows": len(rows) * times, "peak": max(_peak(), before), "features": features}))


def _peak() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
