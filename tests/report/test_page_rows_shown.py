"""The section of rows in a real browser: what it shows, that it follows its controls, and that names stay text."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from page_rows import EVIL, jpeg, section
from PIL import Image
from tiny_runs import wait_until

import asvp.report.page.rows as module

ASSETS = Path(module.__file__).parent / "assets"


class Page(HTMLParser):
    """Elements of a page that was drawn: (name, attributes, text) in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text: list[str] = []
        self.elements.append((tag, dict(attrs), text))
        if tag not in ("img", "input", "meta", "br"):
            self._open.append(text)

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for text in self._open:
            text.append(data)

    def all(self, tag: str, **wanted: str) -> list[str]:
        """The text of elements with a name and attributes (`of` is their class)."""
        named = {("class" if key == "of" else key): value for key, value in wanted.items()}
        return [
            "".join(text)
            for name, attributes, text in self.elements
            if name == tag and all(value in (attributes.get(key) or "").split() for key, value in named.items())
        ]

    def attributes(self, tag: str, of: str) -> list[dict[str, str | None]]:
        return [told for name, told, _ in self.elements if name == tag and of in (told.get("class") or "").split()]


@pytest.fixture
def shown(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of rows and gives it as drawn after some steps, and once a condition holds; errors fail the test."""
    contexts = []

    def opened(rows: dict[str, Any] | None, then: str = "", until: str = "true") -> Page:
        path = tmp_path / "page.html"
        path.write_text(_page_of(rows, then), encoding="utf-8")
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.goto(path.as_uri())
        wait_until(lambda: page.evaluate(until), 120)
        drawn = Page(page.content())
        assert drawn.all("pre", id="wrong") == [""]
        assert drawn.all("title") == ["rows"]
        assert not [told for name, told, _ in drawn.elements if name == "img" and "onerror" in told]
        return drawn

    yield opened
    for context in contexts:
        context.close()


def _page_of(rows: dict[str, Any] | None, then: str) -> str:
    data = json.dumps(rows).replace("<", "\\u003c")
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>rows</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>{(ASSETS / "rows.css").read_text(encoding="utf-8")}</style></head>
<body><section id="rows"><h2>Rows</h2></section><pre id="wrong"></pre>
<script>
const wrong = (text) => document.getElementById("wrong").append(text + "\\n");
addEventListener("error", (event) => wrong(event.message || "a resource was not there"), true);
addEventListener("securitypolicyviolation", (event) => wrong(event.violatedDirective));
const choose = (place, value) => {{
  const one = document.querySelectorAll("#rows select, #rows input")[place];
  one.value = value;
  one.dispatchEvent(new Event(one.tagName === "INPUT" ? "input" : "change"));
}};
</script>
<script>{(ASSETS / "rows.js").read_text(encoding="utf-8")}</script>
<script>asvpRows(document.getElementById("rows"), {data}); {then}</script></body></html>"""


def test_everything_is_shown_and_markup_stays_text(shown: Callable[..., Page]) -> None:
    page = shown(section([EVIL, "b"]))
    assert page.all("h3") == [
        "Some picks of each round",
        "The pool before and after a refresh",
        "Which rows arms agree on",
    ]
    assert page.all("h4") == [
        f"Round 0, up to 3 labels: 3 of 1,234 picks by {EVIL}",
        f"Round 1, up to 6 labels: 3 of 1,234 picks by {EVIL}",
    ]
    assert page.all("p", of="rows-words") == [EVIL] * 6
    assert page.all("p", of="rows-thought") == ["no model yet"] * 3 + [f"proxy: {EVIL} 63\u00a0%, b 25\u00a0%"] * 3
    marks = ["✗ The proxy was wrong: b", f"✓ The proxy was right: {EVIL}", "✗ The proxy was wrong: b"]
    assert page.all("p", of="rows-label") == ["b", EVIL, "b", *marks]
    assert page.all("td", of="rows-share") == ["25", "25"]
    assert page.all("th", scope="row") == [f"1  {EVIL}", "2  b"]
    assert page.all("ul", of="rows-notes") == [f"The rows of {EVIL} are left out."]


def test_another_arm_shows_its_thumbnails(shown: Callable[..., Page]) -> None:
    page = shown(section(["a", "b"]), "choose(0, 'a1');")
    images = [told for name, told, _ in page.elements if name == "img"]
    assert len(images) == 9
    assert {told["src"] for told in images} == {jpeg()}
    assert images[0]["alt"] == "Row id 0"


def test_a_round_shows_all_arms(shown: Callable[..., Page]) -> None:
    page = shown(section(["a", "b"]), "choose(0, 'r1');")
    assert [title.partition(":")[0] for title in page.all("h4")] == ["a", "b"]


def test_the_map_opens_with_an_arm_that_was_refreshed(shown: Callable[..., Page]) -> None:
    page = shown(section(["a", "b"]))
    assert page.all("figcaption") == ["Features of the pre-trained encoder", "Features after the refresh"]
    assert [told["aria-label"] for told in page.attributes("svg", "rows-map")] == [
        "Features of the pre-trained encoder: 3 rows that were not bought, 3 picks",
        "Features after the refresh: 3 rows that were not bought, 3 picks",
    ]
    assert points(page) == [1, 2, 1, 2]
    strokes = [told["stroke"] for told in page.attributes("path", "rows-pick")]
    assert strokes[0] != strokes[1]
    assert strokes[:2] == strokes[2:]


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("choose(2, 0);", [1, 1]),
        ("choose(3, 1);", [0, 1, 0, 1]),
        ("choose(3, 1); choose(2, 0);", [0, 0]),
        ("choose(1, 0);", [1, 2]),
    ],
)
def test_the_map_follows_round_class_and_arm(shown: Callable[..., Page], then: str, expected: list[int]) -> None:
    assert points(shown(section(["a", "b"]), then)) == expected


