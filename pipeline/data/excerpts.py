"""What people are shown of a row: first words, or a thumbnail."""

from __future__ import annotations

import io

from asvp.data.decoding import decode_image

_WORDS = 160
"""Characters of a text that are shown."""
_SIDE, _QUALITY = 64, 70
"""Pixels of a thumbnail's longer side, and its JPEG quality: some 1.5 KB."""


def first_words(text: str) -> str:
    """The beginning of a text in one line, cut between words where there is a gap to cut at."""
    # Far more than is shown, so that a long text is not split whole.
    line = " ".join(text[: 20 * _WORDS].split())
    if len(line) <= _WORDS:
        return line
    cut = line[:_WORDS].rsplit(" ", 1)[0]
    return f"{cut if len(cut) > _WORDS // 2 else line[:_WORDS]}…"


def thumbnail(content: bytes) -> bytes:
    """A small JPEG of an encoded image: pixels alone, nothing else that the file told.

    Raises
    ------
    UndecodableError
        As `decode_image`.
    """
    image = decode_image(content, near=2 * _SIDE)
    image.thumbnail((_SIDE, _SIDE))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=_QUALITY, optimize=True)
    return small.getvalue()
