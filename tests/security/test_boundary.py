"""Image paths of a table, and links in a folder, stay inside the data's folder or `data.root`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.data.boundary import Boundary
from asvp.errors import DataError

LABELS = ["x", "y", "x", "y"]


def picture(colour: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a table with images, and beside it a secret one that is an image too."""
    home = tmp_path / "home"
    (home / "images").mkdir(parents=True)
    for number in range(4):
        (home / "images" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "homely").mkdir()
    for place in ("secret.png", "homely/secret.png"):
        (tmp_path / place).write_bytes(picture(200))
    (home / "link.png").symlink_to(tmp_path / "secret.png")
    (home / "inner.png").symlink_to(home / "images" / "0.png")
    (home / "away").symlink_to(tmp_path)
    return home


def table(home: Path, path: str, form: str = "parquet") -> str:
    """A table whose third row has the given image path."""
    paths = ["images/0.png", "images/1.png", path, "images/3.png"]
    rows = pa.table({"image": paths, "label": LABELS})
    name = home / f"t.{form}"
    if form == "csv":
        pyarrow.csv.write_csv(rows, name)
    elif form == "jsonl":
        name.write_text(
            "".join(f'{{"image": "{path}", "label": "{label}"}}\n' for path, label in zip(paths, LABELS, strict=True))
        )
    elif form == "struct":
        name = home / "s.parquet"
        pq.write_table(pa.table({"image": [{"bytes": None, "path": path} for path in paths], "label": LABELS}), name)
    else:
        pq.write_table(rows, name)
    return str(name)


def opened(pool: str, **options: Any) -> Any:
    return open_dataset(DataConfig(pool=pool, test=pool, image="image", id=None, **options))


OUTSIDE = {
    "parent": "../secret.png",
    "down and up": "images/../../secret.png",
    "absolute": "{above}/secret.png",
    "uri": "file://{above}/secret.png",
    "escaped uri": "file://{home}/%2e%2e/secret.png",
    "link": "link.png",
    "folder link": "away/secret.png",
    "folder with the same beginning": "../homely/secret.png",
    "not there": "../none.png",
    "device": "/dev/zero",
    "web": "http://127.0.0.1:1/secret.png",
    "store": "s3://bucket/secret.png",
}


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "struct"])
@pytest.mark.parametrize("case", OUTSIDE)
def test_a_path_that_leads_out_is_refused_with_its_row_before_work(case: str, form: str, home: Path) -> None:
    path = OUTSIDE[case].format(above=home.parent, home=home)
    with pytest.raises(DataError) as caught:
        opened(table(home, path, form))
    told = str(caught.value)
    assert told.startswith("data.image: row 2 (row 2 of ")
    assert repr(path) in told
    assert "outside the folder of the table" in told
    assert "data.allow_outside" in told
    assert "data.root" in told


@pytest.mark.parametrize("path", ["images/2.png", "./images/../images/2.png", "inner.png", "{home}/images/2.png"])
def test_a_path_that_stays_inside_is_read(path: str, home: Path) -> None:
    data = opened(table(home, path.format(home=home)))
    assert len(data.pool.take(np.arange(4))[2]) > 0


@pytest.mark.parametrize("case", ["parent", "absolute", "uri", "link", "folder link"])
def test_what_leads_out_is_read_when_that_is_allowed_or_the_root_holds_it(
    case: str, home: Path, tmp_path: Path
) -> None:
    pool = table(home, OUTSIDE[case].format(above=home.parent, home=home))
    (tmp_path / "root").symlink_to(home.parent)
    for options in ({"allow_outside": True}, {"root": str(home.parent)}, {"root": str(tmp_path / "root")}):
        assert opened(pool, **options).pool.take(np.array([2])) == [picture(200)]
    with pytest.raises(DataError, match="outside"):
        opened(pool, root=str(home / "images"))


