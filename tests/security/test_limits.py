"""What one row may cost: a text, an encoded image, its pixels."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.data.decoding import MOST_PIXELS, UndecodableError, decode_image
from asvp.data.excerpts import thumbnail
from asvp.data.pixels import BySteps, Canvas, Steps, UnusableError
from asvp.data.storage import read_all
from asvp.data.tensors import ByTorchvision
from asvp.errors import AsvpError, DataError
from asvp.models.encoder.decoding import Decoder
from asvp.models.encoder.gpu_decoding import GpuDecoding

SIDES = (20_000, 5_000)
STEPS = Steps(size=(8, 8), shortest=None, resample=2, crop=None)


def encoded(form: str, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (200, 100, 50)).save(buffer, form)
    return buffer.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has so many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    plain = encoded("PNG")
    return plain[:12] + header + struct.pack(">I", zlib.crc32(header)) + plain[33:]


def jpeg_bomb(width: int, height: int) -> bytes:
    """A JPEG of the same kind."""
    plain = encoded("JPEG")
    frame = plain.index(b"\xff\xc0")
    return plain[: frame + 5] + struct.pack(">HH", height, width) + plain[frame + 9 :]


GIF = encoded("GIF")
BOMBS = {
    "png": png_bomb(*SIDES),
    "jpeg": jpeg_bomb(*SIDES),
    "gif": GIF[:6] + b"\xff\xff\xff\xff" + GIF[10:],
}
READERS = {
    "by steps": BySteps(STEPS, 8),
    "canvas": Canvas(8),
    "by torchvision": ByTorchvision(STEPS, 8),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_image_of_too_many_pixels_is_refused_by_its_first_bytes(bomb: str) -> None:
    for decode in (decode_image, thumbnail):
        with pytest.raises(UndecodableError, match="more than the 89,478,485 that are decoded"):
            decode(BOMBS[bomb])


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_of_images_refuses_it(reader: str, bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*asked: object) -> Any:
        raise AssertionError("its pixels were asked for")

    monkeypatch.setattr("asvp.data.tensors._decode", nobody)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", nobody)
    with pytest.raises(UnusableError, match="89,478,485"):
        READERS[reader](BOMBS[bomb])


def test_a_gpu_never_sees_it() -> None:
    seen = []

    def decode(contents: list[torch.Tensor]) -> list[torch.Tensor]:
        seen.append(len(contents))
        return [torch.zeros((3, 10, 10), dtype=torch.uint8) for one in contents]

    rows = [encoded("JPEG"), BOMBS["jpeg"], encoded("JPEG")]
    found = GpuDecoding(STEPS, 8, torch.device("cpu"), decode)(
        rows, lambda some: Decoder({"scored": BySteps(STEPS, 8)}, {}).read("scored", some, 1)
    )
    assert isinstance(found, tuple)
    assert found[0] == 1
    assert "89,478,485" in found[1].message
    assert seen == [2]


def test_an_image_of_just_as_many_pixels_as_may_be_is_taken_for_one() -> None:
    with pytest.raises(UndecodableError) as caught:
        decode_image(png_bomb(MOST_PIXELS, 1))
    assert "89,478,485" not in str(caught.value)


def table(folder: Path, form: str, texts: list[str]) -> str:
    labels = ["x", "y"] * (len(texts) // 2)
    path = folder / f"t.{form}"
    if form == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, labels, strict=True)]
        path.write_text("\n".join(lines))
    elif form == "csv":
        path.write_text(
            "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(texts, labels, strict=True))
        )
    else:
        kind = {"parquet": pa.string(), "arrow": pa.string_view()}[form]
        rows = pa.table({"text": pa.array(texts, kind), "label": labels})
        if form == "parquet":
            pq.write_table(rows, path)
        else:
            with pa.ipc.new_file(path, rows.schema) as writer:
                writer.write_table(rows)
    return str(path)


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "jsonl"])
def test_a_text_of_too_many_bytes_is_refused_with_row_and_file_and_others_are_read(form: str, tmp_path: Path) -> None:
    # Bytes are counted, not characters.
    texts = ["short", "é" * 50, "é" * 51, "short"]
    config = DataConfig(pool=table(tmp_path, form, texts), test=None, test_share=0.5, max_text_bytes=100)
    pool = open_dataset(config.model_copy(update={"test": config.pool})).pool
    assert pool.take(np.array([0, 1, 3])) == [texts[0], texts[1], texts[3]]
    with pytest.raises(DataError) as caught:
        pool.take(np.arange(4))
    told = str(caught.value)
    assert told.startswith("data.text: row 2 of the pool, row 2 of ")
    assert "it has 102 bytes, which is more than data.max_text_bytes, 100" in told
    assert told.endswith("Mend the row, leave it out, or raise data.max_text_bytes")
    assert len(told) < 500


@pytest.mark.parametrize("form", ["bytes", "struct", "paths", "address", "folder"])
def test_an_image_of_too_many_bytes_is_refused_with_row_and_file(form: str, tmp_path: Path) -> None:
    small, large = encoded("PNG"), encoded("PNG") + bytes(3000)
    folder = tmp_path / "images"
    for number, content in enumerate([small, small, large, small]):
        (folder / "xy"[number % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "xy"[number % 2] / f"{number}.png").write_bytes(content)
    paths = [f"images/{'xy'[number % 2]}/{number}.png" for number in range(4)]
    columns: dict[str, Any] = {
        "bytes": [small, small, large, small],
        "struct": [{"bytes": content, "path": None} for content in (small, small, large, small)],
        "paths": paths,
        "address": [f"file://{tmp_path}/{path}" for path in paths],
    }
    pool = str(folder)
    if form != "folder":
        pool = str(tmp_path / "t.parquet")
        pq.write_table(pa.table({"image": columns[form], "label": ["x", "y"] * 2}), pool)
    config = DataConfig(pool=pool, test=pool, image=None if form == "folder" else "image", max_image_bytes=3000)
    with pytest.raises(DataError, match=r"3,0\d\d bytes|more than 3,000 bytes") as caught:
        open_dataset(config).pool.take(np.arange(4))
    assert "data.max_image_bytes" in str(caught.value)
    assert ("2.png" if form in ("paths", "address", "folder") else "row 2 of") in str(caught.value)
    allowed = config.model_copy(update={"max_image_bytes": 4000})
    images = open_dataset(allowed).pool.take(np.arange(4))
    assert sorted(map(len, images)) == sorted(map(len, [small, small, large, small]))


class Endless:
    """A stream that never ends."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, count: int) -> bytes:
        self.given += count
        return bytes(count)


@pytest.mark.parametrize("most", [10, 4 << 20, 9 << 20])
def test_no_more_is_read_of_a_stream_than_may_be(most: int) -> None:
    stream = Endless()
    with pytest.raises(ValueError, match=f"it has more than {most:,} bytes"):
        read_all(stream, most)
    assert stream.given <= most + (4 << 20)
    assert len(read_all(io.BytesIO(bytes(most)), most)) == most


def test_limits_of_nothing_are_refused() -> None:
    from asvp.config import build_config

    for key in ("data.max_text_bytes", "data.max_image_bytes"):
        with pytest.raises(AsvpError, match=key):
            build_config({}, [f"{key}=0"])
