"""Strategies, sources and spaces of other packages: found, kept from replacing what is there, and refused in words."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from tiny_runs import tiny_settings, write_texts

from asvp.cli.app import main
from asvp.config import Config, DataConfig, build_config
from asvp.data import open_dataset
from asvp.data.decoding import UndecodableError, decode_image
from asvp.data.open_source import plugin_place
from asvp.driver.absolute_paths import with_absolute_paths
from asvp.errors import AsvpError, ConfigError, DataError, SelectionError
from asvp.plugins import plugins
from asvp.selection import check_strategy, find_strategy, package_of, select, strategies
from asvp.tune_spaces.catalogue import load_space, space_name, spaces

CODE = '''
"""What a test installs."""

import numpy as np
import pyarrow as pa
from asvp.selection import StrategyInfo
from asvp.tune_spaces.space import Space


def first_rows(pool, budget, options, rng):
    return pool.unlabelled()[:budget]


FIRST = StrategyInfo("first", "The first rows.", "-", first_rows, complexity="time O(N)")
NOTHING = [1, 2]


class Rows:
    def __init__(self, place, config, kind="text", count=20):
        self.place, self.column, self.kind, self.count = place, config.text, kind, count

    def __len__(self):
        return self.count

    def take(self, rows):
        if self.kind == "features":
            return np.ones((len(rows), 2), np.float32)
        texts = [f"{self.column} {row} of {self.place}" for row in np.arange(self.count)[rows]]
        return texts if self.kind == "text" else [text.encode() for text in texts]

    def ids(self):
        return pa.array([f"r{row}" for row in range(self.count)])

    def labels(self):
        return pa.array([row % 2 for row in range(self.count)], pa.int32())

    def digest(self):
        return "00"


def no_rows(place, config):
    return Rows(place, config, count=0)


def images(place, config):
    return Rows(place, config, kind="image")


def features(place, config):
    return Rows(place, config, kind="features")


def sounds(place, config):
    return Rows(place, config, kind="sound")


def nothing(*arguments):
    return None


def fails(*arguments):
    raise KeyError("inside")


def unlabelled(place, config):
    rows = Rows(place, config)
    rows.labels = lambda: pa.array([0.5] * len(rows))
    return rows


def compare(config):
    """Are the first rows good ones?"""
    return Space({"first": {"selection": {"strategy": "first"}}}, seeds=[config.seed])


READY = Space({"first": {}, "second": {}})
ODD = Space({"no/name": {}})
'''
BROKEN = "import no_such_library\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put a package `guest` and a broken one where Python looks for them, with the entry points given."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "guest.py").write_text(CODE)
    (site / "broken_guest.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(site))

    def write(**groups: dict[str, str]) -> None:
        info = site / "guest_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest-package\nVersion: 1.0\n")
        lines = []
        for group, entries in groups.items():
            lines += [f"[asvp.{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        plugins.cache_clear()

    plugins.cache_clear()
    yield write
    plugins.cache_clear()
    for name in ("guest", "broken_guest"):
        sys.modules.pop(name, None)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return build_config(tiny_settings(tmp_path))


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit status of the `asvp` command."""
    monkeypatch.setattr(sys, "argv", ["asvp", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_strategy_is_known_by_its_entry_point_and_by_its_import_path(install):
    install(strategies={"earliest": "guest:FIRST"})
    # Its record says "first", but a configuration has to say what the entry point says.
    assert strategies()["earliest"].name == "earliest"
    assert (package_of("earliest"), package_of("margin")) == ("guest-package", "asvp")
    for name in ("earliest", "guest:FIRST"):
        assert select(name, budget=3, seed=0, size=9, labelled=[1]).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("no_such_package.module:NAME", ConfigError, "ModuleNotFoundError.*no_such_package.*installed"),
        ("guest:LAST", ConfigError, "AttributeError.*LAST"),
        ("broken_guest:FIRST", ConfigError, "ModuleNotFoundError.*no_such_library"),
        ("guest:NOTHING", SelectionError, r"is a list, not a StrategyInfo.*docs/extending\.md"),
        ("broken", ConfigError, r"no_such_library.*broken = broken_guest:FIRST of guest-package"),
        ("odd", SelectionError, "is a function, not a StrategyInfo"),
        ("brokn", SelectionError, "is no strategy.*Did you mean broken"),
        ("guest.FIRST", SelectionError, "is no strategy"),
    ],
)
def test_a_strategy_that_cannot_be_had_is_refused_with_its_key(install, name, kind, message):
    install(strategies={"broken": "broken_guest:FIRST", "odd": "guest:first_rows"})
    with pytest.raises(kind, match=rf"selection\.strategy: .*{message}"):
        check_strategy(name, key="selection.")


