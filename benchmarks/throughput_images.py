"""How fast images become features and train a model in one process, against the device and a torch DataLoader loop.

    python benchmarks/throughput_images.py                 # on the GPU, or else on the CPU
    python benchmarks/throughput_images.py --tiny          # to see whether it works: seconds, on any machine
    python benchmarks/throughput_images.py --decoding      # decoding alone, by the number of processes

No network: the model has random weights and the size of ViT-B/16, and the JPEGs, 500 x 375, are made here. Extraction
is the work of a worker, by each way of decoding, with as many shards at a time in its `Bench` as a worker has. It is
held against the bare forward pass of pixels on the device, and against the loop that all write: a DataLoader that
decodes and resizes in a process for each core but one, read on without an end, so that its start does not count.

A fine-tune without augmentation is held against a plain loop that reads from such a DataLoader. Both begin with the
encoded images in memory and decode them anew in every epoch; the product's start counts, that of the DataLoader's
processes does not. Labels are drawn up. Of each are told the rate, its share of the arithmetic of the largest product
of matrices that the device does, the busy share of the GPU and the most memory; the file keeps what is finished when
the rest is cut off.
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
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from device_use import DeviceUse, first_gpu
from PIL import Image
from sweep_measure import finish, machine
from throughput_measure import Group, Meter, Record, Work, device_name, print_table, wait
from throughput_peers import bare_forward, device_flops, image_flops, training_flops
from throughput_training import CLASSES, Task, endless_order, training
from throughput_worker import Listed, as_a_worker
from transformers import AutoConfig

from asvp.compute.jobs import EncoderSpec
from asvp.config import EncoderConfig
from asvp.data.pixels import BySteps, Steps
from asvp.data.tensors import MatrixResizing, bring_to_size
from asvp.models.encoder import Encoder
from asvp.models.encoder.decoding import trouble
from asvp.models.encoder.processes import ReadingProcesses

FULL: dict[str, Any] = {
    "rows": 16_384,
    "slow_rows": 4096,
    "loader_rows": 16_384,
    "bare_rows": 8192,
    "distinct": 1024,
    "image": (375, 500),
    "batch": 256,
    "shard": 2048,
    "workers": max(1, len(os.sched_getaffinity(0)) - 1),
    "train_rows": 4096,
    "train_batch": 128,
    "epochs": 2,
    "plain_steps": 64,
    "matrix": 8192,
    "meter": {"repeats": 2, "seconds": 2.0, "warm": 3.0},
    "model": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
TINY: dict[str, Any] = {
    "rows": 48,
    "slow_rows": 48,
    "loader_rows": 32,
    "bare_rows": 32,
    "distinct": 16,
    "image": (75, 100),
    "batch": 16,
    "shard": 24,
    "workers": 0,
    "train_rows": 16,
    "train_batch": 8,
    "epochs": 1,
    "plain_steps": 2,
    "matrix": 256,
    "meter": {"repeats": 1, "seconds": 0.0, "warm": 0.0},
    "model": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 32,
        "patch_size": 8,
    },
}


class Decoded(torch.utils.data.Dataset[Any]):
    """What a DataLoader loop reads: by torchvision's decoder and antialiased resize where it loads, else by Pillow's.

    Of each row its pixels, (3, size, size) uint8, and its number.
    """

    def __init__(self, source: Listed, size: int) -> None:
        self._source = source
        self._size = size

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self._pixels(self._source.take(np.array([row]))[0]), row

    def _pixels(self, content: bytes) -> torch.Tensor:
        try:
            from torchvision.io import decode_jpeg
        except Exception:
            image = Image.open(io.BytesIO(content)).convert("RGB")
            resized = image.resize((self._size, self._size), Image.Resampling.BILINEAR)
            return torch.from_numpy(np.asarray(resized).transpose(2, 0, 1).copy())
        whole = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8)).unsqueeze(0)
        return torch.nn.functional.interpolate(whole, (self._size, self._size), mode="bilinear", antialias=True)[0]


def measure(sizes: dict[str, Any], device: str, folder: Path, out: Path | None) -> Record:
    """Measure everything but decoding alone.

    Parameters
    ----------
    sizes : dict
        As `FULL`.
    device : {"cpu", "cuda"}
    folder : Path
        For the checkpoint.
    out : Path or None
        For the record, as it grows.
    """
    _write_model(folder, sizes["model"])
    jpegs = make_jpegs(sizes["distinct"], *sizes["image"])
    ways = ["pil"]
    ways += [] if trouble("torchvision", "cpu") else ["torchvision"]
    ways += ["gpu"] if device == "cuda" and not trouble("gpu", "cuda") else []
    flops = image_flops(AutoConfig.from_pretrained(folder))
    best = device_flops(device, sizes["matrix"])
    told = {
        "machine": machine(),
        "device": device_name(device),
        "device_flops": best,
        "jpeg_bytes": statistics.mean(map(len, jpegs)),
        "torchvision": trouble("torchvision", "cpu") or "loads",
        "loader_workers": sizes["workers"],
    }
    groups = {
        "extraction": Group(
            "images, ViT-B/16-sized",
            "rows",
            flops,
            ["bare forward", "DataLoader", *(f"asvp, {way}" for way in ways)],
            {"bare forward": 0.9, "DataLoader": 2.5},
        ),
        "train": Group(
            f"fine-tune, ViT-B/16-sized, batches of {sizes['train_batch']}",
            "steps",
            training_flops(flops * sizes["train_batch"]),
            ["asvp", "plain loop"],
            {"plain loop": 1.1},
        ),
    }
    record = Record(out, told, groups)
    with DeviceUse(first_gpu(), every=0.25) as use:
        meter = Meter(device, best, use, **sizes["meter"])
        # What is asked first comes first, where the time may not do for all.
        _rivals(record, meter, folder, jpegs, device, sizes)
        _extraction(record, meter, folder, jpegs, ways[-1:], sizes)
        _train(record, meter, folder, jpegs, device, sizes)
        _extraction(record, meter, folder, jpegs, ways[-2::-1], sizes)
    more = groups["extraction"].more
    more["least_cosine_to_pil"] = _least_cosines(folder, jpegs, ways, device, sizes)
    if "gpu" in ways:
        more["alone"] = _alone(folder, jpegs, sizes, device)
    record.write()
    return record


def _rivals(record: Record, meter: Meter, folder: Path, jpegs: list[bytes], device: str, sizes: dict[str, Any]) -> None:
    flops = record.groups["extraction"].flops
    batches = partial(_random_pixels, _side(sizes), device, sizes)
    rivals: list[tuple[str, Callable[[], Work], int]] = [
        ("bare forward", lambda: bare_forward(folder, batches, device), sizes["bare_rows"]),
        ("DataLoader", lambda: _loader_loop(folder, jpegs, device, sizes), sizes["loader_rows"]),
    ]
    for name, make, rows in rivals:
        record.take("extraction", name, partial(meter.measure, make, rows, flops))


def _extraction(
    record: Record, meter: Meter, folder: Path, jpegs: list[bytes], ways: list[str], sizes: dict[str, Any]
) -> None:
    flops = record.groups["extraction"].flops
    for way in ways:
        source = Listed("image", jpegs, sizes["rows" if way == "gpu" else "slow_rows"])
        work = partial(as_a_worker, EncoderSpec(_config(folder, way, sizes), "image"), source, sizes["shard"])
        record.take("extraction", f"asvp, {way}", partial(meter.measure, work, len(source), flops))


def _config(folder: Path, way: str, sizes: dict[str, Any]) -> EncoderConfig:
    return EncoderConfig(model=str(folder), pooling="cls", batch_size=sizes["batch"], decode=way)  # type: ignore[arg-type]


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


def _random_pixels(side: int, device: str, sizes: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    rows = _loop_batch(device, sizes)
    return [{"pixel_values": torch.rand((rows, 3, side, side), device=device)}] * (sizes["bare_rows"] // rows)


def _loop_batch(device: str, sizes: dict[str, Any]) -> int:
    """Rows of a batch of the loops; more are slower on a CPU."""
    return min(sizes["batch"], 32) if device == "cpu" else int(sizes["batch"])


def _side(sizes: dict[str, Any]) -> int:
    return int(sizes["model"].get("image_size", 224))


def _loader_loop(folder: Path, jpegs: list[bytes], device: str, sizes: dict[str, Any]) -> Work:
    """The loop everyone writes: features copied back batch by batch."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).to(device).eval()
    batch = _loop_batch(device, sizes)
    batches = _loaded(jpegs, batch, device, sizes)

    def work() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            for _ in range(sizes["loader_rows"] // batch):
                inputs, _ = next(batches)
                model(**inputs).last_hidden_state[:, 0].float().cpu()

    return work


def _loaded(jpegs: list[bytes], batch: int, device: str, sizes: dict[str, Any]) -> Iterator[Any]:
    """Inputs on the device and numbers of rows, batch after batch without an end."""
    loader: Any = torch.utils.data.DataLoader(
        Decoded(Listed("image", jpegs, len(jpegs)), _side(sizes)),
        batch_size=batch,
        sampler=chain.from_iterable(order.tolist() for order in endless_order(len(jpegs), batch)),  # type: ignore[arg-type]
        num_workers=sizes["workers"],
        pin_memory=device == "cuda",
        multiprocessing_context="fork" if sizes["workers"] else None,
    )
    for pixels, rows in loader:
        scaled = (pixels.to(device, non_blocking=True).float() / 255 - 0.5) / 0.5
        yield {"pixel_values": scaled}, rows.to(device, non_blocking=True)


def _train(record: Record, meter: Meter, folder: Path, jpegs: list[bytes], device: str, sizes: dict[str, Any]) -> None:
    rows = [jpegs[row % len(jpegs)] for row in range(sizes["train_rows"])]
    config = EncoderConfig(model=str(folder), pooling="cls")
    task = Task(config, "image", rows, sizes["train_batch"], sizes["epochs"], sizes["plain_steps"])

    def batches() -> Iterator[Any]:
        for inputs, numbers in _loaded(rows, task.batch, device, sizes):
            yield inputs, numbers % CLASSES

    training(record, meter, task, batches, device)


def _least_cosines(
    folder: Path, jpegs: list[bytes], ways: list[str], device: str, sizes: dict[str, Any]
) -> dict[str, float]:
    """The smallest cosine similarity of a feature to that of the pixels that Pillow makes, by way of decoding."""
    features = {way: Encoder.load(_config(folder, way, sizes), "image", device=device).encode(jpegs) for way in ways}
    lengths = {way: np.linalg.norm(found, axis=1) for way, found in features.items()}
    return {
        way: float(((features["pil"] * found).sum(1) / lengths["pil"] / lengths[way]).min())
        for way, found in features.items()
    }


def _alone(folder: Path, jpegs: list[bytes], sizes: dict[str, Any], device: str) -> dict[str, float]:
    """Rows a second of what a GPU does before the forward pass, when it does nothing else."""
    encoder, rows = Encoder.load(_config(folder, "gpu", sizes), "image", device=device), sizes["batch"]
    contents = [jpegs[row % len(jpegs)] for row in range(rows)]
    side = _side(sizes)
    steps, resizing = Steps((side, side), None, 2, None), MatrixResizing(torch.device(device))
    whole = torch.randint(0, 256, (rows, 3, *sizes["image"]), dtype=torch.uint8, device=device)
    rivals: dict[str, Callable[[], Any]] = {
        "decoding and resizing": lambda: encoder.inputs.collate(contents, np.arange(rows)),  # type: ignore[arg-type]
        "resizing": lambda: bring_to_size(whole, steps, resizing),
    }
    rates = {}
    for name, rival in rivals.items():
        rival()
        wait(device)
        began = time.perf_counter()
        for _ in range(10):
            rival()
        wait(device)
        rates[name] = 10 * rows / (time.perf_counter() - began)
    return rates


def _besides(record: Record) -> list[tuple[str, str, str]]:
    """What is told besides, for `finish`."""
    more = record.groups["extraction"].more
    cosines, alone = more["least_cosine_to_pil"], more.get("alone", {})
    return [
        *((f"{way}: least cosine similarity to pil", f"{least:.5f}", "") for way, least in cosines.items()),
        *((f"{what} alone, on the GPU: rows a second", f"{rate:,.0f}", "") for what, rate in alone.items()),
    ]


def main() -> None:
    """Measure what the arguments ask for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, help="file for everything measured, as JSON")
    parser.add_argument("--decoding", action="store_true", help="decoding alone, by processes")
    parser.add_argument("--rows", type=int, default=512, help="of --decoding")
    parser.add_argument("--repeats", type=int, default=3, help="of --decoding")
    arguments = parser.parse_args()
    if arguments.decoding:
        cores = os.cpu_count() or 1
        counts = [0, *(count for count in (1, 2, 4, 8, 15) if count <= cores)]
        print(json.dumps(decoding(32 if arguments.tiny else arguments.rows, counts, arguments.repeats), indent=1))
        return
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="asvp-", ignore_cleanup_errors=True) as name:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        record = measure(TINY if arguments.tiny else FULL, device, Path(name), arguments.out)
    print_table(record.groups.values())
    finish("Besides", {}, _besides(record), None)


if __name__ == "__main__":
    main()
