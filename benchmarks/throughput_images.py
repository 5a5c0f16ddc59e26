"""How fast images become features in one process, against the bare forward pass and a torch DataLoader loop.

    python benchmarks/throughput_images.py                 # on the GPU, or else on the CPU
    python benchmarks/throughput_images.py --tiny          # to see whether it works: seconds, on any machine
    python benchmarks/throughput_images.py --decoding      # decoding alone, by the number of processes

No Ray and no network: the model has random weights, and the JPEGs are made here. Rows a second; JSON comes out.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from PIL import Image

from asvp.compute.jobs import ShardJob
from asvp.compute.session import EncoderSession
from asvp.config import EncoderConfig
from asvp.data.pixels import BySteps, Steps
from asvp.data.tensors import MatrixResizing, bring_to_size
from asvp.models.encoder.decoding import trouble
from asvp.models.encoder.processes import ReadingProcesses

FULL = {
    "rows": 8192,
    "distinct": 1024,
    "image": (375, 500),
    "batch": 256,
    "shard": 2048,
    "repeats": 2,
    "slow_rows": 2048,
    "model": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TINY = {
    "rows": 96,
    "distinct": 16,
    "image": (75, 100),
    "batch": 16,
    "shard": 48,
    "repeats": 1,
    "slow_rows": 96,
    "model": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 32,
        "patch_size": 8,
    },
}


class Listed:
    """A source of encoded images that lie in memory, some of them many times."""

    kind = "image"

    def __init__(self, images: list[bytes], rows: int) -> None:
        self._images = images
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def take(self, rows: np.ndarray) -> list[bytes]:
        """The images of some rows."""
        return [self._images[row % len(self._images)] for row in rows.tolist()]

    def place(self, row: int) -> str:
        """For messages."""
        return f"image {row}"


class Decoded(torch.utils.data.Dataset[Any]):
    """What a DataLoader loop reads: torchvision's decoder and antialiased resize where it loads, else Pillow's."""

    def __init__(self, source: Listed, size: int) -> None:
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> torch.Tensor:
        content = self._source.take(np.array([row]))[0]
        try:
            from torchvision.io import decode_jpeg
        except Exception:
            image = Image.open(io.BytesIO(content)).convert("RGB")
            resized = image.resize((self._size, self._size), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy())
        whole = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8)).unsqueeze(0)
        return torch.nn.functional.interpolate(whole, (self._size, self._size), mode="bilinear", antialias=True)[0]


def images(sizes: dict[str, Any], device: str) -> dict[str, Any]:
    """Rows a second of each way, and their ratios.

    Parameters
    ----------
    sizes : dict
        As `FULL`.
    device : str
        "cuda" or "cpu".
    """
    jpegs = make_jpegs(sizes["distinct"], *sizes["image"])
    source = Listed(jpegs, sizes["rows"])
    told: dict[str, Any] = {
        "rows": sizes["rows"],
        "jpeg_bytes": statistics.mean(map(len, jpegs)),
        "cores": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torchvision": trouble("torchvision", "cpu") or "loads",
    }
    with tempfile.TemporaryDirectory(prefix="asvp-") as folder:
        _write_model(Path(folder), sizes["model"])
        ways = ["pil"]
        ways += [] if trouble("torchvision", "cpu") else ["torchvision"]
        ways += ["gpu"] if device == "cuda" and not trouble("gpu", "cuda") else []
        rates, features = {}, {}
        for way in ways:
            config = EncoderConfig(model=folder, pooling="cls", batch_size=sizes["batch"], decode=way)  # type: ignore[arg-type]
            session = EncoderSession(config, "image", device=device)
            if way == "pil":
                told["dtype"] = session.encoder.dtype_name
                rates["bare forward"] = _bare(session, sizes, device)
                rates["DataLoader"] = _loader(session, source, sizes, device)
            rows = sizes["rows"] if way == "gpu" else min(sizes["rows"], 2 * sizes["slow_rows"])
            rates[f"asvp, {way}"], features[way] = _product(session, source, rows, sizes)
            if way == "gpu":
                told["alone"] = _alone(session, jpegs, sizes, device)
            _free(session)
    told["rates"] = rates
    told["of_bare_forward"] = {name: rate / rates["bare forward"] for name, rate in rates.items()}
    told["of_dataloader"] = {name: rate / rates["DataLoader"] for name, rate in rates.items()}
    told["least_cosine_to_pil"] = {way: _least_cosine(features["pil"], found) for way, found in features.items()}
    if device == "cuda":
        told["peak_bytes"] = torch.cuda.max_memory_allocated()
    return told


def decoding(rows: int, counts: Sequence[int], repeats: int) -> dict[str, Any]:
    """Rows a second of decoding alone (500 x 375 JPEGs to 224 x 224) by processes; 0 is this process alone."""
    jpegs = make_jpegs(64, 375, 500)
    contents = [jpegs[row % len(jpegs)] for row in range(rows)]
    reader = BySteps(Steps((224, 224), None, 2, None), 224)
    rivals: dict[int, Callable[[], Any]] = {}
    for count in counts:
        if count:
            processes = ReadingProcesses({"scored": reader}, count)
            processes.read("scored", contents[: 8 * count])
            rivals[count] = lambda processes=processes: _in_batches(processes, contents)  # type: ignore[misc]
        else:
            rivals[count] = lambda: [reader(content) for content in contents]
    rates: dict[int, list[float]] = {count: [] for count in rivals}
    for _ in range(repeats):
        for count, rival in rivals.items():
            began = time.perf_counter()
            rival()
            rates[count].append(rows / (time.perf_counter() - began))
    return {
        "load": os.getloadavg()[0],
        "rates": {count: statistics.median(found) for count, found in rates.items()},
        "highest": {count: max(found) for count, found in rates.items()},
    }


def _in_batches(processes: ReadingProcesses, contents: list[bytes], batch: int = 64) -> None:
    for start in range(0, len(contents), batch):
        processes.read("scored", contents[start : start + batch])


def make_jpegs(count: int, height: int, width: int) -> list[bytes]:
    """JPEGs of about 35 KB where they are 500 x 375: smooth shapes with some grain."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (height // 25, width // 25, 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = random.integers(-9, 10, (height, width, 1), dtype=np.int16)
        buffer = io.BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
        made.append(buffer.getvalue())
    return made


