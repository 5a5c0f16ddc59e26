"""A sweep in a storm: workers, drivers, the broker, nodes, the sweep and its storage fail at random, from a seed.

    python tests/soak.py --minutes 30 --seed 0 --log soak.jsonl

Three nodes on this machine run a sweep of a tiny encoder again and again, each time in a new directory with a new
cache, until the time is over. Every trial has to buy the rows, refresh, and measure the accuracies of one that nobody
disturbed. The log has a line for each thing that was done; the exit status is 1 if anything differs, or does not end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml
from forked import Forked, fork_ray_workers
from tiny_runs import picks, tiny_config

from asvp.config import Config
from asvp.driver.loop import run
from asvp.tune_spaces.space import Space, trials

ARMS: dict[str, Any] = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "every", "every": 2}}}
SEEDS = (0, 1)
SETTINGS: dict[str, Any] = {
    "budget": [20, *[10] * 5],
    "extraction": {"cache": None},
    "training": {"method": "lp"},
    "workers": {"count": 2, "cpus": 1},
}
MOST_EVENTS = 12
"""Of one sweep: then it is left in peace, so that it ends."""
LONGEST_SECONDS = 600.0
"""That one sweep may take; longer, and it hangs."""
_STARTS = 4
"""Tries to start a node."""
ENDS = {0: "finished", 1: "stopped", 130: "interrupted", -signal.SIGKILL: "killed"}


class Log:
    """A line of JSON for each thing that is done, with the seconds since the beginning."""

    def __init__(self, path: Path | None) -> None:
        self._file = open(path, "a", encoding="utf-8") if path else None  # noqa: SIM115
        self._began = time.monotonic()

    def __call__(self, what: str, **told: Any) -> None:
        line = json.dumps({"seconds": round(time.monotonic() - self._began, 2), "what": what, **told})
        print(line, flush=True)
        if self._file:
            print(line, file=self._file, flush=True)


class Nodes:
    """A head and two more nodes, of which one at a time may be lost for a while."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        fork_ray_workers()
        store = 100 << 20
        self._more = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": store}
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "object_store_memory": store, "include_dashboard": False},
        )
        self._nodes = [self._add() for _ in range(2)]
        self.address: str = self._cluster.address

    def lose(self, draw: random.Random) -> str | None:
        """Kill a node's raylet, with all that runs there."""
        if len(self._nodes) < 2:
            return None
        node = self._nodes.pop(draw.randrange(len(self._nodes)))
        self._cluster.remove_node(node, allow_graceful=False)
        return f"a node was lost, {1 + len(self._nodes)} are left"

    def restore(self) -> str | None:
        """Add the node that is missing."""
        if len(self._nodes) == 2:
            return None
        self._nodes.append(self._add())
        return "a node was added"

    def _add(self) -> Any:
        """A new node; where the machine is too busy to start one in Ray's half minute, the next try may."""
        for left in reversed(range(_STARTS)):
            try:
                return self._cluster.add_node(**self._more)
            except Exception as error:
                # Ray has no class of its own for this.
                if not left or "timed out during startup" not in str(error):
                    raise
        raise AssertionError("the last try gives a node or raises")

    def close(self) -> None:
        """End them all."""
        self._cluster.shutdown()