def test_a_broken_strategy_stops_only_those_who_name_it(install, monkeypatch, capsys, caplog, tmp_path):
    install(strategies={"broken": "broken_guest:FIRST", "earliest": "guest:FIRST"})
    assert run_command(monkeypatch, "strategies") == 0
    assert "broken_guest" in caplog.text
    shown = capsys.readouterr().out
    assert "earliest" in shown
    assert "added by guest-package" in shown
    assert "broken" not in shown
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(tiny_settings(tmp_path)))
    out = tmp_path / "run"
    override = "selection.strategy=broken"
    assert run_command(monkeypatch, "run", str(config), "--in-process", "--out", str(out), "-s", override) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("asvp: selection.strategy: cannot be loaded")
    assert not out.exists()


def test_no_strategy_of_another_package_replaces_one_of_asvp(install, caplog):
    install(strategies={"margin": "guest:FIRST"})
    assert find_strategy("margin", key="strategy").summary.startswith("Rows whose two most probable")
    assert strategies()["margin"] is find_strategy("margin", key="strategy")
    assert package_of("margin") == "asvp"
    assert "margin of guest-package is not used" in caplog.text


@pytest.mark.parametrize("opener", ["rows", "guest:Rows"])
def test_a_source_is_opened_by_name_or_import_path_and_given_place_and_config(install, opener):
    install(sources={"rows": "guest:Rows"})
    data = open_dataset(DataConfig(pool=f"{opener}:some:place", test=None, text="title"))
    assert data.classes == ("0", "1")
    assert len(data.pool) + len(data.test) == 20
    assert data.pool.take(np.array([0]))[0].startswith("title ")
    assert data.pool.take(np.array([0]))[0].endswith(" of some:place")


def test_rows_of_another_package_may_be_tested_on_rows_of_a_file(install, tmp_path):
    install(sources={"rows": "guest:Rows"})
    # Labels of one are int32 and of the other int64, ids large and small strings.
    pq.write_table(pa.table({"text": ["a", "b"], "label": [0, 1]}), tmp_path / "test.parquet")
    data = open_dataset(DataConfig(pool="rows:here", test=str(tmp_path / "test.parquet")))
    assert data.test_labels.tolist() == [0, 1]
    assert data.oracle.buy(np.array([0, 1])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("rosw:here", DataError, "no such file, nor a source 'rosw'.*Did you mean 'rows'"),
        ("no_such_package.module:open:here", ConfigError, "ModuleNotFoundError"),
        ("guest:close:here", ConfigError, "AttributeError.*close"),
        ("broken:here", ConfigError, "no_such_library"),
        ("guest:NOTHING:here", DataError, r"names a list, not a function.*docs/extending\.md"),
        ("guest:nothing:here", DataError, r"gives a NoneType, not a source of rows.*guest:nothing:here"),
        ("guest:fails:here", ConfigError, "ended with KeyError: 'inside'.*guest"),
        ("guest:sounds:here", DataError, "kind 'sound'.*text, image, features"),
        ("guest:no_rows:here", DataError, "holds no rows"),
    ],
)
def test_a_source_that_cannot_be_opened_is_refused_with_its_key(install, value, kind, message):
    install(sources={"rows": "guest:Rows", "broken": "broken_guest:Rows"})
    with pytest.raises(kind, match=rf"data\.pool: .*{message}"):
        open_dataset(DataConfig(pool=value))


def third(rows: np.ndarray, odd: Any, usual: Any) -> list[Any]:
    """Of which row 3 is another one."""
    return [odd if row == 3 else usual for row in rows]


