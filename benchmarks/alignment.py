"""What a refresh does to the proxy, and what keeps it from harm.

    nice -n 10 python benchmarks/alignment.py study --out ~/alignment.jsonl --work ~/alignment \\
        --table glosses=GLOSSES --table clipart=CLIPART --image-model EFFICIENTNET
    python benchmarks/alignment.py report --out ~/alignment.jsonl --docs docs

A table is a folder with pool.parquet and test.parquet; alignment_data.py makes the one of WordNet's glosses. `study`
appends the records of a unit when it is complete, leaves out what the file holds, and keeps features in the folder
`--work`; it may be killed and started again, and two processes may share the file when they take different data sets
(`--only`). docs/alignment.md says what came out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import alignment_measure as measure
import click
import torch
from alignment_report import write_report
from alignment_tasks import Task, open_tasks
from alignment_versions import Refresh

Work = Callable[[measure.Bench], measure.Records]

GROUPS: dict[str, Work] = {
    "plain": measure.plain_variants,
    "held": measure.held_variants,
    "shares": measure.other_shares,
    "3 epochs": lambda bench: measure.other_training(bench, "3 epochs"),
    "LP-FT": lambda bench: measure.other_training(bench, "LP-FT"),
    "augmented": lambda bench: measure.other_training(bench, "augmented"),
    "wide": measure.wide_variants,
    "cross-fitted": measure.cross_fits,
    "picks": measure.picked,
}
PLAN = """
    plain random 400 0; held random 400 0; held margin 400 0; augmented random 400 0
    plain random 400 1; held random 200 0; plain random 400 2; held random 200 1; held random 200 2
    wide random 400 0; 3 epochs random 400 0; held margin 400 1; plain random 800 0; augmented random 400 1
    shares random 400 0; held margin 400 2; held random 400 1; held random 400 2; LP-FT random 400 0
    plain random 200 0; plain random 200 1; plain random 200 2; cross-fitted random 400 0
    augmented random 400 2; 3 epochs random 400 1; 3 epochs random 400 2
    shares random 400 1; shares random 400 2; plain random 800 1; plain random 800 2
    LP-FT random 400 1; LP-FT random 400 2; cross-fitted random 400 1; cross-fitted random 400 2
    plain margin 400 0; plain margin 400 1; plain margin 400 2; picks margin 400 0; picks margin 400 1
"""
"""Units in the order of their weight, so that an early end leaves a balanced study: a group of variants, how rows are
picked, labels at the refresh, seed. Every unit is done for all data sets before the next."""


def units(tasks: list[Task], seeds: int, groups: list[str]) -> Iterator[tuple[str, Refresh]]:
    """The units of the plan."""
    for unit in PLAN.replace("\n", ";").split(";"):
        if not unit.strip():
            continue
        group, picks, count, seed = unit.rsplit(maxsplit=3)
        group = group.strip()
        for task in tasks:
            images = task.image_model is not None
            if group in groups and int(seed) < seeds and (images or group != "augmented"):
                yield group, Refresh(task, int(seed), picks, int(count))


def read(out: Path) -> list[dict[str, Any]]:
    """All records so far."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


@click.group()
def main() -> None:
    """Study of what a refresh does to the proxy."""


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON lines file, outside the repository.")
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for features, some gigabytes.")
@click.option("--table", "tables", multiple=True, help="NAME=FOLDER with pool.parquet and test.parquet.")
@click.option("--image-model", type=click.Path(path_type=Path, exists=True), help="Folder of the encoder for images.")
@click.option("--seeds", default=3)
@click.option("--proxies", default=2, help="Proxies a view, whose scores are averaged.")
@click.option("--only", "names", multiple=True, help="Only these data sets.")
@click.option("--group", "groups", multiple=True, help="Only these groups of variants.")
def study(
    out: Path,
    work: Path,
    tables: tuple[str, ...],
    image_model: Path | None,
    seeds: int,
    proxies: int,
    names: tuple[str, ...],
    groups: tuple[str, ...],
) -> None:
    """Measure; resumable."""
    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    tasks = [task for task in open_tasks(list(tables), image_model, work) if not names or task.name in names]
    for group, refresh in units(tasks, seeds, list(groups) or list(GROUPS)):
        unit = f"{group}-{refresh.key}"
        if unit in {record["unit"] for record in read(out)}:
            continue
        started = time.perf_counter()
        records = GROUPS[group](measure.Bench(refresh, proxies))
        about = {"unit": unit, "data": refresh.task.name, "seed": refresh.seed, "picks": refresh.picks}
        lines = [json.dumps({**about, "refresh": refresh.count, **record}) for record in records]
        with out.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))
        click.echo(f"{unit}: {time.perf_counter() - started:.0f} s")


@main.command()
@click.option("--out", type=click.Path(path_type=Path, exists=True), required=True, help="What `study` wrote.")
@click.option("--docs", type=click.Path(path_type=Path), required=True, help="Folder with alignment.md.")
def report(out: Path, docs: Path) -> None:
    """Draw the figures into DOCS/figures and print the tables."""
    write_report(read(out), docs / "figures")


if __name__ == "__main__":
    main()
