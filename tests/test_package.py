"""One package from three folders: what is in it, what it offers, and that it lives beside others."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from tiny_runs import tiny_settings

import asvp
from asvp.config import load_config
from asvp.config.text import merge
from asvp.driver.loop import run

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"pipeline": "asvp", "actors": "asvp.actors", "tune_spaces": "asvp.tune_spaces"}

PUBLIC = {
    "Classifier": "(encoder: 'Encoder', head: 'Head', classes: 'Sequence[str]') -> 'None'",
    "RunResult": "(rounds: 'list[dict[str, Any]]', summary: 'dict[str, Any]', directory: 'Path | str | None') -> None",
    "SweepResult": "(directory: 'Path | str', failed: 'dict[str, str]', unfinished: 'tuple[str, ...]' = (), "
    "comparison: 'Comparison | None' = None) -> None",
    "compare": (
        "(folders: 'Sequence[str | Path]', out: 'str | Path | None' = None, *, "
        "targets: 'Sequence[float] | None' = None) -> 'Comparison'"
    ),
    "load_config": "(path_or_name: 'str | Path | None' = None, overrides: 'Iterable[str]' = ()) -> 'Config'",
    "logme": "(features: 'NDArray[Any]', labels: 'NDArray[Any]') -> 'float'",
    "ped": (
        "(features: 'NDArray[Any]', labels: 'NDArray[Any]', mean: 'NDArray[Any]', std: 'NDArray[Any]', *, "
        "radius_factor: 'float' = 0.6, time_step: 'float' = 0.1, stiffness: 'float' = 1.0, max_steps: 'int' = 6, "
        "exit_ratio: 'float' = 0.5) -> 'NDArray[Any]'"
    ),
    "run": (
        "(config: 'Config', *, out: 'Path | str | RunDirectory | None' = None, resume: 'bool' = False, "
        "until_round: 'int | None' = None, in_process: 'bool' = False, address: 'str | None' = None, "
        "prepared: 'Prepared | None' = None, backend: 'Backend | None' = None, "
        "features: 'VersionZero | None' = None, reporter: 'Reporter | None' = None, "
        "on_round: 'Callable[[Mapping[str, Any]], object] | None' = None) -> 'RunResult'"
    ),
    "select": (
        "(strategy: 'str | StrategyInfo', *, budget: 'int', seed: 'int', features: 'Any' = None, "
        "probabilities: 'Any' = None, labelled: 'Any' = (), labels: 'Any' = None, members: 'Iterable[Any]' = (), "
        "head: 'HeadLike | None' = None, scorer: 'ScorerLike | None' = None, raw_features: 'Any' = None, "
        "size: 'int | None' = None, among: 'Any' = None, wrap: 'Iterable[Mapping[str, Any] | str]' = (), "
        "device: 'str' = 'cpu', return_scores: 'bool' = False, **options: 'Any') -> 'Array | tuple[Array, Array]'"
    ),
    "strategies": "() -> 'dict[str, StrategyInfo]'",
    "sweep": (
        "(space: 'str | Space', config: 'Config | None' = None, *, out: 'Path | str | None' = None, "
        "seeds: 'Sequence[int] | None' = None, resume: 'bool' = False, retry_failed: 'bool' = False, "
        "max_concurrent: 'int | None' = None, search: 'str | None' = None, samples: 'int | None' = None, "
        "scheduler: 'Name | Scheduler | None' = None, address: 'str | None' = None, "
        "reporter: 'Reporter | None' = None, log: 'Sequence[str]' = ('tensorboard',)) -> 'SweepResult'"
    ),
}
"""What `asvp` offers, and how each is called; a change here is a change of the contract."""


def packages_on_disk() -> list[str]:
    found = []
    for folder, package in FOLDERS.items():
        for file in (ROOT / folder).rglob("__init__.py"):
            below = file.parent.relative_to(ROOT / folder).parts
            found.append(".".join([package, *below]))
    return sorted(found)


def test_pyproject_lists_every_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["packages"] == packages_on_disk()
    assert settings["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


def test_every_folder_with_code_is_a_package() -> None:
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file


def test_the_public_names_are_these_and_are_called_so() -> None:
    assert set(asvp.__all__) == {*PUBLIC, "Config"}
    for name, signature in PUBLIC.items():
        assert str(inspect.signature(getattr(asvp, name))) == signature, name
    assert set(asvp.__all__) <= set(dir(asvp))
    with pytest.raises(AttributeError, match="'asvp' has no attribute 'nonsense'"):
        _ = asvp.nonsense


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of somebody's own, with modules that must not be taken for ours, and a clone called asvp."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in ("pipeline.py", "actors.py", "asvp_config.py", "configs/__init__.py", "tune_spaces/__init__.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"raise RuntimeError('the wrong {name} was imported')\n")
    # A clone has no __init__.py at its root; an import hook behind the path would lose against it.
    (folder / "asvp" / "pipeline").mkdir(parents=True)
    (folder / "asvp" / "pipeline" / "__init__.py").write_text("")
    one_worker = {"workers": {"count": 1}, "training": {"method": "lp"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(merge(tiny_settings(folder / "tiny"), one_worker)))
    return folder


def command(folder: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def asvp_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = command(folder, "-m", "asvp", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def test_in_a_folder_with_names_like_ours_it_checks_and_sweeps_on_ray(hostile: Path) -> None:
    """Ray puts the working directory first on its workers' path: those of Tune's trials, and the trials' own."""
    (hostile / "space.yaml").write_text(yaml.safe_dump({"arms": {"svp": {"mode": "svp"}}, "seeds": [0]}))
    asvp_command(hostile, "sweep", "space.yaml", "config.yaml", "--out", "sweep", "--address", "local")
    run(load_config(hostile / "config.yaml"), out=hostile / "run", in_process=True)
    alone = (hostile / "run" / "labelled.parquet").read_bytes()
    assert (hostile / "sweep" / "runs" / "svp-seed0" / "labelled.parquet").read_bytes() == alone


