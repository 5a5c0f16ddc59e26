"""report.html: one file with its script, its styles and its data inside, which asks nothing of any other place."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from asvp.report.page.beside import Beside
from asvp.report.page.data import page_data
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.verdict import Verdict

NAME = "report.html"
_SCRIPTS = ("verdict.js", "shared.js", "rows.js", "state.js", "page.js")
_STYLES = ("page.css", "rows.css")
_PLOTLY = "plotly-basic.min.js"
"""The page runs it when its first figure is drawn, and the words are on the screen."""
_RELOAD = '<meta name="asvp-reload" content="{0:d}" data-written="{1}">'
_RELOADS = rb'<meta name="asvp-reload" content="\d+" data-written="[^"]*">'


def page_bytes(
    records: Sequence[RunRecord],
    answer: Verdict,
    notes: Sequence[str],
    drawn: Redrawn | None,
    beside: Beside,
    *,
    reload: int | None = None,
) -> bytes:
    """The page of some runs.

    Parameters
    ----------
    records : sequence of RunRecord
    answer : Verdict
    notes : sequence of str
        What a reader has to know.
    drawn : Redrawn or None
        The finished runs on other draws of test rows.
    beside : Beside
    reload : int, optional
        Every so many seconds the page loads itself again, for a sweep that is running.
    """
    return render(page_data(records, answer, notes, drawn, beside), reload=reload)


def render(data: Any, *, reload: int | None = None) -> bytes:
    """The page of data that is made up already."""
    scripts, styles = ([_asset(name) for name in names] for names in (_SCRIPTS, _STYLES))
    plotly = _asset(_PLOTLY)
    parts = {
        "@csp@": _policy([plotly, *scripts], styles),
        "@reload@": "" if reload is None else _RELOAD.format(reload, datetime.now(UTC).isoformat(timespec="seconds")),
        "@styles@": "".join(f"<style>{text}</style>" for text in styles),
        "@data@": _embedded(data),
        "@plotly@": plotly,
        "@scripts@": "".join(f"<script>{text}</script>" for text in scripts),
    }
    # In one pass: what is put in is not looked into again.
    return re.sub("|".join(parts), lambda found: parts[found[0]], _asset("page.html")).encode()


def settled(page: bytes) -> bytes:
    """The same page, which no longer loads itself again."""
    return re.sub(_RELOADS, b"", page, count=1)


def _asset(name: str) -> str:
    return files("asvp.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Nothing from outside; scripts and styles are those whose hashes are given. Plotly adds one empty style sheet."""
    told = {"script-src": scripts, "style-src": [*styles, ""]}
    hashes = "; ".join(f"{kind} {' '.join(map(_hash, texts))}" for kind, texts in told.items())
    return f"default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'; {hashes}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _embedded(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(_finite(data), ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    """Numbers that JSON does not know become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value
