"""What the page tells of rows, made up, with names that are markup."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

EVIL = "<img src=x onerror=document.title='ran'>"


def jpeg() -> str:
    small = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(small, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(small.getvalue()).decode()


def picks(number: int, **told: Any) -> list[dict[str, Any]]:
    thought = [[EVIL, 0.625], ["b", 0.25]]
    rows = [{"row": row, "id": f"id {row}", "label": EVIL if row % 2 else "b", **told} for row in range(3)]
    return [{**row, "thought": thought} for row in rows] if number else rows


def gallery(arm: str, rounds: int, **told: Any) -> dict[str, Any]:
    made = [
        {"round": n, "labelled": 3 * n + 3, "bought": 1234, "strategy": EVIL, "rows": picks(n, **told)}
        for n in range(rounds)
    ]
    return {"arm": arm, "seed": 0, "rounds": made}


def section(arms: list[str]) -> dict[str, Any]:
    side = {"others": [0, 0, 5, 5, -900, 100], "picks": [[10, 10, 0, 0, 7], [20, 10, 1, 1, 8], [99, 9, 1, 0, 9]]}
    number = len(arms)
    shares = [[None if a == b else 0.25 for b in range(number)] for a in range(number)]
    return {
        "galleries": [gallery(arms[0], 2, words=EVIL), gallery(arms[1], 3, image=jpeg())],
        "maps": [
            {
                "arm": arm,
                "seed": 0,
                "grid": 1000,
                "classes": [EVIL, "b"],
                "refreshes": place,
                "rounds": [0, 1],
                "sides": [{"version": version, **side} for version in range(place + 1)],
            }
            for place, arm in enumerate(arms[:2])
        ],
        "overlap": {"arms": arms, "shares": shares, "seeds": [[2] * number] * number, "picks": [180, 180]},
        "common": {
            "arms": number,
            "runs": 9,
            "rows": [{"row": 1, "id": EVIL, "label": EVIL, "arms": 2, "runs": 3, "words": EVIL}],
        },
        "notes": [f"The rows of {EVIL} are left out."],
    }
