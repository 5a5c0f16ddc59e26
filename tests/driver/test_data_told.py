"""What the data leaves out is told by a run, and a row that cannot be used has one name in check and run."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from recording import Told
from tiny_encoders import tiny_image_encoder, tiny_images

from asvp.config import Config, build_config
from asvp.data import open_dataset
from asvp.driver.check import check_config
from asvp.driver.loop import run
from asvp.errors import DataError

ROWS = 90
BROKEN_ROW = 31


@pytest.fixture
def config(tmp_path: Path) -> Config:
    images, labels = tiny_images(ROWS, seed=3)
    for row, (content, label) in enumerate(zip(images, labels, strict=True)):
        path = tmp_path / "photos" / f"class-{label}" / f"{row:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return build_config(
        {
            "mode": "svp",
            "data": {"pool": str(tmp_path / "photos"), "test": None, "limit": 60},
            "encoder": {"model": str(tiny_image_encoder(tmp_path / "encoder")), "dtype": "float32", "batch_size": 8},
            "extraction": {"shard_rows": 25, "cache": None},
            "budget": "10+5x1",
            "proxy": {"epochs": 2},
            "training": {"method": "lp"},
        }
    )


def test_a_run_says_what_was_left_out_and_logs_it(config: Config, tmp_path: Path) -> None:
    (tmp_path / "photos" / "class-0" / "raw.heic").write_bytes(b"x")
    told = Told()
    run(config, out=tmp_path / "out", in_process=True, reporter=told)
    warnings = [line for line in told.lines if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert "1 .heic" in warnings[0]
    assert "'class-0/raw.heic'" in warnings[0]
    assert warnings[0] in (tmp_path / "out" / "run.log").read_text(encoding="utf-8")
    assert any("raw.heic" in warning for warning in check_config(config).warnings)


def test_an_unreadable_image_has_the_pools_number_and_its_file_in_check_and_run(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "photos" / open_dataset(config.data).pool.ids()[BROKEN_ROW].as_py()
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError) as checked:
        check_config(config)
    with pytest.raises(DataError) as ran:
        run(config, out=None, in_process=True)
    for error in (checked.value, ran.value):
        assert f"row {BROKEN_ROW}" in str(error)
        assert str(path) in str(error)
        assert error.exit_code == 2


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("limit", [60, None])
def test_a_row_that_breaks_in_training_has_the_pools_number_too(
    config: Config, tmp_path: Path, limit: int | None, sent: bool
) -> None:
    from asvp.compute.jobs import FineTuneJob
    from asvp.compute.session import EncoderSession

    data = config.data.model_copy(update={"limit": limit})
    path = tmp_path / "photos" / open_dataset(data).pool.ids()[BROKEN_ROW].as_py()
    path.write_bytes(b"<html>moved</html>")
    pool = open_dataset(data).pool
    rows = np.array([BROKEN_ROW - 2, BROKEN_ROW, BROKEN_ROW + 1])
    job = FineTuneJob("ft", pool, rows, np.array([0, 1, 0]), 2, config.training, 0, "encoder")
    with pytest.raises(DataError, match=rf"row {BROKEN_ROW} of the pool, {path}: .*web page"):
        EncoderSession(config.encoder, "image").train(pickle.loads(pickle.dumps(job.sent())) if sent else job)
    path.unlink()
    with pytest.raises(DataError, match=rf"row {BROKEN_ROW} of the pool: {path} cannot be read"):
        EncoderSession(config.encoder, "image").train(pickle.loads(pickle.dumps(job.sent())) if sent else job)
