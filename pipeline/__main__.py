"""`python -m asvp` is the `asvp` command."""

from __future__ import annotations

from asvp.cli.app import main

if __name__ == "__main__":
    main()
