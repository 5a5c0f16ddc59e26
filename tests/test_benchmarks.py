"""Benchmarks that nobody runs for months still run."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark, which finds those beside it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def imported(name: str) -> ModuleType:
        return importlib.import_module(name)

    return imported


def _check(group: dict[str, Any], *absent: str) -> None:
    """All that is told of a group on a CPU, where only what may be `absent` is None."""
    assert group["failed"] == {}
    assert list(group["measured"])
    assert set(group["measured"]) == set(group["planned"])
    for name, found in group["measured"].items():
        if found is None:
            assert name in absent
            continue
        for rate in (found["rate"], found["first"], found["flops_share"]):
            assert math.isfinite(rate)
            assert rate > 0
        assert found["busy"] is None
        assert found["peak_bytes"] is None
        assert found["repeats"] >= 1
    rates = {name: found["rate"] for name, found in group["measured"].items() if found}
    assert {one["to"] for one in group["ratios"]} == set(group["against"])
    for one in group["ratios"]:
        if one["to"] in rates:
            assert one["ratio"] == pytest.approx(rates[one["of"]] / rates[one["to"]])
        else:
            assert one["ratio"] is None


def test_throughput_of_texts_is_told_for_the_product_the_bound_and_all_peers(load: Any, tmp_path: Path) -> None:
    throughput = load("throughput")
    throughput.measure(throughput.TINY, "cpu", tmp_path, tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text())
    groups = told["groups"]
    assert list(groups) == ["short", "long", "train"]
    for group in groups.values():
        _check(group, "sentence-transformers")
    assert {one["to"]: one["aim"] for one in groups["short"]["ratios"]} == {
        "bare forward": 0.5,
        "transformers": None,
        "sentence-transformers": 2.5,
    }
    assert groups["long"]["ratios"][0]["aim"] == 0.9
    assert groups["train"]["ratios"][0]["aim"] == 3.0
    for group in (groups["short"], groups["long"]):
        assert all(group["more"][name] > 0 for name in ("tokens_a_row", "tokenise", "collate"))


def test_throughput_of_images_is_told_for_the_product_the_bound_and_all_peers(
    load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    throughput = load("throughput_images")
    record = throughput.measure(throughput.TINY, "cpu", tmp_path, tmp_path / "told.json")
    groups = json.loads((tmp_path / "told.json").read_text())["groups"]
    assert list(groups) == ["extraction", "train"]
    for group in groups.values():
        _check(group)
    assert groups["extraction"]["against"] == {"bare forward": 0.9, "DataLoader": 2.5}
    assert groups["train"]["against"] == {"plain loop": 1.1}
    assert groups["extraction"]["more"]["least_cosine_to_pil"]["pil"] == pytest.approx(1.0)
    load("throughput_measure").print_table(record.groups.values())
    table = capsys.readouterr().out
    assert "asvp, pil / bare forward" in table
    assert "aim 0.9" in table
    assert "asvp, pil / DataLoader" in table
    assert "aim 2.5" in table


def test_what_was_finished_is_kept_and_what_fails_stops_nothing_else(
    load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = load("throughput_measure")
    group = measure.Group("a group", "rows", 1.0, ["bare", "peer", "asvp"], {"bare": 0.5, "peer": None})
    record = measure.Record(tmp_path / "told.json", {"device": "cpu"}, {"one": group})

    def failing() -> Any:
        raise RuntimeError("no such peer")

    found = measure.Measured(rate=8.0, first=4.0, flops_share=0.5, busy=None, peak_bytes=None, repeats=1)
    record.take("one", "bare", lambda: found)
    record.take("one", "peer", failing)
    (kept,) = measure.groups_of(json.loads((tmp_path / "told.json").read_text()))
    assert kept.measured["bare"]["rate"] == 8.0
    assert kept.failed == {"peer": "RuntimeError: no such peer"}
    assert kept.missing == ["asvp"]
    measure.print_table([kept])
    assert "skipped" in capsys.readouterr().out


def test_a_rate_is_the_count_by_the_median_of_the_times_after_warming_up(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = load("throughput_measure")
    now, made, naps = [0.0], [], iter([20.0, 2.0, 5.0, 4.0])
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work() -> None:
        now[0] += next(naps)

    def make() -> Any:
        made.append(True)
        now[0] += 100.0
        return work

    meter = measure.Meter("cpu", 1e3, load("device_use").DeviceUse(), repeats=3, seconds=0.0, warm=10.0)
    found = meter.measure(make, 10, 60.0)
    assert len(made) == 1
    assert found.first == 10 / 20
    assert found.rate == 10 / 4
    assert found.flops_share == 10 / 4 * 60 / 1e3
    assert found.repeats == 3


def test_memory_and_busy_share_on_a_gpu_are_those_of_the_times_that_count(
    load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    measure, use = load("throughput_measure"), load("device_use")
    now, held, asked = [0.0], [0], []
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: held.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: max(held))

    def during(*stretches: tuple[float, float]) -> Any:
        asked.extend(stretches)
        return use.Use(0.25, 4000.0, 8)

    sizes = iter([900, 300, 500])

    def work() -> None:
        now[0] += 1.0
        held.append(next(sizes))

    meter = measure.Meter("cuda", 1e3, SimpleNamespace(during=during), repeats=2, seconds=2.0, warm=0.5)
    found = meter.measure(lambda: work, 10, 60.0)
    assert found.busy == 0.25
    assert found.peak_bytes == 500
    assert asked == [(1.0, 2.0), (2.0, 3.0)]


def test_arithmetic_of_a_vit_is_what_is_published_of_it(load: Any) -> None:
    peers = load("throughput_peers")
    vit = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072}
    vit |= {"image_size": 224, "patch_size": 16, "num_channels": 3}
    # torchvision's page of vit_b_16: 17.56 GFLOPS, in multiplications with their additions, the classifier included.
    assert peers.image_flops(SimpleNamespace(**vit)) == pytest.approx(2 * 17.56e9, rel=0.01)
    assert peers.forward_flops(SimpleNamespace(**vit), np.array([197])) < peers.image_flops(SimpleNamespace(**vit))


def test_the_share_of_busy_seconds_is_what_nvidia_smi_says(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '40, 1000'\necho '60, 3000'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with load("device_use").DeviceUse(every=0.01) as use:
        end = time.monotonic() + 20
        while use.during() is None and time.monotonic() < end:
            time.sleep(0.01)
    seen = use.during()
    assert seen.kernel_share == pytest.approx(0.5)
    assert seen.memory_mb == 3000.0
    later = time.perf_counter()
    assert use.during((later, later + 1.0)) is None


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_without_one(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--tiny", "--only", "text", "--only", "images"]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "told.json")], capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["demo"] is None
    for step in ("text", "images"):
        for group in told[step]["groups"].values():
            _check(group, "sentence-transformers")
    assert "asvp / sentence-transformers" in ended.stdout
    assert "asvp, pil / DataLoader" in ended.stdout


@pytest.mark.slow
def test_a_step_whose_time_is_up_is_cut_off_and_said_to_be(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--only", "text", "--minutes", "0.6"]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "told.json")], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert any("throughput.py: cut off" in one for one in told["skipped"])


def test_turns_of_two_checkouts_are_told_by_the_median_of_their_pairs(load: Any) -> None:
    pairs = [(10.0, 10.0), (40.0, 20.0), (9.0, 3.0), (4.0, 1.0), (50.0, 10.0), (60.0, 10.0)]
    # Of six values the least and the most are the only interval that holds 95 %.
    assert load("extraction_turns")._told(pairs) == (
        "3.50 times as fast (1.00 to 6.00; medians 25 and 10 rows/s, 6 pairs)"
    )


def test_turns_of_a_folder_without_the_benchmark_are_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "extraction_turns.py"), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert f"{tmp_path} is no checkout with benchmarks/extraction.py" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", [[], ["--images"]], ids=["texts", "images"])
def test_turns_with_the_same_checkout_are_measured(kind: list[str]) -> None:
    command = [sys.executable, str(BENCHMARKS / "extraction_turns.py"), str(BENCHMARKS.parent)]
    ended = subprocess.run(
        [*command, *kind, "--rows", "128", "--pairs", "6"], capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("images, auto: " if kind else "texts, auto: ")
    assert "6 pairs)" in ended.stdout