@pytest.mark.parametrize(
    ("opener", "take", "message"),
    [
        ("Rows", lambda rows: third(rows, "a" * 101, "a" * 100), "it has 101 characters, .*max_text_bytes, 100"),
        ("Rows", lambda rows: third(rows, "é" * 51, "é" * 50), "it has 102 bytes, .*max_text_bytes, 100.*or raise"),
        ("Rows", lambda rows: third(rows, None, "a"), "it is a NoneType, not a text"),
        ("Rows", lambda rows: third(rows, b"a", "a"), "it is a bytes, not a text"),
        ("images", lambda rows: third(rows, bytes(301), bytes(300)), "it has 301 bytes, .*max_image_bytes, 300"),
        ("images", lambda rows: third(rows, "path.png", b"a"), "it is a str, not the bytes of an image"),
        ("features", lambda rows: np.array(third(rows, [np.nan, 1], [0, 1])), "it holds a number that is not finite"),
    ],
)
def test_a_row_of_another_package_has_the_limits_of_all_rows(install, monkeypatch, opener, take, message):
    install()
    given = pickle.dumps(open_dataset(limited(f"guest:{opener}:here")).pool)
    monkeypatch.setattr("guest.Rows.take", lambda self, rows: take(rows))
    # As a worker has it.
    pool = pickle.loads(given)
    assert len(pool.take(np.array([4, 5]))) == 2
    with pytest.raises(DataError, match=rf"data\.pool: row 3 of the pool, id 'r3': {message}") as caught:
        pool.take(np.array([5, 3]))
    assert f"guest:{opener}:here" in str(caught.value)


@pytest.mark.parametrize(
    ("opener", "given", "message"),
    [
        ("Rows", ["a"], "a list of 2 rows, and gave a list of 1"),
        ("Rows", "ab", "a list of 2 rows, and gave a str"),
        ("features", np.zeros(2), r"a matrix of 2 rows of numbers, and gave a ndarray of shape \(2,\)"),
        ("features", np.zeros((2, 0)), r"of shape \(2, 0\)"),
        ("features", np.array([["a"], ["b"]]), "type <U1"),
        ("features", [[1.0], [2.0]], "gave a list of 2"),
    ],
)
def test_other_rows_than_were_asked_for_are_refused_with_their_source(install, monkeypatch, opener, given, message):
    install()
    pool = open_dataset(limited(f"guest:{opener}:here")).pool
    monkeypatch.setattr("guest.Rows.take", lambda self, rows: given)
    with pytest.raises(DataError, match=rf"data\.pool: was to give .*{message}.*guest:{opener}:here"):
        pool.take(np.array([0, 1]))


def limited(pool: str) -> DataConfig:
    return DataConfig(pool=pool, test=pool, max_text_bytes=100, max_image_bytes=300)


def test_an_image_of_another_package_of_too_many_pixels_is_refused_by_whoever_decodes_it(install, monkeypatch):
    install()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    plain, header = buffer.getvalue(), b"IHDR" + struct.pack(">IIBBBBB", 20_000, 5_000, 8, 2, 0, 0, 0)
    bomb = plain[:12] + header + struct.pack(">I", zlib.crc32(header)) + plain[33:]
    pool = open_dataset(limited("guest:images:here")).pool
    monkeypatch.setattr("guest.Rows.take", lambda self, rows: [bomb] * len(rows))
    with pytest.raises(UndecodableError, match="89,478,485"):
        decode_image(pool.take(np.array([0]))[0])


def test_labels_of_another_package_that_name_no_classes_are_refused(install):
    install()
    with pytest.raises(DataError, match=r"data\.label: has type double in the pool"):
        open_dataset(DataConfig(pool="guest:unlabelled:here", test=None))


def test_a_local_file_whose_name_has_a_colon_goes_before_a_source(install, tmp_path, monkeypatch):
    install(sources={"rows": "guest:Rows"})
    monkeypatch.chdir(tmp_path)
    assert plugin_place("rows:pool.parquet") == ("rows", "pool.parquet")
    write_texts(tmp_path / "rows:pool.parquet", 30)
    assert plugin_place("rows:pool.parquet") is None
    config = with_absolute_paths(build_config({"data": {"pool": "rows:pool.parquet", "test": None}}))
    assert config.data.pool == str(tmp_path / "rows:pool.parquet")
    assert len(open_dataset(config.data).oracle.buy(np.arange(24))) == 24


@pytest.mark.parametrize("value", ["builtin:debian_sections", "imagefolder:photos", "s3://bucket/rows", "rows.parquet"])
def test_no_source_of_another_package_replaces_one_of_asvp(install, value):
    install(sources={"builtin": "guest:Rows", "imagefolder": "guest:Rows", "s3": "guest:Rows"})
    assert plugin_place(value) is None


