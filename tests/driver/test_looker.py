"""What a run keeps of rows to look at is small, true, the same after a kill, and left out where it must not travel."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_encoders import tiny_image_encoder, tiny_images
from tiny_runs import tiny_config

from asvp.config import Config, build_config
from asvp.data import excerpts
from asvp.driver import looker
from asvp.driver.loop import run
from asvp.report.shown_rows import MAP_SCHEMA, ROW_MAP, SHOWN_ROWS, SHOWN_SCHEMA, read_map, read_shown_rows


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Four rounds, with a refresh after the second."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(
        folder,
        mode="asvp",
        budget="20+15x3",
        refresh={"policy": "at", "at": [35]},
        training={"method": "ft"},
        extraction={"cache": str(folder / "cache")},
    )


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(config, out=out, in_process=True)
    return out


def test_some_picks_of_each_round_have_their_first_words(whole: Path, config: Config) -> None:
    shown = read_shown_rows(whole / SHOWN_ROWS)
    assert shown.schema == SHOWN_SCHEMA
    labelled = pq.read_table(whole / "labelled.parquet").to_pandas()
    texts = pq.read_table(config.data.pool)["text"].to_pylist()
    for number in range(4):
        rows = labelled["row"][labelled["round"] == number].tolist()
        of_round = [one for one in shown.to_pylist() if one["round"] == number]
        assert [one["row"] for one in of_round] == [
            rows[i] for i in np.round(np.linspace(0, len(rows) - 1, 12)).astype(int)
        ]
        assert all(one["words"] == texts[one["row"]] and one["thumbnail"] is None for one in of_round)
        assert {one["version"] for one in of_round} == {0 if number < 2 else 1}


def test_what_the_proxy_thought_is_told_from_the_second_round_on(whole: Path) -> None:
    shown = read_shown_rows(whole / SHOWN_ROWS).to_pylist()
    for one in shown:
        if one["round"] == 0:
            assert one["predicted"] is None
            assert one["second_probability"] is None
        else:
            assert {one["predicted"], one["second"]} <= {"class-0", "class-1", "class-2"}
            assert one["predicted"] != one["second"]
            assert 1 / 3 <= one["probability"] <= 1
            assert 0 <= one["second_probability"] <= one["probability"]


def test_picks_by_margin_come_with_the_smallest_margins_first(whole: Path) -> None:
    shown = read_shown_rows(whole / SHOWN_ROWS).to_pylist()
    for number in (1, 2, 3):
        margins = [one["probability"] - one["second_probability"] for one in shown if one["round"] == number]
        assert margins == sorted(margins)


def test_the_map_has_the_same_sample_before_and_after_the_refresh(whole: Path) -> None:
    points = read_map(whole / ROW_MAP)
    assert points.schema == MAP_SCHEMA
    frame = points.to_pandas()
    labelled = pq.read_table(whole / "labelled.parquet").to_pandas()
    assert set(frame["version"]) == {0, 1}
    for version in (0, 1):
        rows = frame["row"][frame["version"] == version]
        assert rows.is_unique
        # The pool is smaller than a sample.
        assert set(rows) == set(range(300)) >= set(labelled["row"])
    assert frame["x"][frame["version"] == 0].std(ddof=0) == pytest.approx(1, abs=0.01)


def test_picks_outside_the_sample_are_on_the_map_of_their_time(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looker, "_SAMPLE", 40)
    run(config, out=tmp_path / "run", in_process=True)
    frame = read_map(tmp_path / "run" / ROW_MAP).to_pandas()
    labelled = pq.read_table(tmp_path / "run" / "labelled.parquet").to_pandas()
    before, after = (set(frame["row"][frame["version"] == version]) for version in (0, 1))
    sample = set(looker._sample(300).tolist())
    assert before == sample | set(labelled["row"][labelled["round"] < 2])
    assert after == sample | set(labelled["row"])


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_a_resumed_run_keeps_the_same_files(config: Config, whole: Path, tmp_path: Path, rounds: int) -> None:
    run(config, out=tmp_path / "run", in_process=True, until_round=rounds - 1)
    # As if it had died after it had written these, and before the checkpoint.
    unfinished = {name: (whole / name).read_bytes() for name in (SHOWN_ROWS, ROW_MAP)}
    if rounds != 2:
        for name, content in unfinished.items():
            (tmp_path / "run" / name).write_bytes(content)
    run(config, out=tmp_path / "run", in_process=True, resume=True)
    for name in (SHOWN_ROWS, ROW_MAP):
        assert pq.read_table(tmp_path / "run" / name).equals(pq.read_table(whole / name))


def test_a_run_of_an_earlier_version_or_with_damaged_files_goes_on(config: Config, tmp_path: Path) -> None:
    run(config, out=tmp_path / "run", in_process=True, until_round=1)
    (tmp_path / "run" / SHOWN_ROWS).unlink()
    (tmp_path / "run" / ROW_MAP).write_text("not parquet")
    run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert set(read_shown_rows(tmp_path / "run" / SHOWN_ROWS)["round"].to_pylist()) == {2, 3}
    assert set(read_map(tmp_path / "run" / ROW_MAP)["version"].to_pylist()) == {1}


def test_rows_that_must_not_travel_are_not_kept_and_nothing_else_changes(
    config: Config, whole: Path, tmp_path: Path
) -> None:
    closed = config.model_copy(update={"report": config.report.model_copy(update={"rows": False})})
    run(config, out=tmp_path / "run", in_process=True, until_round=1)
    run(closed, out=tmp_path / "run", in_process=True, resume=True)
    assert not (tmp_path / "run" / SHOWN_ROWS).exists()
    assert not (tmp_path / "run" / ROW_MAP).exists()
    picks = pq.read_table(tmp_path / "run" / "labelled.parquet")
    assert picks.equals(pq.read_table(whole / "labelled.parquet"))


def test_a_row_that_cannot_be_shown_does_not_stop_a_run(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(looker, "first_words", broken)
    run(config, out=tmp_path / "run", in_process=True, until_round=1)
    shown = read_shown_rows(tmp_path / "run" / SHOWN_ROWS)
    assert shown["words"].to_pylist() == [None] * 24
    assert shown["predicted"].null_count == 12


class _HalfBroken:
    """Rows of which only the even ones can be read."""

    kind = "text"

    def take(self, rows: np.ndarray) -> list[str]:
        if (rows % 2).any():
            raise OSError("gone")
        return [f"row {row}" for row in rows]


def test_rows_beside_one_that_cannot_be_read_are_shown(config: Config) -> None:
    dataset = SimpleNamespace(pool=_HalfBroken(), kind="text")
    one = looker.Looker.__new__(looker.Looker)
    one._dataset = dataset  # type: ignore[assignment]
    assert one._excerpts(np.array([4, 3, 2])) == ["row 4", None, "row 2"]


def test_images_are_kept_as_thumbnails(tmp_path: Path) -> None:
    for number, (image, label) in enumerate(zip(*tiny_images(60), strict=True)):
        path = tmp_path / "pool" / f"class-{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    settings = {
        "mode": "svp",
        "data": {"pool": f"imagefolder:{tmp_path / 'pool'}", "test": None, "image": "image"},
        "encoder": {"model": str(tiny_image_encoder(tmp_path / "encoder")), "dtype": "float32"},
        "extraction": {"cache": None},
        "training": {"method": "lp"},
        "budget": "4+4x1",
    }
    run(build_config(settings), out=tmp_path / "run", in_process=True)
    shown = read_shown_rows(tmp_path / "run" / SHOWN_ROWS).to_pylist()
    colours = {}
    for one in shown:
        image = Image.open(io.BytesIO(one["thumbnail"]))
        assert max(image.size) <= 64
        assert image.format == "JPEG"
        assert one["words"] is None
        colours[one["row"]] = int(np.asarray(image).mean(axis=(0, 1)).argmax())
    labelled = pq.read_table(tmp_path / "run" / "labelled.parquet").to_pylist()
    assert {one["row"]: f"class-{colours[one['row']]}" for one in labelled} == {
        one["row"]: one["label"] for one in labelled
    }


def test_first_words_are_one_line_cut_between_words() -> None:
    assert excerpts.first_words("a\n  b\t<i>c</i>") == "a b <i>c</i>"
    long = excerpts.first_words("word " * 10_000)
    assert long.endswith("word…")
    assert len(long) <= 161
    assert excerpts.first_words("x" * 500) == "x" * 160 + "…"


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF"])
def test_a_thumbnail_is_a_small_jpeg_without_what_the_file_told(format: str) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 255, (30, 60, 3), dtype=np.uint8)).resize((1200, 600))
    exif = Image.Exif()
    exif[0x010E] = "told in secret"
    file = io.BytesIO()
    image.save(file, format, **({"exif": exif} if format != "GIF" else {}))
    small = excerpts.thumbnail(file.getvalue())
    assert Image.open(io.BytesIO(small)).size == (64, 32)
    assert small.startswith(b"\xff\xd8\xff")
    assert len(small) < 3000
    assert b"secret" not in small


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_some_rows_are_spread_evenly_from_the_first_to_the_last(count: int) -> None:
    rows = np.arange(100, 111)
    chosen = looker.some(rows, count).tolist()
    assert len(chosen) == len(set(chosen)) == min(count, 11)
    assert chosen[0] == 100
    assert count == 1 or chosen[-1] == 110
