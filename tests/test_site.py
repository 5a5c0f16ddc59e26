"""The site of docs/ is built without a warning, can be searched, and asks nothing of other hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import asvp
import asvp.alignment
import asvp.data
import asvp.selection

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """What `make docs` does, into another folder. With --quiet, --strict would see no warnings."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "true"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return out


class _Page(HTMLParser):
    """The addresses a browser loads with a page, and the anchors in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors.add(given.get("id") or "")
        address = given.get(SOURCES.get(tag, ""))
        if address and not (tag == "link" and given.get("rel") in ("canonical", "prev", "next")):
            self.loaded.append(address)


def test_pages_load_nothing_from_other_hosts(site: Path):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = _Page(page).loaded
        assert any(address.endswith(".css") for address in loaded)
        for address in loaded:
            assert not urlsplit(address).scheme or address.startswith("data:"), f"{page.name}: {address}"
            assert not urlsplit(address).netloc, f"{page.name}: {address}"
    for style in site.rglob("*.css"):
        addresses = re.findall(r"(?:url\(|@import )[\"']?((?:https?:)?//[^\"')]+)", style.read_text(encoding="utf-8"))
        assert addresses == [], style.name


@pytest.mark.parametrize(
    ("words", "page"),
    [("encoder.batch_size", "config.html"), ("ClusterError", "api/errors.html"), ("Add a strategy", "selection.html")],
)
def test_the_search_index_holds_options_names_and_headings(site: Path, words: str, page: str):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"] if words in entry["title"] + entry["text"]}
    assert page in found


@pytest.mark.parametrize(
    ("module", "page"), [(asvp.selection, "selection"), (asvp.data, "data"), (asvp.alignment, "alignment")]
)
def test_every_public_name_of_a_package_is_on_its_page(site: Path, module, page: str):
    documented = {anchor.rpartition(".")[2] for anchor in _Page(site / "api" / f"{page}.html").anchors}
    assert set(module.__all__) <= documented


def test_every_public_name_of_asvp_is_documented_or_linked(site: Path):
    page = (site / "api" / "asvp.html").read_text(encoding="utf-8")
    reached = set(re.findall(r"(?:id=\"|#)asvp\.(?:\w+\.)*(\w+)\"", page))
    assert set(asvp.__all__) <= reached


def test_what_leads_nowhere_is_said_and_ends_the_build(tmp_path: Path):
    lost = ["[a](nowhere.md)", "[b](../pipeline/errors.py)", "[c](#nowhere)", "[d](other.md#gone)", "[e][asvp.lost]"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n" + "\n".join(lost), encoding="utf-8")
    (tmp_path / "docs" / "other.md").write_text("# Other\n", encoding="utf-8")
    (tmp_path / "docs" / "forgotten.md").write_text("# No place in the navigation\n", encoding="utf-8")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: [index.md, other.md]\n", encoding="utf-8")
    done = build(config, tmp_path / "site")
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line or line.startswith("  - ")]
    for name in ("nowhere.md", "../pipeline/errors.py", "#nowhere", "other.md#gone", "asvp.lost", "forgotten.md"):
        assert any(name in line for line in warnings), name
