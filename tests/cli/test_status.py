"""`asvp status` in a terminal, without Ray and without PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from traces import checked

CODE = """
import sys
from asvp.cli.app import main
sys.argv = ["asvp", "status", *sys.argv[1:]]
try:
    main()
finally:
    heavy = {"ray", "torch", "transformers", "pandas", "pyarrow", "numpy", "matplotlib"} & set(sys.modules)
    print(*sorted(heavy), file=sys.stderr)
"""


def status(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)


def test_it_shows_a_sweep_and_imports_none_of_the_heavy_libraries(tmp_path: Path) -> None:
    (tmp_path / "runs" / "svp-seed0").mkdir(parents=True)
    one = {"labelled": 20, "proxy_accuracy": 0.5, "cost": {"total": 0.8}, "device_seconds": {"cpu": 36.0, "gpu": 0.0}}
    (tmp_path / "runs" / "svp-seed0" / "rounds.jsonl").write_text(json.dumps(one) + "\n")
    trials = [{"trial": f"svp-seed{seed}", "arm": "svp", "seed": seed, "budget": [20, 10]} for seed in (0, 1)]
    (tmp_path / "trials.json").write_text(json.dumps(trials))
    shown = status(str(tmp_path))
    assert (shown.returncode, shown.stderr.strip()) == (0, "")
    for said in (
        "0 of 2 trials finished, 1 of 4 rounds",
        "1 of 2",
        "proxy 0.500",
        "0.01 CPU",
        "$0.80",
        "begun",
        "waiting",
    ):
        assert said in shown.stdout
    told = json.loads(status(str(tmp_path), "--json").stdout)
    assert (told["done"], told["total"], told["states"]) == (0, 2, {"begun": 1, "waiting": 1})
    assert told["trials"][0]["labelled"] == 20


def test_a_folder_of_others_ends_with_2_and_one_line(tmp_path: Path) -> None:
    shown = status(str(tmp_path))
    assert shown.returncode == 2
    assert "is neither a run nor a sweep" in shown.stderr


def test_a_damaged_line_of_rounds_is_told_by_its_number(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "rounds.jsonl").write_text('{"labelled": 20}\n' * 4 + '{"labelled" 30}\n{"labelled": 40}\n')
    trial = json.loads(status(str(folder), "--json").stdout)["trials"][0]
    assert (trial["state"], trial["reason"]) == ("damaged", "rounds.jsonl: line 5 is no round")


def a_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.yaml").touch()
    span = {"node": "10.0.0.1", "workers": ["7"], "began": 1e9, "ended": 1e9 + 2}
    job = {"attempt": "a", "job": 0, "what": "selection", "stage": "select", "round": 0, "rows": 10, "spans": [span]}
    (folder / "jobs.jsonl").write_text(json.dumps(job) + "\n")
    return folder


def test_a_timeline_is_written_beside_the_results_where_it_is_told_or_to_standard_output(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    plain = status(str(run))
    told = status(str(run), "--timeline")
    assert (told.returncode, told.stderr.strip()) == (0, "")
    # What is told without it comes first, as it is; how old the last sign is may be another second.
    assert told.stdout.splitlines()[: len(plain.stdout.splitlines()) - 1] == plain.stdout.splitlines()[:-1]
    assert f"Timeline of 1 jobs: {run / 'timeline.json'}" in told.stdout.replace("\n", "")
    whole = (run / "timeline.json").read_text()
    assert sorted(one["name"] for one in checked(whole)) == ["round 0", "selection", "selection"]
    named = status(str(run), "--timeline", str(tmp_path / "other.json"), "--json")
    assert json.loads(named.stdout)["total"] == 1
    assert (tmp_path / "other.json").read_text() == whole
    assert json.loads(status(str(run), "--timeline", "-").stdout) == json.loads(whole)


def test_a_run_without_jobs_ends_with_2_and_one_line(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / "jobs.jsonl").unlink()
    told = status(str(run), "--timeline")
    assert (told.returncode, told.stdout) == (2, "")
    assert "tells of no jobs" in told.stderr
    assert not (run / "timeline.json").exists()
