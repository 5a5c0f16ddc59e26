"""The example package, installed as its users would: its own tests, its names in the command, and a run with it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from tiny_encoders import tiny_texts
from tiny_runs import picks, tiny_settings

pytestmark = pytest.mark.long

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "asvp-extension"
IMPORT_PATH = "asvp_extension.density:INFORMATION_DENSITY"

Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's files, since a build leaves folders beside them."""
    return Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / EXAMPLE.name))


@pytest.fixture(scope="module")
def python(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Run Python in an empty folder with the example installed."""
    site, here = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("here")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    built_here = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site), str(copy)]
    subprocess.run([*pip, *built_here], check=True)
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=here,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the rows of a table, with a tiny encoder."""
    folder = tmp_path_factory.mktemp("tiny")
    settings = tiny_settings(folder)
    with closing(sqlite3.connect(folder / "rows.sqlite")) as connection:
        for table, rows, seed in (("pool", 120, 1), ("test", 30, 2)):
            connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, text TEXT, label INTEGER)")
            connection.executemany(
                f"INSERT INTO {table} (text, label) VALUES (?, ?)", zip(*tiny_texts(rows, seed=seed), strict=True)
            )
        connection.commit()
    settings["data"] = {name: f"sqlite:{folder}/rows.sqlite?{name}" for name in ("pool", "test")}
    settings["training"] = {"method": "lp"}
    settings["selection"] = {"strategy": "information_density", "options": {"beta": 2.0}}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def test_its_own_tests_pass_which_are_the_contracts_of_asvp(python: Python, copy: Path) -> None:
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(copy), str(copy / "tests"))
    assert " passed" in done.stdout


def test_the_command_lists_what_it_adds(python: Python) -> None:
    listed = {one["name"]: one for one in json.loads(python("-m", "asvp", "strategies", "--json").stdout)}
    assert listed["information_density"]["package"] == "asvp-extension"
    assert listed["information_density"]["options"]["beta"]["default"] == 1.0
    assert listed["margin"]["package"] == "asvp"
    known = json.loads(python("-m", "asvp", "spaces", "--json").stdout)
    assert known["density_vs_margin"].startswith("Does density help margin?")


# In one process, since imports take most of the time: a run by import path, and the plan of a sweep.
RUN_AND_PLAN = """
import sys
from pathlib import Path
from asvp.config import load_config
from asvp.driver.loop import run
from asvp.selection import check_strategy
from asvp.tune_spaces.catalogue import load_space
from asvp.tune_spaces.space import trials
from asvp.tune_spaces.sweep import check_sweep
path, strategy, out = sys.argv[1:]
run(load_config(path, [f"selection.strategy={strategy}"]), out=out, in_process=True)
base = load_config(path)
chosen = list(trials(load_space("density_vs_margin", base), base.model_dump()))
for name, prepared in check_sweep(chosen, Path("sweep"), resume=False).items():
    chosen = prepared.selection
    plan = check_strategy(chosen.strategy, chosen.options, chosen.wrap)
    print(name, chosen.name, plan.options.model_dump())
"""


def test_it_runs_by_name_and_by_import_path_and_its_space_is_planned(
    python: Python, config: Path, tmp_path: Path
) -> None:
    python("-m", "asvp", "run", str(config), "--in-process", "--out", str(tmp_path / "by-name"))
    bought = picks(tmp_path / "by-name")
    assert len(bought) == len(set(bought)) == 40
    rounds = (tmp_path / "by-name" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["strategy"] for line in rounds] == ["random", *["information_density"] * 2]

    planned = python("-c", RUN_AND_PLAN, str(config), IMPORT_PATH, str(tmp_path / "by-path")).stdout.splitlines()
    assert picks(tmp_path / "by-path") == bought
    assert planned[:4] == [
        "random-seed0 random {}",
        "margin-seed0 margin {}",
        "density-seed0 information_density {'beta': 1.0}",
        "density-strong-seed0 information_density {'beta': 4.0}",
    ]
    assert [line.partition(" ")[0] for line in planned[4:]] == [
        f"{arm}-seed1" for arm in ("random", "margin", "density", "density-strong")
    ]
