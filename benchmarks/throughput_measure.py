"""How the benchmarks of throughput measure: rates, what the device did meanwhile, a record that grows, and a table."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from device_use import DeviceUse

Work = Callable[[], Any]
PRODUCT = "asvp"
"""What the names of the product's own measurements begin with."""


@dataclass(frozen=True)
class Measured:
    """One thing at work.

    Attributes
    ----------
    rate : float
        Rows or steps a second, the median of `repeats`.
    first : float
        The same of its first time, which pays for what libraries set up.
    flops_share : float
        Its arithmetic of that of the largest product of matrices on the device, in the same time.
    busy : float or None
        Share of the time in which a kernel ran; None where nvidia-smi tells nothing, as on a CPU.
    peak_bytes : int or None
        The most of the GPU that PyTorch's tensors held at a time (`torch.cuda.max_memory_allocated`); None on a CPU.
    repeats : int
        Times that counted.
    """

    rate: float
    first: float
    flops_share: float
    busy: float | None
    peak_bytes: int | None
    repeats: int


@dataclass
class Group:
    """Things that do the same work, to be held against each other.

    Attributes
    ----------
    title : str
    unit : {"rows", "steps"}
        What a rate counts.
    flops : float
        Floating-point operations of one of these.
    planned : list of str
        What is to be measured.
    against : dict of str to (float or None)
        What the product is held against, with the least ratio aimed at, where there is one.
    measured : dict of str to (dict or None)
        What was, as `Measured`; None cannot be had here.
    failed : dict of str to str
        What was tried, and the error.
    more : dict
        Whatever else is told.
    """

    title: str
    unit: str
    flops: float
    planned: list[str]
    against: dict[str, float | None]
    measured: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """What was planned and not tried."""
        return [name for name in self.planned if name not in self.measured and name not in self.failed]

    def ratios(self) -> list[dict[str, Any]]:
        """The product's rates by those that it is held against: of, to, ratio (None: one is missing) and aim."""
        rates = {name: found["rate"] for name, found in self.measured.items() if found is not None}
        return [
            {"of": own, "to": other, "ratio": rates[own] / rates[other] if {own, other} <= rates.keys() else None}
            | {"aim": aim}
            for own in self.planned
            if own.startswith(PRODUCT)
            for other, aim in self.against.items()
        ]


class Record:
    """What a script has measured; its file is written anew after each measurement, for scripts that are ended.

    Parameters
    ----------
    out : Path or None
    told : mapping
        What is known beforehand.
    groups : dict of str to Group
    """

    def __init__(self, out: Path | None, told: Mapping[str, Any], groups: dict[str, Group]) -> None:
        self.groups = groups
        self._out = out
        self._told = told
        self.write()

    def take(self, group: str, name: str, measure: Callable[[], Measured | None]) -> None:
        """Keep what is measured (None: it cannot be had here); a measurement that fails stops no other."""
        print(f"{group}: {name} ...", file=sys.stderr, flush=True)
        try:
            found = measure()
        except Exception as error:
            self.groups[group].failed[name] = f"{type(error).__name__}: {error}"
        else:
            self.groups[group].measured[name] = None if found is None else asdict(found)
        self.write()

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        groups = {name: asdict(group) | {"ratios": group.ratios()} for name, group in self.groups.items()}
        return {**self._told, "groups": groups}

    def write(self) -> None:
        """The file."""
        if self._out is not None:
            write_json(self.as_json(), self._out)


def write_json(told: Mapping[str, Any], out: Path) -> None:
    """A file that is whole at any time, whoever is ended while it is written."""
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    beside.replace(out)


class Meter:
    """Measures one thing after the other on a device.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    best_flops : float
        Floating-point operations a second that the device can do.
    use : DeviceUse
        Open.
    repeats : int
        The fewest that count.
    seconds : float
        They last together at least: nvidia-smi has to see something.
    warm : float
        Seconds of work before, once at least: processes that help have come then.
    """

    def __init__(
        self, device: str, best_flops: float, use: DeviceUse, *, repeats: int, seconds: float, warm: float
    ) -> None:
        self._device = device
        self._best_flops = best_flops
        self._use = use
        self._repeats = repeats
        self._seconds = seconds
        self._warm = warm

    def measure(self, make: Callable[[], Work], count: int, flops: float, *, anew: bool = False) -> Measured:
        """Make some work ready, do it again and again, and forget it.

        Parameters
        ----------
        make : callable
            Makes ready, which is not counted, and returns what does the work.
        count : int
            Rows or steps of the work.
        flops : float
            Of each of them.
        anew : bool
            Whether it is made ready anew each time.
        """
        import torch

        work = _Timed(make, self._device, anew)
        warming = [work()]
        while sum(ended - began for began, ended in warming) < self._warm:
            warming.append(work())
        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        counted: list[tuple[float, float]] = []
        while len(counted) < self._repeats or sum(ended - began for began, ended in counted) < self._seconds:
            counted.append(work())
        rate = count / statistics.median(ended - began for began, ended in counted)
        seen = self._use.during(*counted) if self._device == "cuda" else None
        return Measured(
            rate=rate,
            first=count / (warming[0][1] - warming[0][0]),
            flops_share=rate * flops / self._best_flops,
            busy=None if seen is None else seen.kernel_share,
            peak_bytes=torch.cuda.max_memory_allocated() if self._device == "cuda" else None,
            repeats=len(counted),
        )


class _Timed:
    """Does some work, and tells when."""

    def __init__(self, make: Callable[[], Work], device: str, anew: bool) -> None:
        self._make = make
        self._device = device
        self._anew = anew
        self._work: Work | None = None

    def __call__(self) -> tuple[float, float]:
        if self._work is None or self._anew:
            # What others left behind is not to count as this one's memory.
            self._work = None
            gc.collect()
            self._work = self._make()
        wait(self._device)
        began = time.perf_counter()
        self._work()
        wait(self._device)
        return began, time.perf_counter()


def wait(device: str) -> None:
    """Until the device has done what it was asked for."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def device_name(device: str) -> str:
    """For the record."""
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name()


def print_table(groups: Iterable[Group]) -> None:
    """What was measured, what each measurement did with the device, and the product's ratios beside the aims."""
    for group in groups:
        print(f"\n{group.title:46}{group.unit + '/s':>12}{'of peak FLOP/s':>16}{'GPU busy':>10}{'most memory':>13}")
        for name in group.planned:
            print(f"  {name:44}{_cells(group, name)}")
        for one in group.ratios():
            ratio = "-" if one["ratio"] is None else f"{one['ratio']:.2f}"
            aim = "" if one["aim"] is None else f"  aim {one['aim']:g}"
            print(f"  {one['of'] + ' / ' + one['to']:44}{ratio:>12}{aim}")


def _cells(group: Group, name: str) -> str:
    if name in group.failed:
        return f"{'failed':>12}  {group.failed[name].splitlines()[0][:60]}"
    if name in group.missing:
        return f"{'skipped':>12}"
    found = group.measured[name]
    if found is None:
        return f"{'not here':>12}"
    busy = "-" if found["busy"] is None else f"{found['busy']:.0%}"
    memory = "-" if found["peak_bytes"] is None else f"{found['peak_bytes'] / 1e9:.2f} GB"
    return f"{found['rate']:>12,.1f}{found['flops_share']:>16.1%}{busy:>10}{memory:>13}"


def groups_of(told: Mapping[str, Any]) -> list[Group]:
    """The groups of a record that was read back."""
    names = Group.__dataclass_fields__.keys()
    return [Group(**{name: one[name] for name in names}) for one in told["groups"].values()]