def test_in_a_folder_with_names_of_packages_the_command_runs_on_ray(hostile: Path, tmp_path: Path) -> None:
    """The command finds no package in the current folder; neither do Ray's workers, dashboard and Tune."""
    folder = tmp_path / "more hostile"
    for name in ("asvp", "ray", "torch", "numpy"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('the wrong {name} was imported')\n")
    for name in ("random", "queue", "select"):
        (folder / f"{name}.py").write_text(f"raise RuntimeError('the wrong {name} was imported')\n")
    space = {"arms": {"svp": {"mode": "svp"}}, "seeds": [0]}
    (folder / "space.yaml").write_text(yaml.safe_dump(space))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(dir="/tmp") as short:
        # A cluster of its own, with a dashboard, whatever runs on this machine.
        patch.setenv("RAY_TMPDIR", short)
        patch.delenv("RAY_ADDRESS", raising=False)
        done = command(folder, "-P", "-m", "asvp", "sweep", "space.yaml", f"{hostile}/config.yaml", "--out", "sweep")
    assert done.returncode == 0, done.stderr
    assert "wrong" not in done.stdout + done.stderr
    assert "dashboard" not in done.stderr
    assert (folder / "sweep" / "runs" / "svp-seed0" / "labelled.parquet").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made of a source distribution, as a package index would."""
    folder = tmp_path_factory.mktemp("dist")
    tree = folder / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("docs/", "tests/")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes((ROOT / name).read_bytes())
    build = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=tree, check=True, capture_output=True)
    [source] = folder.glob("*.tar.gz")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_holds_one_package_with_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"asvp", f"asvp-{asvp.__version__}.dist-info"}
    for folder, package in FOLDERS.items():
        for file in (ROOT / folder).rglob("*"):
            if file.suffix in (".py", ".parquet", ".yaml") or file.name == "py.typed":
                assert f"{package.replace('.', '/')}/{file.relative_to(ROOT / folder)}" in names


def test_the_wheel_in_a_fresh_environment_checks_the_demo(wheel: Path, hostile: Path, tmp_path: Path) -> None:
    """What asvp needs is seen through a path entry; `asvp` itself comes from the wheel alone."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = str(tmp_path / "env" / "bin" / "python")
    [site] = (tmp_path / "env" / "lib").glob("python*/site-packages")
    needed = Path(yaml.__file__).parents[1]
    (site / "needed.pth").write_text(f"{needed}\n")
    options = ["--no-deps", "--no-index", "--ignore-installed", "-q"]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, env=environment)
    shown = subprocess.run(
        [tmp_path / "env" / "bin" / "asvp", "check", "demo", "--json"],
        cwd=hostile,
        env={**environment, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert '"pool_rows": 1500' in shown.stdout
    where = subprocess.run(
        [python, "-c", "import asvp; print(asvp.__file__)"],
        cwd=hostile,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
