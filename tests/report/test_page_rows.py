"""What the page tells of rows: true to the runs, within its bytes, and nothing of rows that must not travel."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from asvp.report.comparison import page_of
from asvp.report.page import rows as module
from asvp.report.page.beside import Beside
from asvp.report.page.rows import rows_section
from asvp.report.records import RunRecord
from asvp.report.shown_rows import MAP_SCHEMA, ROW_MAP, SHOWN_ROWS, SHOWN_SCHEMA, write_table

JPEG = b"\xff\xd8\xff small"


def made(
    folder: Path,
    arm: str = "svp",
    seed: int = 0,
    rounds: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3)),
    *,
    config: dict[str, Any] | None = None,
    words: str | None = "some words",
    thumbnail: bytes | None = None,
    points: np.ndarray | None = None,
    keep: bool = True,
) -> RunRecord:
    """A run whose rows are bought in the order given, all of them shown; `points` are (version, row, x, y)."""
    path = folder / f"{arm.encode().hex()}-{seed}"
    path.mkdir()
    bought = [(row, number) for number, rows in enumerate(rounds) for row in rows]
    rows = [row for row, _ in bought]
    labels = [f"class {row % 3}" for row in rows]
    columns = {"row": rows, "id": [f"id-{row}" for row in rows], "label": labels, "round": [n for _, n in bought]}
    pq.write_table(pa.table(columns), path / "labelled.parquet")
    if keep:
        shown = [
            {
                "round": number,
                "row": row,
                "version": 0,
                "predicted": "class 0" if number else None,
                "probability": 0.75 if number else None,
                "second": "class 1" if number else None,
                "second_probability": 0.125 if number else None,
                "words": words and f"{words} {row}",
                "thumbnail": thumbnail,
            }
            for row, number in bought
        ]
        write_table(path / SHOWN_ROWS, pa.Table.from_pylist(shown, schema=SHOWN_SCHEMA))
    if points is not None:
        table = {name: points[:, place] for place, name in enumerate(MAP_SCHEMA.names)}
        write_table(path / ROW_MAP, pa.table(table).cast(MAP_SCHEMA))
    labelled = np.cumsum([len(one) for one in rounds]).tolist()
    told = [
        {"round": n, "labelled": labelled[n], "strategy": "margin", "feature_version": n} for n in range(len(rounds))
    ]
    return RunRecord(arm, seed, config or {"data": {"pool": "here"}}, tuple(told), {}, path)


def test_a_gallery_tells_label_words_and_what_the_proxy_thought(tmp_path: Path) -> None:
    section = rows_section([made(tmp_path)])
    assert section is not None
    (gallery,) = section["galleries"]
    assert (gallery["arm"], gallery["seed"]) == ("svp", 0)
    first, second = gallery["rounds"]
    assert first["rows"][0] == {"row": 0, "id": "id-0", "label": "class 0", "words": "some words 0"}
    assert second == {
        "round": 1,
        "labelled": 4,
        "bought": 2,
        "strategy": "margin",
        "rows": [
            {
                "row": row,
                "id": f"id-{row}",
                "label": f"class {row % 3}",
                "words": f"some words {row}",
                "thought": [["class 0", 0.75], ["class 1", 0.125]],
            }
            for row in (2, 3)
        ],
    }
    assert section["notes"] == []
    json.dumps(section, allow_nan=False)


def test_thumbnails_are_data_and_jpeg_or_not_there(tmp_path: Path) -> None:
    section = rows_section(
        [
            made(tmp_path, "good", words=None, thumbnail=JPEG),
            made(tmp_path, "bad", words=None, thumbnail=b"<svg onload='alert(1)'>"),
        ]
    )
    assert section is not None
    good, bad = ([row.get("image") for one in g["rounds"] for row in one["rows"]] for g in section["galleries"])
    assert good == ["data:image/jpeg;base64," + base64.b64encode(JPEG).decode()] * 4
    assert bad == [None] * 4


def test_rows_of_a_round_that_is_not_finished_are_not_shown(tmp_path: Path) -> None:
    record = made(tmp_path)
    section = rows_section([RunRecord("svp", 0, record.config, record.rounds[:1], None, record.path)])
    assert section is not None
    assert [one["round"] for one in section["galleries"][0]["rounds"]] == [0]


def test_what_must_not_travel_does_not(tmp_path: Path) -> None:
    closed = {"data": {"pool": "here"}, "report": {"rows": False}}
    points = np.array([[0, row, row, 0] for row in range(9)], float)
    section = rows_section(
        [
            made(tmp_path, "secret", config=closed, words="secret words", points=points),
            made(tmp_path, "other", config=closed, rounds=((0, 1), (3, 4)), words="secret words"),
        ]
    )
    assert section is not None
    assert section["galleries"] == section["maps"] == []
    assert section["common"] is None
    # Numbers about rows tell none of them.
    assert section["overlap"]["shares"] == [[None, 0.5], [0.5, None]]
    assert section["notes"] == ["The rows of secret, other are left out: report.rows is false."]
    assert "secret words" not in json.dumps(section)
    assert "id-" not in json.dumps(section)


def test_the_whole_page_holds_no_contents_of_rows_that_must_not_travel(tmp_path: Path) -> None:
    closed = {"data": {"pool": "/there/pool.parquet"}, "report": {"rows": False}}
    runs = [made(tmp_path, arm, words="secret words", config=closed) for arm in ("svp", "asvp")]
    page = page_of(runs, Beside()).decode()
    assert "secret words" not in page
    assert "id-" not in page.split('id="data">')[1].split("</script>")[0]
    # Where the data lies, and what its classes are called, is told.
    assert "/there/pool.parquet" in page
    assert "shown" in page_of([made(tmp_path, "open", words="shown")], Beside()).decode().split('id="data">')[1]


def test_runs_without_the_files_are_named_and_damaged_ones_too(tmp_path: Path) -> None:
    old, damaged = made(tmp_path, "old", keep=False), made(tmp_path, "damaged", points=np.zeros((1, 4)))
    for name in (SHOWN_ROWS, ROW_MAP):
        (damaged.path / name).write_bytes(b"not parquet")
    nowhere = RunRecord("nowhere", 0, {}, ({"round": 0, "labelled": 2},), {}, tmp_path / "nothing")
    section = rows_section([old, damaged, nowhere])
    assert section is not None
    assert section["galleries"] == section["maps"] == []
    assert section["notes"] == [
        "No rows to look at are at hand of old, damaged, nowhere: runs of earlier versions kept none.",
        "shown_rows.parquet of damaged cannot be read.",
        "map.parquet of damaged cannot be read.",
    ]
    assert rows_section([]) is None


def test_one_run_of_each_arm_is_shown_of_the_seed_that_most_have(tmp_path: Path) -> None:
    pairs = [("a", 1), ("a", 2), ("b", 2), ("c", 7), ("c", 5)]
    section = rows_section([made(tmp_path, arm, seed) for arm, seed in pairs])
    assert section is not None
    assert [(one["arm"], one["seed"]) for one in section["galleries"]] == [("a", 2), ("b", 2), ("c", 5)]


def test_overlap_is_the_share_of_common_picks_after_the_first_round_a_mean_over_seeds(tmp_path: Path) -> None:
    first = (0, 1)
    section = rows_section(
        [
            made(tmp_path, "a", 0, (first, (2, 3, 4, 5))),
            made(tmp_path, "b", 0, (first, (4, 5, 6, 7))),
            made(tmp_path, "a", 1, (first, (2, 3, 4, 5))),
            # Of a run that went less far, as many of the other's picks are compared.
            made(tmp_path, "b", 1, (first, (3, 2))),
            made(tmp_path, "c", 0, (first,)),
            made(tmp_path, "d", 0, (first, (2, 3, 4, 5)), config={"data": {"pool": "elsewhere"}}),
        ]
    )
    assert section is not None
    assert section["overlap"] == {
        "arms": ["a", "b"],
        "shares": [[None, 0.75], [0.75, None]],
        "seeds": [[0, 2], [2, 0]],
        "picks": [2, 4],
    }


def test_rows_that_most_arms_picked_come_first(tmp_path: Path) -> None:
    section = rows_section(
        [
            made(tmp_path, "a", 0, ((0,), (2, 3, 4))),
            made(tmp_path, "b", 0, ((0,), (4, 3, 9))),
            made(tmp_path, "c", 0, ((0,), (7, 8, 4))),
        ]
    )
    assert section is not None
    common = section["common"]
    assert (common["arms"], common["runs"]) == (3, 3)
    assert [(one["row"], one["arms"], one["words"]) for one in common["rows"]] == [
        (4, 3, "some words 4"),
        (3, 2, "some words 3"),
    ]


def test_first_words_are_of_any_run_that_kept_them(tmp_path: Path) -> None:
    rounds = ((0,), (2, 3, 4))
    runs = [made(tmp_path, arm, seed, rounds, words=f"words of {arm}{seed}") for arm in "ab" for seed in (0, 1)]
    # Each run kept those of another row; none those of row 4.
    for run, kept in zip(runs, (2, 2, 2, 3), strict=True):
        table = pq.read_table(run.path / SHOWN_ROWS)
        write_table(run.path / SHOWN_ROWS, table.filter(pc.equal(table["row"], kept)))
    section = rows_section(runs)
    assert section is not None
    assert {one["row"]: one.get("words") for one in section["common"]["rows"]} == {
        2: "words of a0 2",
        3: "words of b1 3",
        4: None,
    }


def test_the_second_map_is_turned_to_the_first_and_never_stretched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(40, 2)) * (3, 1)
    angle = 2.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([1, -1])
    after = before @ turn * 7 + 5
    points = [[version, row, *place] for version, side in enumerate((before, after)) for row, place in enumerate(side)]
    section = rows_section([made(tmp_path, points=np.array(points))])
    assert section is not None
    (one,) = section["maps"]
    first, second = one["sides"]
    assert (first["version"], second["version"]) == (0, 1)
    assert np.abs(np.array(first["others"]) - second["others"]).max() <= 1
    assert [pick[2:] for pick in first["picks"]] == [[0, 0, 0], [0, 1, 1], [1, 2, 2], [1, 0, 3]]
    # One scale for both directions, and for both sides.
    flat = np.abs([*first["others"], *(xy for pick in first["picks"] for xy in pick[:2])])
    assert flat.max() == one["grid"]
    assert len(first["others"]) == 2 * 36


def test_labels_that_were_not_bought_are_nowhere(tmp_path: Path) -> None:
    points = np.array([[0, row, row, 0] for row in range(9)], float)
    section = rows_section([made(tmp_path, rounds=((0, 3), (6,)), points=points)])
    assert section is not None
    assert section["maps"][0]["classes"] == ["class 0"]


@pytest.mark.parametrize("arms", [5, 40])
def test_galleries_and_maps_stay_within_their_bytes(tmp_path: Path, arms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GALLERY_BYTES", 100_000)
    monkeypatch.setattr(module, "MAP_BYTES", 60_000)
    rounds = tuple(tuple(range(12 * n, 12 * n + 12)) for n in range(10))
    points = np.array([[0, row, row % 17, row % 13] for row in range(300)], float)
    section = rows_section([made(tmp_path, f"arm {n}", 0, rounds, points=points) for n in range(arms)])
    assert section is not None
    assert 40_000 < len(json.dumps(section["galleries"])) <= 110_000
    assert 15_000 < len(json.dumps(section["maps"])) <= 70_000
    said = [any(word in note for note in section["notes"]) for word in ("picks", "maps")]
    assert said == ([False, False] if arms == 5 else [True, True])