class Storm:
    """One sweep, and what befalls it.

    Parameters
    ----------
    folder : Path
        Has config.yaml and space.yaml; the sweep directory and the cache go there.
    nodes : Nodes
    draw : Random
    log : Log
    """

    def __init__(self, folder: Path, nodes: Nodes, draw: random.Random, log: Log) -> None:
        self._folder, self._nodes, self._draw, self._log = folder, nodes, draw, log
        self.out, self._cache = folder / "out", folder / "cache"
        self._sweep: Forked | None = None
        self._cache_was_away = False

    def run(self) -> None:
        """Until the sweep has ended with all trials finished."""
        end = time.monotonic() + LONGEST_SECONDS
        left = MOST_EVENTS
        code = None
        due = time.monotonic() + self._draw.uniform(3, 7)
        while code != 0:
            if time.monotonic() > end:
                raise AssertionError(f"the sweep has not ended after {LONGEST_SECONDS:.0f} s")
            if self._sweep is None:
                self._begin()
            time.sleep(0.1)
            code = self._ended()
            if code is None and left and time.monotonic() > due:
                left -= self._strike()
                due = time.monotonic() + self._draw.uniform(1.5, 5)

    def _begin(self) -> None:
        words = ["-m", "asvp", "sweep", "space.yaml", "config.yaml", "--out", "out", "--address", self._nodes.address]
        # With everything: a trial that failed of the storm's own faults would show here.
        words += ["--resume"] if (self.out / "trials.json").exists() else []
        self._sweep = Forked(*words, cwd=self._folder, start_new_session=True)
        self._cache_was_away = False
        self._log("the sweep begins" if "--resume" not in words else "the sweep goes on")

    def _ended(self) -> int | None:
        """The exit status, once there is one."""
        assert self._sweep is not None
        code = self._sweep.poll()
        if code is None:
            return None
        said = self._sweep.communicate(1)[1].strip().splitlines()
        self._log(f"the sweep was {ENDS.get(code, f'ended with {code}')}", said=said[-1] if said else "")
        # A cache that is not there when a sweep starts is an error before work.
        refused = code == 2 and self._cache_was_away and "extraction.cache: cannot be read" in said[-1]
        if (code not in ENDS and not refused) or (code == 1 and "this goes on" not in said[-1]):
            raise AssertionError("\n".join(said[-30:]))
        self._sweep = None
        return code

    def _strike(self) -> bool:
        """Do one thing to it, if there is anything to do it to."""
        acts: list[Callable[[], str | None]] = [
            lambda: self._kill("ray::_Worker"),
            lambda: self._kill("ray::ImplicitFunc"),
            lambda: self._kill("ray::_Broker"),
            lambda: self._pause("ray::_Worker"),
            lambda: self._nodes.lose(self._draw),
            self._nodes.restore,
            lambda: self._signal(signal.SIGKILL),
            lambda: self._signal(signal.SIGINT),
            self._take_the_cache_away,
            lambda: self._fill_the_disk("ray::ImplicitFunc"),
        ]
        told = self._draw.choice(acts)()
        if told is not None:
            self._log(told)
        return told is not None

    def _one(self, name: str) -> psutil.Process | None:
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(name):
                    found.append(process)
        return self._draw.choice(found) if found else None

    def _kill(self, name: str) -> str | None:
        return self._do(name, psutil.Process.kill, "was killed")

    def _pause(self, name: str) -> str | None:
        def pause(process: psutil.Process) -> None:
            process.suspend()
            time.sleep(2)
            process.resume()

        return self._do(name, pause, "was stopped for 2 s")

    def _do(self, name: str, act: Callable[[psutil.Process], None], told: str) -> str | None:
        process = self._one(name)
        if process is None:
            return None
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            act(process)
        return f"{name} {told}"

    def _signal(self, number: signal.Signals) -> str | None:
        assert self._sweep is not None
        if not (self.out / "trials.json").exists():
            # Nothing was begun that a resume could go on with.
            return None
        self._sweep.send_signal(number)
        return f"the sweep was sent {number.name}"

    def _take_the_cache_away(self) -> str | None:
        if not self._cache.is_dir():
            return None
        self._cache_was_away = True
        away = self._cache.with_name("away")
        self._cache.rename(away)
        self._cache.touch()
        time.sleep(2)
        self._cache.unlink()
        away.rename(self._cache)
        return "the cache was a file for 2 s"

    def _fill_the_disk(self, name: str) -> str | None:
        """Let a trial write no file larger than a few bytes from here on, as on a full disk."""

        def fill(process: psutil.Process) -> None:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))

        return self._do(name, fill, "can write no more")


def outcome(folder: Path) -> list[Any]:
    """What a run bought, and what it measured in each round."""
    rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]
    keys = ("labelled", "feature_version", "refreshed", "proxy_accuracy", "final_accuracy", "logme_ped")
    return [picks(folder), [[one[key] for key in keys] for one in rounds]]


def soak(base: Config, folder: Path, minutes: float, seed: int, log: Log) -> int:
    """Storms until the time is over, one at least; how many there were.

    Raises
    ------
    AssertionError
        If a trial ended otherwise than in peace, or a sweep did not end.
    """
    chosen = list(trials(Space(ARMS, SEEDS), base.model_dump()))
    for trial in chosen:
        run(trial.config, out=folder / "peace" / trial.name, in_process=True)
    expected = {trial.name: outcome(folder / "peace" / trial.name) for trial in chosen}
    log("an undisturbed sweep", trials=sorted(expected))
    end, count = time.monotonic() + 60 * minutes, 0
    nodes = Nodes()
    try:
        while not count or time.monotonic() < end:
            place = folder / f"storm-{count}"
            place.mkdir()
            given = base.model_dump()
            given["extraction"]["cache"] = str(place / "cache")
            (place / "config.yaml").write_text(yaml.safe_dump(given))
            (place / "space.yaml").write_text(yaml.safe_dump({"arms": ARMS, "seeds": list(SEEDS)}))
            log(f"storm {count}", seed=seed)
            storm = Storm(place, nodes, random.Random(f"{seed} {count}"), log)
            storm.run()
            found = {folder.name: outcome(folder) for folder in (storm.out / "runs").iterdir()}
            assert found == expected, f"storm {count} of seed {seed}: {place} differs from {folder / 'peace'}"
            log("all trials are as in peace")
            nodes.restore()
            count += 1
    finally:
        nodes.close()
    return count


def main() -> None:
    """Soak, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="file that the lines are added to")
    parser.add_argument("--folder", type=Path, help="where the runs stay; default: nowhere")
    given = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1", "RAY_AUTH_MODE": "disabled"}
    # A shell lets what it runs in the background ignore Ctrl-C, and the sweeps would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = Log(given.log)
    with tempfile.TemporaryDirectory(prefix="asvp-soak-") as name:
        folder = given.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        base = tiny_config(folder, **SETTINGS)
        try:
            count = soak(base, folder, given.minutes, given.seed, log)
        except AssertionError as error:
            log("failed", seed=given.seed, reason=str(error))
            sys.exit(1)
    log("done", storms=count)


if __name__ == "__main__":
    main()
