"""Pictures of a report.html for the documentation, by Debian's chromium.

python benchmarks/page_pictures.py SWEEP/report.html docs/figures --name report
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

LOOKS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1100, "height": 1500}},
    "dark": {"viewport": {"width": 1100, "height": 1500}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 1500}},
    "print": {"viewport": {"width": 800, "height": 1130}},
}


def main() -> None:
    """Take one picture a look, with a palette, so that each stays small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--name", default="report")
    parser.add_argument("--looks", default=",".join(LOOKS))
    given = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for look in given.looks.split(","):
            page = browser.new_context(**LOOKS[look]).new_page()
            page.emulate_media(media="print" if look == "print" else "screen")
            page.goto(given.page.resolve().as_uri())
            page.wait_for_timeout(500)
            image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            # Without dithering, and with colours enough that no two arms come out as one.
            image = image.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            image.save(given.out / f"{given.name}-{look}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