@pytest.mark.parametrize(
    ("place", "absolute"),
    [
        ("rows:a.db", "rows:{here}/a.db"),
        ("rows:a.db?table", "rows:{here}/a.db?table"),
        ("rows:a.db#part", "rows:{here}/a.db#part"),
        ("guest:Rows:a.db", "guest:Rows:{here}/a.db"),
        ("rows:what?table", "rows:{here}/what?table"),
        ("rows:a.db?a?b", "rows:{here}/a.db?a?b"),
        ("rows:/elsewhere/a.db", "rows:/elsewhere/a.db"),
        ("rows:warehouse", "rows:warehouse"),
        ("rows:s3://bucket/a.db", "rows:s3://bucket/a.db"),
        ("rows:", "rows:"),
    ],
)
def test_a_place_that_is_a_local_path_is_made_absolute(install, tmp_path, monkeypatch, place, absolute):
    install(sources={"rows": "guest:Rows"})
    monkeypatch.chdir(tmp_path)
    for name in ("a.db", "what?table"):
        (tmp_path / name).touch()
    config = with_absolute_paths(build_config({"data": {"pool": place}}))
    assert config.data.pool == absolute.format(here=tmp_path)
    monkeypatch.chdir("/")
    assert with_absolute_paths(config).data.pool == config.data.pool


def test_a_space_is_known_by_its_entry_point_and_by_its_import_path(install, settings):
    install(spaces={"early": "guest:compare", "ready": "guest:READY"})
    for name in ("early", "guest:compare"):
        space = load_space(name, settings)
        assert (list(space.arms), list(space.seeds)) == (["first"], [settings.seed])
    assert list(load_space("ready", settings).arms) == ["first", "second"]
    assert spaces()["early"] == "Are the first rows good ones? (added by guest-package)"
    assert spaces()["ready"] == "first, second (added by guest-package)"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package.module:space", "SPACE: cannot be loaded: ModuleNotFoundError"),
        ("broken", "SPACE: cannot be loaded: .*no_such_library"),
        ("guest:NOTHING", "SPACE: gives a list, not a Space"),
        ("guest:nothing", "SPACE: gives a NoneType, not a Space"),
        ("guest:fails", "SPACE: ended with KeyError"),
        ("guest:ODD", "guest:ODD: arms: is no name"),
        ("brokn", "SPACE: is neither"),
    ],
)
def test_a_space_that_cannot_be_had_is_refused_with_its_key(install, settings, name, message):
    install(spaces={"broken": "broken_guest:compare"})
    with pytest.raises(ConfigError, match=message):
        load_space(name, settings)


def test_a_broken_space_stops_only_those_who_name_it(install, monkeypatch, capsys, caplog):
    install(spaces={"broken": "broken_guest:compare", "early": "guest:compare"})
    assert run_command(monkeypatch, "spaces") == 0
    assert "broken_guest" in caplog.text
    assert "early" in capsys.readouterr().out
    assert run_command(monkeypatch, "sweep", "broken") == 2
    assert capsys.readouterr().err.startswith("asvp: SPACE: cannot be loaded")


def test_no_space_of_another_package_replaces_a_module_or_a_file(install, settings, tmp_path, monkeypatch, caplog):
    install(spaces={"svp_vs_asvp": "guest:compare", "mine": "guest:compare"})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text("arms: {own: {}}\n")
    assert "standard" in load_space("svp_vs_asvp", settings).arms
    assert spaces()["svp_vs_asvp"].startswith("Does aligning the features pay?")
    assert "svp_vs_asvp of guest-package is not used" in caplog.text
    assert list(load_space("mine", settings).arms) == ["own"]


@pytest.mark.parametrize(
    ("space", "name"),
    [("package.module:space", "package.module.space"), ("arms/mine.yaml", "mine"), ("svp_vs_asvp", "svp_vs_asvp")],
)
def test_a_sweep_of_a_space_has_a_plain_folder_name(space, name):
    assert space_name(space) == name


def test_errors_of_other_packages_keep_their_cause(install):
    install()
    with pytest.raises(AsvpError) as loading:
        find_strategy("broken_guest:FIRST", key="strategy")
    assert isinstance(loading.value.__cause__, ModuleNotFoundError)
    with pytest.raises(AsvpError) as opening:
        open_dataset(DataConfig(pool="guest:fails:here"))
    assert isinstance(opening.value.__cause__, KeyError)
