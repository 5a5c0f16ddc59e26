"""What can be known before work starts is known then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_encoders import tiny_image_encoder, tiny_images
from tiny_runs import tiny_config

from asvp.config import Config, build_config
from asvp.driver.loop import run
from asvp.errors import EncoderError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    images, labels = tiny_images(24)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / "pool" / f"class-{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    tiny_image_encoder(folder / "encoder", "vit")
    return folder


def image_config(folder: Path, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "mode": "svp",
        "data": {"pool": f"imagefolder:{folder / 'pool'}", "test": None, "image": "image"},
        "encoder": {"model": str(folder / "encoder"), "dtype": "float32"},
        "extraction": {"cache": None},
        "budget": "4+4x1",
    }
    return build_config({**settings, **changes})


def test_weights_that_do_not_fit_are_found_before_anything_is_written(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    path = tmp_path / "encoder" / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.0.output.dense.weight"] = np.zeros((3, 3), np.float32)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="do not fit the model"):
        run(config, out=tmp_path / "out", in_process=True)
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_missing_is_found_before_anything_is_written(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    for path in (tmp_path / "encoder").glob("*token*"):
        path.unlink()
    (tmp_path / "encoder" / "vocab.txt").unlink(missing_ok=True)
    with pytest.raises(EncoderError, match="tokenizer"):
        run(config, out=tmp_path / "out", in_process=True)
    assert not (tmp_path / "out").exists()