def _write_model(folder: Path, sizes: dict[str, Any]) -> None:
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(**sizes)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": config.image_size, "width": config.image_size}).save_pretrained(folder)


def _bare(session: EncoderSession, sizes: dict[str, Any], device: str) -> float:
    """The forward pass alone, of pixels that are on the device and prepared."""
    encoder = session.encoder
    side = encoder.model.config.image_size
    rows = min(sizes["batch"], 32) if device == "cpu" else sizes["batch"]
    pixels = torch.rand((rows, 3, side, side), device=device)
    times = max(1, sizes["slow_rows"] // rows)

    def forward() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=encoder.dtype_name == "bfloat16"):
            for _ in range(times):
                encoder.model(pixel_values=pixels)
        _wait(device)

    forward()
    began = time.perf_counter()
    for _ in range(sizes["repeats"]):
        forward()
    return sizes["repeats"] * times * rows / (time.perf_counter() - began)


def _loader(session: EncoderSession, source: Listed, sizes: dict[str, Any], device: str) -> float:
    """The loop everyone writes, once its workers have started."""
    encoder = session.encoder
    data = Decoded(source, encoder.model.config.image_size)
    workers = max(1, torch.get_num_threads() - 1) if torch.get_num_threads() > 1 else 0
    loader: Any = torch.utils.data.DataLoader(
        data,
        batch_size=min(sizes["batch"], 32) if device == "cpu" else sizes["batch"],
        num_workers=workers,
        pin_memory=device == "cuda",
        persistent_workers=workers > 0,
        multiprocessing_context="fork" if workers else None,
    )
    mean, std = 0.5, 0.5

    def features(batches: Iterator[torch.Tensor]) -> int:
        rows = 0
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=encoder.dtype_name == "bfloat16"):
            for batch in batches:
                pixels = (batch.to(device, non_blocking=True).float() / 255 - mean) / std
                encoder.model(pixel_values=pixels).last_hidden_state[:, 0].float().cpu()
                rows += len(batch)
                if rows >= sizes["slow_rows"]:
                    break
        return rows

    batches = iter(loader)
    features(batches) if sizes["rows"] >= 2 * sizes["slow_rows"] else features(iter(loader))
    began = time.perf_counter()
    rows = features(batches if sizes["rows"] >= 2 * sizes["slow_rows"] else iter(loader))
    return rows / (time.perf_counter() - began)


