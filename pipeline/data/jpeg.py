"""What the first bytes of a JPEG tell, without decoding it."""

from __future__ import annotations

_ALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers without a length."""
_FRAMES = {0xC0, 0xC1, 0xC2}
"""Baseline, extended and progressive, by Huffman's code."""
_TAIL = 64
"""Bytes after the end of the image that are looked through for it."""


def plain_jpeg(content: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG that every decoder reads alike; None for anything else.

    That is a whole file of three 8-bit components in YCbCr, and nothing that says how it is to be turned.
    """
    if content[:3] != b"\xff\xd8\xff" or b"\xff\xd9" not in content[-_TAIL:]:
        return None
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        body = content[at + 4 : at + 2 + length]
        if marker in _FRAMES:
            return _size(body)
        # Exif may say that the image lies on its side, and Adobe's mark that its components are no YCbCr.
        if (marker == 0xE1 and body[:4] == b"Exif" and _is_turned(body[6:])) or (
            marker == 0xEE and body[:5] == b"Adobe" and body[11:12] != b"\x01"
        ):
            return None
        if marker in (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xDA):
            return None
        at += 2 + length
    return None


def _size(frame: bytes) -> tuple[int, int] | None:
    if len(frame) < 15 or frame[0] != 8 or frame[5] != 3 or frame[6:15:3] == b"RGB":
        return None
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    return (height, width) if height and width else None


def _is_turned(exif: bytes) -> bool:
    """Whether there may be a mark of orientation other than upright."""
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return True

    def number(start: int, length: int) -> int:
        return int.from_bytes(exif[start : start + length], order)  # type: ignore[arg-type]

    first = number(4, 4)
    for entry in range(number(first, 2)):
        place = first + 2 + 12 * entry
        if number(place, 2) == 0x0112:
            return number(place + 8, 2) != 1
    return False
