"""Extraction by this code and by an older checkout, in turns.

    git worktree add DIR e9e439a
    python benchmarks/extraction_turns.py DIR                      # texts, by the dtype that auto gives
    python benchmarks/extraction_turns.py DIR --dtype float32
    python benchmarks/extraction_turns.py DIR --images --pairs 12  # JPEGs, by a ViT-S/16-sized encoder

Each side has its own Ray and warm workers, all the time; then one extracts while the other waits, and they take turns
in who goes first. A machine that others use changes its speed within seconds, by a factor of two and more: two runs of
extraction.py, minutes apart, differ by more than two versions do, while the two extractions of a pair meet nearly the
same machine. What is told is the median of the ratios of pairs, with an interval that holds at any distribution.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

READY = "ready"


def main() -> None:
    """Measure pairs of extractions and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("code", type=Path, help="the older checkout")
    parser.add_argument("--dtype", default="auto", help="encoder.dtype of both")
    parser.add_argument("--rows", type=int, help="2,000 texts or 400 images")
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--pairs", type=int, default=50, help="extractions of each, 6 and more")
    parser.add_argument("--serve", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.code, *arguments.serve)
        return
    if not (arguments.code / "benchmarks" / "extraction.py").is_file():
        parser.error(f"{arguments.code} is no checkout with benchmarks/extraction.py")
    if arguments.pairs < 6:
        parser.error("--pairs must be 6 or more, since fewer leave no interval of 95 %")
    with tempfile.TemporaryDirectory() as folder:
        rows = arguments.rows or (400 if arguments.images else 2000)
        if arguments.images:
            name, options = None, _images(Path(folder), rows)
        else:
            name, options = "debian-sections", [f"data.limit={rows}"]
        options += [f"encoder.dtype={arguments.dtype}", "extraction.cache=null"]
        pairs = _pairs(arguments.code, name, options, arguments.pairs)
    title = f"{'images' if arguments.images else 'texts'}, {arguments.dtype}"
    print(f"{title}: {_told(pairs)}")


def _pairs(code: Path, name: str | None, options: Sequence[str], count: int) -> list[tuple[float, float]]:
    """Rows a second of this code and of the older one, pair by pair."""
    from checkouts import older

    here = Path(__file__).resolve().parents[1]
    with ExitStack() as sides:
        _, environment = sides.enter_context(older(code))
        this = sides.enter_context(_side(here, name, options, {}))
        that = sides.enter_context(_side(code.resolve(), name, options, environment))
        pairs = []
        for pair in range(count):
            rates = {side: side.rate() for side in ((this, that) if pair % 2 else (that, this))}
            pairs.append((rates[this], rates[that]))
        return pairs


def _told(pairs: Sequence[tuple[float, float]]) -> str:
    """The median of the pairs' ratios, and 95 % of its distribution, by order statistics."""
    from scipy.stats import quantile_test

    ratios = [this / that for this, that in pairs]
    between = quantile_test(ratios, q=1.0, p=0.5).confidence_interval(0.95)
    this, that = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    return (
        f"{statistics.median(ratios):.2f} times as fast ({between.low:.2f} to {between.high:.2f}; "
        f"medians {this:,.0f} and {that:,.0f} rows/s, {len(pairs)} pairs)"
    )


class _Side:
    """A process that extracts with a checkout, whenever it is asked to."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def rate(self) -> float:
        """Rows a second of one extraction."""
        assert self._process.stdin is not None
        print("extract", file=self._process.stdin, flush=True)
        return float(self.answer("rate ").removeprefix("rate "))

    def answer(self, begins: str) -> str:
        """The next line that begins so; others are what libraries print."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(begins):
                return line.strip()
        tail = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:]
        raise SystemExit("\n".join(["a side ended early:", *tail]))


@contextmanager
def _side(code: Path, name: str | None, options: Sequence[str], environment: Mapping[str, str]) -> Iterator[_Side]:
    # Names of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        with open(log, "w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).resolve()), str(code), "--serve", json.dumps([name, options])],
                env={**os.environ, **environment, "RAY_TMPDIR": folder},
                # In a folder with packages of the same names, those would be imported.
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            side = _Side(process, log)
            side.answer(READY)
            yield side
        finally:
            # It ends, and its Ray with it, when nobody can ask any more.
            process.communicate()


def _serve(code: Path, name: str | None, options: list[str]) -> None:
    """Extract once for each line of input, by the team of workers of a checkout's own extraction.py."""
    sys.path.insert(0, str(code / "benchmarks"))
    extraction = importlib.import_module("extraction")
    config = extraction.load_config(name, options)
    dataset = extraction.open_dataset(config.data)
    with extraction.cluster("local"), ExitStack() as pools:
        # Before there were pools, a team had none.
        takes_pools = "pools" in inspect.signature(extraction._Team).parameters
        team = extraction._Team(config, dataset, config.encoder, *([pools] if takes_pools else []))
        team.rate()
        print(READY, flush=True)
        for _ in sys.stdin:
            print(f"rate {team.rate()}", flush=True)


def _images(folder: Path, rows: int) -> list[str]:
    """Images and an encoder in a folder, and the options that name them."""
    from extraction import image_options, write_jpegs, write_vit

    write_jpegs(folder / "images", rows)
    write_vit(folder / "encoder")
    return image_options(folder)


if __name__ == "__main__":
    main()
