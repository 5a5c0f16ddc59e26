"""What the GPUs say of themselves while something is measured."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Use:
    """What was seen of the GPUs in a stretch of time.

    Attributes
    ----------
    kernel_share : float
        Mean, over the GPUs and the looks, of the share of the time before a look in which a kernel ran: a sixth of a
        second to a second, as the driver has it. A kernel that fills a hundredth of a GPU counts like a large one.
    memory_mb : float
        The most that one GPU held, all processes and their CUDA contexts included.
    samples : int
        Numbers seen.
    """

    kernel_share: float
    memory_mb: float
    samples: int


def first_gpu() -> str:
    """Number or UUID of the GPU that is PyTorch's first."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


class DeviceUse:
    """Asks `nvidia-smi` every now and then, as long as it is open; knows nothing where there is none.

    Parameters
    ----------
    gpu : str, optional
        Number or UUID of the one to look at; None: all.
    every : float
        Seconds between two looks.
    """

    def __init__(self, gpu: str | None = None, every: float = 1.0) -> None:
        self._seen: list[tuple[float, float, float]] = []
        self._which = [] if gpu is None else ["-i", gpu]
        self._every = every
        self._tool = shutil.which("nvidia-smi")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> DeviceUse:
        if self._tool:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._tool:
            self._thread.join()

    def during(self, *stretches: tuple[float, float]) -> Use | None:
        """What was seen in stretches of `time.perf_counter`, or ever; None if nothing was."""
        seen = [
            (share, memory)
            for moment, share, memory in self._seen
            if not stretches or any(began <= moment <= ended for began, ended in stretches)
        ]
        if not seen:
            return None
        return Use(statistics.mean(share for share, _ in seen), max(memory for _, memory in seen), len(seen))

    def _look(self) -> None:
        query = [str(self._tool), *self._which, "--query-gpu=utilization.gpu,memory.used"]
        query += ["--format=csv,noheader,nounits"]
        while not self._over.wait(self._every):
            try:
                told = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
                found = [[float(part) for part in line.split(",")] for line in told.splitlines() if line.strip()]
            except (OSError, ValueError, subprocess.SubprocessError):
                continue
            self._seen += [(time.perf_counter(), busy / 100, memory) for busy, memory in found]
