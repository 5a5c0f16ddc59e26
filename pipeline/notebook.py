"""What can be shown below the cell of a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_EVERY = 1.0
"""Seconds between two drawings, so that a browser keeps up."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def shown_below_the_cell(html: Callable[[], str]) -> Iterator[Callable[[], None]]:
    """Show what a function gives, and again whenever what is yielded is called, and at the end."""
    from IPython.display import HTML, display

    handle = display(HTML(html()), display_id=True)
    drawn = time.monotonic()

    def draw() -> None:
        nonlocal drawn
        if time.monotonic() - drawn >= _EVERY:
            handle.update(HTML(html()))
            drawn = time.monotonic()

    try:
        yield draw
    finally:
        handle.update(HTML(html()))
