"""WordNet's noun glosses as a data set for alignment.py: tables pool.parquet and test.parquet with id, text, label.

    apt-get download wordnet-base
    python benchmarks/alignment_data.py --wordnet wordnet-base_*.deb --out ~/data/glosses

A row is the definition of a noun's meaning without its quoted examples; its label is the lexicographer's file (act,
animal, artifact, ...: 26 classes). WordNet 3.0's licence lets anyone use and copy it; the tables are not kept here.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import click
import numpy as np
import pandas as pd

NAMES = (
    "Tops act animal artifact attribute body cognition communication event feeling food group location motive object "
    "person phenomenon plant possession process quantity relation shape state substance time"
)
"""Lexicographer files 3 to 28 (manual page lexnames)."""
FIRST_FILE = 3
NOUNS = "./usr/share/wordnet/data.noun"
FEWEST = 60
"""Rows that a rare class keeps, as far as it has them."""


def read_nouns(path: Path) -> str:
    """The text of data.noun, from the Debian package or from the file itself."""
    if path.suffix != ".deb":
        return path.read_text(encoding="utf-8")
    files = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(files)) as package:
        member = package.extractfile(NOUNS)
        if member is None:
            raise click.ClickException(f"{path} holds no {NOUNS}")
        return member.read().decode("utf-8")


def glosses(nouns: str) -> pd.DataFrame:
    """Every definition once, with its place in the file as id."""
    rows, names = [], NAMES.split()
    for line in nouns.splitlines():
        entry, bar, gloss = line.partition("|")
        # the licence stands in front, on lines that begin with blanks
        if not bar or line.startswith(" "):
            continue
        offset, file = entry.split()[:2]
        definition = gloss.split('"')[0].strip(" ;:-")
        rows.append((offset, definition, names[int(file) - FIRST_FILE]))
    table = pd.DataFrame(rows, columns=["id", "text", "label"])
    return table[table["text"] != ""].drop_duplicates("text")


def share_out(sizes: pd.Series, rows: int) -> dict[str, int]:
    """How many rows of each class: in proportion, but `FEWEST` of the rare ones."""
    wanted = np.minimum(np.maximum((sizes * rows / sizes.sum()).round().astype(int), FEWEST), sizes)
    wanted[wanted.idxmax()] -= wanted.sum() - rows
    return {str(name): int(count) for name, count in wanted.items()}


def split(table: pd.DataFrame, pool: int, test: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Stratified pool and test rows, each in a random order."""
    table = table.sample(frac=1, random_state=seed)
    pool_share = pool / (pool + test)
    parts: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    for name, count in share_out(table["label"].value_counts(), pool + test).items():
        rows = table[table["label"] == name].head(count)
        cut = round(count * pool_share)
        parts[0].append(rows.iloc[:cut])
        parts[1].append(rows.iloc[cut:])
    first, second = (pd.concat(part).sample(frac=1, random_state=seed) for part in parts)
    return first, second


@click.command()
@click.option("--wordnet", type=click.Path(path_type=Path, exists=True), required=True, help=".deb file or data.noun.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tables.")
@click.option("--pool", default=8000)
@click.option("--test", default=2000)
@click.option("--seed", default=0)
def main(wordnet: Path, out: Path, pool: int, test: int, seed: int) -> None:
    """Write pool.parquet and test.parquet."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(("pool", "test"), split(glosses(read_nouns(wordnet)), pool, test, seed), strict=True):
        rows.to_parquet(out / f"{name}.parquet", index=False)
        click.echo(f"{name}: {len(rows)} rows, {rows['label'].nunique()} classes")


if __name__ == "__main__":
    main()