def _product(session: EncoderSession, source: Listed, rows: int, sizes: dict[str, Any]) -> tuple[float, np.ndarray]:
    """Shards one after the other, each prepared while the one before is in the forward pass, as a worker does it."""
    from concurrent.futures import ThreadPoolExecutor

    shards = [
        ShardJob(place, start, min(start + sizes["shard"], rows), "float32")
        for place, start in enumerate(range(0, rows, sizes["shard"]))
    ]
    session.use(None, None, torch.get_num_threads())
    _warm_up(session, source, sizes)
    with ThreadPoolExecutor(2) as threads:
        seconds = []
        for _ in range(sizes["repeats"]):
            began = time.perf_counter()
            tables = list(threads.map(lambda shard: session.extract(shard, source), shards))  # type: ignore[arg-type]
            seconds.append(time.perf_counter() - began)
    column = tables[0].column("feature").combine_chunks()
    return rows / min(seconds), np.asarray(column.flatten()).reshape(len(column), -1)


def _alone(session: EncoderSession, jpegs: list[bytes], sizes: dict[str, Any], device: str) -> dict[str, float]:
    """Rows a second of what a GPU does before the forward pass, when it does nothing else."""
    encoder, rows = session.encoder, sizes["batch"]
    contents = [jpegs[row % len(jpegs)] for row in range(rows)]
    side = encoder.model.config.image_size
    steps, resizing = Steps((side, side), None, 2, None), MatrixResizing(torch.device(device))
    whole = torch.randint(0, 256, (rows, 3, *sizes["image"]), dtype=torch.uint8, device=device)
    rivals: dict[str, Callable[[], Any]] = {
        "decoding and resizing": lambda: encoder.inputs.collate(contents, np.arange(rows)),  # type: ignore[arg-type]
        "resizing": lambda: bring_to_size(whole, steps, resizing),
    }
    rates = {}
    for name, rival in rivals.items():
        rival()
        _wait(device)
        began = time.perf_counter()
        for _ in range(10):
            rival()
        _wait(device)
        rates[name] = 10 * rows / (time.perf_counter() - began)
    return rates


def _warm_up(session: EncoderSession, source: Listed, sizes: dict[str, Any]) -> None:
    """Use everything once, and wait until the processes that decode have come, where there are any."""
    few = ShardJob(0, 0, min(len(source), max(sizes["batch"], 512)), "float32")
    session.extract(few, source)  # type: ignore[arg-type]
    end = time.perf_counter() + 30
    processes = session.encoder.inputs._decoder.processes.current  # type: ignore[union-attr]
    while processes is not None and not processes.ready and time.perf_counter() < end:
        time.sleep(0.05)


def _free(session: EncoderSession) -> None:
    session.encoder.inputs._decoder.processes.close()  # type: ignore[union-attr]
    session.encoder.model.to("cpu")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _least_cosine(one: np.ndarray, other: np.ndarray) -> float:
    rows = min(len(one), len(other))
    one, other = one[:rows], other[:rows]
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, help="file for what is printed")
    parser.add_argument("--decoding", action="store_true", help="decoding alone, by processes")
    parser.add_argument("--rows", type=int, default=512, help="of --decoding")
    parser.add_argument("--repeats", type=int, default=3, help="of --decoding")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    if arguments.decoding:
        cores = os.cpu_count() or 1
        counts = [0, *(count for count in (1, 2, 4, 8, 15) if count <= cores)]
        print(json.dumps(decoding(32 if arguments.tiny else arguments.rows, counts, arguments.repeats), indent=1))
        return
    told = images(TINY if arguments.tiny else FULL, arguments.device)
    print(json.dumps(told, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
