"""report.html: one file with its script, its styles and its data inside, which asks nothing of any other place."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from importlib.resources import files
from typing import Any

from asvp.report.comparison import Comparison
from asvp.report.page.data import page_data

NAME = "report.html"
_SCRIPTS = ("plotly-basic.min.js", "verdict.js", "shared.js", "rows.js", "page.js")
_STYLES = ("page.css", "rows.css")


def page_bytes(comparison: Comparison, *, reload: bool = False) -> bytes:
    """The page of a comparison.

    Parameters
    ----------
    comparison : Comparison
    reload : bool
        Whether the page loads itself again every few seconds, for a sweep that is running.
    """
    return render(page_data(comparison), reload=reload)


def render(data: Any, *, reload: bool = False) -> bytes:
    """The page of data that is made up already."""
    scripts, styles = ([_asset(name) for name in names] for names in (_SCRIPTS, _STYLES))
    parts = {
        "@csp@": _policy(scripts, styles),
        "@reload@": '<meta http-equiv="refresh" content="10">' if reload else "",
        "@styles@": "".join(f"<style>{text}</style>" for text in styles),
        "@data@": _embedded(data),
        "@scripts@": "".join(f"<script>{text}</script>" for text in scripts),
    }
    # In one pass: what is put in is not looked into again.
    return re.sub("|".join(parts), lambda found: parts[found[0]], _asset("page.html")).encode()


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
