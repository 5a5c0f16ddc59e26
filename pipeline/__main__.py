"""The `asvp` command, also as `python -m asvp`: what hears Ctrl-C while all the rest is imported."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType


def main() -> None:
    """Entry point: 0 done, 2 bad input, 130 interrupted (143 by SIGTERM), 1 anything else."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, _end)
    from asvp.cli.app import main as command

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _end(number: int, frame: FrameType | None) -> None:
    """End the process as it is: an import would hand on whatever is raised in it, or take it for its own failure."""
    with suppress(OSError):
        os.write(2, b"asvp: interrupted; nothing was begun yet\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