def points(page: Page) -> list[int]:
    """Picks drawn a side and round."""
    return [len(re.findall("M", told["d"] or "")) for told in page.attributes("path", "rows-pick")]


def test_hover_names_the_nearest_pick(shown: Callable[..., Page]) -> None:
    move = """const svg = document.querySelector(".rows-map"), box = svg.getBoundingClientRect();
const at = (x) => box.left + box.width * (210 + x / 1000 * 198) / 420;
svg.dispatchEvent(new PointerEvent("pointermove", { clientX: at(101), clientY: box.top + box.height / 2 }));"""
    assert shown(section(["a", "b"]), move).all("p", of="rows-tip")[0] == f"row 9: {EVIL}, picked in round 1"


def test_csv_holds_every_pick_and_no_formula(shown: Callable[..., Page]) -> None:
    then = """URL.createObjectURL = (blob) => { blob.text().then((text) => wrong.text.push(text)); return "#"; };
wrong.text = [];
document.querySelectorAll(".rows-save").forEach((one) => { if (one.textContent === "CSV") one.click(); });
wrong.written = () => (document.querySelector("h2").textContent = JSON.stringify(wrong.text));"""
    rows = section(["=1+1", "b"])
    page = shown(rows, then, "wrong.text.length === 3 && wrong.written()")
    files = json.loads(page.all("h2")[0])
    lines = [text.split("\r\n") for text in files]
    assert [len(one) for one in lines] == [1 + 15 + 1, 1 + 3 * 6 + 1, 1 + 2 + 1]
    assert lines[0][4] == f"'=1+1,0,1,0,id 0,b,{EVIL},0.625,b,0.25,{EVIL}"
    assert lines[2][1:3] == ["'=1+1,b,0.25,2", "b,'=1+1,0.25,2"]


def test_the_map_is_saved_as_a_drawing_and_as_pixels(shown: Callable[..., Page]) -> None:
    then = """wrong.found = {};
URL.createObjectURL = (blob) => {
  blob.arrayBuffer().then((one) => { wrong.found[blob.type] = btoa(String.fromCharCode(...new Uint8Array(one))); });
  return "#";
};
document.querySelectorAll(".rows-save").forEach((one) => { if (one.textContent !== "CSV") one.click(); });
wrong.written = () => (document.querySelector("h2").textContent = JSON.stringify(wrong.found));"""
    page = shown(section(["a", EVIL]), then, "Object.keys(wrong.found).length === 2 && wrong.written()")
    found = {kind: base64.b64decode(text) for kind, text in json.loads(page.all("h2")[0]).items()}
    tree = ElementTree.fromstring(found["image/svg+xml"])
    titles = [one.text for one in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert titles == [f"{EVIL}: Features of the pre-trained encoder", f"{EVIL}: Features after the refresh"]
    pixels = Image.open(io.BytesIO(found["image/png"])).convert("RGB")
    assert pixels.size == (1680, 896)
    assert len(pixels.getcolors(1 << 24) or []) > 10


def test_where_no_run_kept_the_words_of_a_row_that_is_said(shown: Callable[..., Page]) -> None:
    rows = section(["a", "b"])
    rows["common"]["rows"].append({"row": 2, "id": "id 2", "label": "b", "arms": 2, "runs": 2})
    page = shown(rows)
    assert page.all("td", of="rows-none") == ["not kept"]
    assert any("where no run kept them" in hint for hint in page.all("p", of="rows-hint"))
    # What is all there, and pictures, which have no words, need no explanation.
    assert shown(section(["a", "b"])).all("td", of="rows-none") == []
    for row in rows["common"]["rows"]:
        row.pop("words", None)
    page = shown(rows)
    assert "first words" not in page.all("th", scope="col")
    assert not any("where no run kept them" in hint for hint in page.all("p", of="rows-hint"))


def test_without_rows_nothing_is_shown(shown: Callable[..., Page]) -> None:
    empty = {"galleries": [], "maps": [], "overlap": None, "common": None, "notes": ["Left out."]}
    assert shown(empty).all("li") == ["Left out."]
    assert shown(None).all("h3") == []


def test_forty_arms_fit(shown: Callable[..., Page]) -> None:
    then = 'document.querySelector("h2").textContent = document.documentElement.scrollWidth <= innerWidth;'
    page = shown(section([f"an arm of many words {n}" for n in range(40)]), then)
    assert page.all("h2") == ["true"]
    assert len(page.all("td", of="rows-share")) == 40 * 39