def test_a_folder_of_data_that_is_a_link_itself_is_as_good_as_any(home: Path, tmp_path: Path) -> None:
    table(home, "images/2.png")
    (tmp_path / "door").symlink_to(home)
    assert opened(str(tmp_path / "door" / "t.parquet")).pool.take(np.array([2])) == [picture(2)]


def test_images_beside_the_folder_of_a_table_stay_in_the_folder_that_was_named(home: Path) -> None:
    (home / "tables").mkdir()
    pq.write_table(
        pa.table({"image": [f"../images/{n}.png" for n in range(4)], "label": LABELS}), home / "tables" / "t.parquet"
    )
    (home / "link.png").unlink()
    (home / "away").unlink()
    assert opened(str(home)).pool.take(np.array([3])) == [picture(3)]
    with pytest.raises(DataError, match="row 0"):
        opened(str(home / "tables"))


def test_a_path_that_a_link_leads_out_later_is_not_read(home: Path) -> None:
    pool = opened(table(home, "images/2.png")).pool
    (home / "images" / "2.png").unlink()
    (home / "images" / "2.png").symlink_to(home.parent / "secret.png")
    with pytest.raises(DataError, match=r"row 2.*outside the folder"):
        pool.take(np.array([2]))


@pytest.mark.parametrize(
    ("uri", "inside"),
    [
        ("s3://bucket/set/a.png", True),
        ("s3://bucket/set/deep/a..png", True),
        ("s3://bucket/set/../a.png", False),
        ("s3://bucket/set/%2E%2e/a.png", False),
        ("s3://bucket/set/%252e%252e/a.png", False),
        ("s3://bucket/set/..\\a.png", False),
        ("s3://bucket/settle/a.png", False),
        ("s3://other/set/a.png", False),
        ("gs://bucket/set/a.png", False),
        ("s3://bucket/set/a.png?endpoint_override=evil.example", False),
        ("s3://bucket/set/a::file:///etc/passwd", False),
        ("/etc/passwd", False),
    ],
)
def test_addresses_are_compared_as_text(uri: str, inside: bool) -> None:
    assert (Boundary().leaves(uri, ["s3://bucket/set"]) is None) == inside
    assert (Boundary("s3://bucket/set").leaves(uri, []) is None) == inside
    assert Boundary(allow_outside=True).leaves(uri, []) is None


def test_a_root_that_is_no_folder_is_refused(home: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: is no folder"):
        opened(table(home, "images/2.png"), root=str(home / "none"))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_out_of_a_folder_of_images_or_tables_are_refused(kind: str, tmp_path: Path) -> None:
    pool, store = tmp_path / "pool", tmp_path / "store"
    for number, label in enumerate(LABELS):
        (store / label).mkdir(parents=True, exist_ok=True)
        (store / label / f"{number}.png").write_bytes(picture(number))
    pool.mkdir()
    for label in ("x", "y"):
        if kind == "folder":
            (pool / label).symlink_to(store / label)
        else:
            (pool / label).mkdir()
            for file in sorted((store / label).iterdir()):
                (pool / label / file.name).symlink_to(file)
    given = {"pool": str(pool), "test": None, "test_share": 0.5}
    with pytest.raises(DataError, match=r"data\.pool: 4 files in it are links that lead out of it, .*data\.root"):
        open_dataset(DataConfig(**given))
    for options in ({"allow_outside": True}, {"root": str(store)}):
        assert open_dataset(DataConfig(**given, **options)).classes == ("x", "y")


def test_a_link_to_a_table_is_refused_in_a_folder_and_read_where_it_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": list("abcd"), "label": LABELS}), tmp_path / "t.parquet")
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "t.parquet").symlink_to(tmp_path / "t.parquet")
    assert len(open_dataset(DataConfig(pool=str(tmp_path / "pool" / "t.parquet"), test=None)).classes) == 2
    with pytest.raises(DataError, match="lead out of it"):
        open_dataset(DataConfig(pool=str(tmp_path / "pool"), test=None))
