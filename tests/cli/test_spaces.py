"""`asvp spaces` and `asvp sweep --dry-run`: what is shown, and that nothing is started or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import tiny_settings

from asvp.cli.app import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, which is the current one."""
    settings = {**tiny_settings(tmp_path), "budget": "20+10x3"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, space: Any) -> str:
    Path(name).write_text(yaml.safe_dump(space, sort_keys=False))
    return name


def asvp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    monkeypatch.setattr("sys.argv", ["asvp", *words])
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    return int(code or 0), told.out, told.err


def test_spaces_are_listed_with_their_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = asvp(monkeypatch, capsys, "spaces")
    assert code == 0
    assert "refresh_intervals  How often to refresh? Never, and every 1, 2, 4, ... rounds." in out
    known = json.loads(asvp(monkeypatch, capsys, "spaces", "--json")[1])
    assert known["budgets"].startswith("Many rounds or few?")


def test_arms_of_a_space_are_shown(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = {
        "question": "How often?",
        "arms": {"svp": {"mode": "svp"}, "asvp": {"mode": "asvp", "refresh": {"policy": "every"}}},
        "axes": {"refresh.every": {"grid": [1, 9]}},
        "seeds": [3, 4],
    }
    code, out, _ = asvp(monkeypatch, capsys, "spaces", write("mine.yaml", space), "config.yaml")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["How", "svp", "asvp-every_1", "Arm", "2"]
    assert "mode=asvp refresh.policy=every refresh.every=1" in out
    assert "Arm svp stands for svp-every_1, svp-every_9, asvp-every_9: they come to the same" in out
    assert "2 arms x 2 seeds (3, 4): 4 trials" in out
    told = json.loads(asvp(monkeypatch, capsys, "spaces", "mine.yaml", "config.yaml", "--json")[1])
    assert (told["question"], told["seeds"], list(told["arms"])) == ("How often?", [3, 4], ["svp", "asvp-every_1"])
    assert told["arms"]["asvp-every_1"]["changes"]["refresh"] == {"policy": "every", "every": 1}


@pytest.mark.parametrize("command", [["spaces"], ["sweep", "--dry-run"], ["sweep"]])
@pytest.mark.parametrize(
    ("arm", "told"),
    [
        ({"refresh": {"evry": 2}}, "refresh.evry: is an unknown key (in arm bad) (got 2). Did you mean refresh.every?"),
        ({"selection": {"strategy": "marign"}}, "Did you mean margin?"),
        ({"mode": "asv"}, "(in arm bad)"),
        ({"proxy": {"lr": {"gird": [1]}}}, "Did you mean grid?"),
    ],
)
def test_a_mistyped_key_or_value_ends_with_2_before_work_naming_arm_and_key(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    arm: dict[str, Any],
    told: str,
) -> None:
    write("mine.yaml", {"arms": {"good": {}, "bad": arm}})
    before = sorted(place.iterdir())
    code, out, err = asvp(monkeypatch, capsys, command[0], "mine.yaml", "config.yaml", *command[1:])
    assert code == 2
    assert out == ""
    assert told in err
    assert "(in arm bad)" in err
    assert sorted(place.iterdir()) == before


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    words = ["sweep", "svp_vs_asvp", "config.yaml", "--dry-run", "--out", "mine", "--seeds", "0,1"]
    code, out, _ = asvp(monkeypatch, capsys, *words)
    assert code == 0
    assert "trials         12 trials: 6 arms x 2 seeds" in out
    assert "asvp_every_2  mode=asvp refresh.policy=every refresh.every=2" in out
    assert "training (ft)" in out
    assert "Warning: extraction.cache is null" in out
    assert out.endswith("Nothing was started.\n")
    told = json.loads(asvp(monkeypatch, capsys, *words, "--json")[1])
    assert (told["space"], told["trials"], told["seeds"]) == ("svp_vs_asvp", 12, [0, 1])
    # Final models at 20, 40 and 50 labels; all arms share that at 20. Random has two of its own, and so has svp; asvp
    # by indicator none, or a refresh and two. Every 2 rounds is a refresh and two, every 3 only a last one, since its
    # refresh is svp's model at 40. Standard has those at 30, 40 and 50.
    assert told["trainings"]["distinct"] == {"low": 24, "high": 30}
    assert told["unknown"] == ["training (ft)", "picks (12 trials)"]
    assert told["measured"] is True
    assert told["estimate"]["cpu_hours"]["low"] > 0
    assert told["room"]["store"] > 0
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("settings", "told"),
    [(["-s", "budget=200+200"], "budget: the pool has only 300 rows"), (["--out", "."], "is not empty")],
)
def test_a_dry_run_is_refused_where_the_sweep_would_be(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: list[str], told: str
) -> None:
    code, out, err = asvp(monkeypatch, capsys, "sweep", "strategies", "config.yaml", "--dry-run", *settings)
    assert (code, out) == (2, "")
    assert told in err


@pytest.mark.parametrize("going_on", [[], ["--resume"]])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_run_is_told_from_a_sweep(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    going_on: list[str],
    more: list[str],
) -> None:
    assert asvp(monkeypatch, capsys, "run", "config.yaml", "--in-process", "--until-round", "0", "--out", "r")[0] == 0
    code, out, err = asvp(monkeypatch, capsys, "sweep", "strategies", "config.yaml", "--out", "r", *going_on, *more)
    assert (code, out) == (2, "")
    assert "holds a run, not a sweep" in err
    assert "Name another folder; `asvp run --resume DIR` goes on with the run" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--search", "optna", "--samples", "3"], "--search: is no search (got 'optna'). Did you mean optuna?"),
        (["--search", "random"], "--samples: a search by random needs to know how many arms"),
        (["--search", "optuna"], "--samples: a search by optuna needs to know how many arms"),
        (["--search", "random", "--samples", "0"], "--samples: is no whole number from 1 (got 0)"),
        (["--samples", "some"], "Invalid value for '--samples'"),
        (["--samples", "3"], "--samples: is of no use: no axis of this space is drawn at random"),
        (["--search", "grid", "--samples", "3"], "Leave it out, or draw so many arms: add --search random"),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_search_that_is_none_ends_with_2_before_work(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
    more: list[str],
) -> None:
    before = sorted(place.iterdir())
    code, out, err = asvp(monkeypatch, capsys, "sweep", "strategies", "config.yaml", *words, *more)
    assert (code, out) == (2, "")
    assert told in err
    assert sorted(place.iterdir()) == before


def test_a_dry_run_tells_arms_drawn_at_random_and_that_they_stand_for_suggested_ones(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write("mine.yaml", {"arms": {"svp": {}}, "axes": {"proxy.lr": {"loguniform": [0.01, 0.1]}}})
    words = ["sweep", "mine.yaml", "config.yaml", "--dry-run", "--samples", "4"]
    tables = {}
    for search in ("grid", "random", "optuna"):
        code, out, _ = asvp(monkeypatch, capsys, *words, "--search", search)
        assert code == 0
        assert "4 trials: 4 arms x 1 seed" in out
        assert ("Arms drawn at random stand for them here" in " ".join(out.split())) == (search == "optuna")
        tables[search] = {line.split()[0] for line in out.splitlines() if line.startswith("svp-lr_")}
    assert all(len(arms) == 4 for arms in tables.values())
    # A grid of one axis is its samples, and so are draws of one arm.
    assert tables["grid"] == tables["random"]
