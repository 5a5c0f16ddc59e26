"""From the bytes of an encoded image to its pixels as RGB: the one place where Pillow meets bytes from outside."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

DECODING = "rgb-3"
"""Changes whenever the same bytes give other pixels than before; features are kept under a key that holds it."""

MOST_PIXELS = 89_478_485
"""Of one image: Pillow warns from there on that a small file may have been made to fill the memory."""
_TOO_MANY = f"more than the {MOST_PIXELS:,} that are decoded"
_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
_WHITE_IS_ZERO = 0
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableError(Exception):
    """Bytes that are no image, or one whose pixels cannot be told; the text says why, in one line."""


def decode_image(content: bytes, *, near: int | None = None, even: bool = False) -> Image.Image:
    """An encoded image as 8-bit RGB, turned upright, the full range of its own mode mapped to 0..255.

    Grey of 9 to 16 bits is scaled by its bits, floating-point grey by 255 (its values must lie in 0..1), transparent
    pixels are laid on white, and of several frames the first counts.

    Parameters
    ----------
    content : bytes
        A file in any format that Pillow reads by itself (Encapsulated PostScript needs another program).
    near : int, optional
        Pixels of a side that are enough: a large JPEG is then decoded at a half, a quarter or an eighth of its size,
        which is faster.
    even : bool
        Only where both sides can be divided so, so that every pixel stands for as many of the whole image.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    UndecodableError
        Whatever is wrong with the bytes.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.format == "EPS":
                raise UndecodableError("Encapsulated PostScript is a program, not an image")
            check_pixels(*opened.size)
            if near is not None:
                opened.draft(None, _enough(*opened.size, near) if even else (near, near))
            opened.load()
            # Icons, and animations, may turn out larger than their first lines say.
            check_pixels(*opened.size)
            image = _as_rgb(opened)
            # The tag alone is read: Pillow's own turning also writes the tags anew, which damaged ones do not survive.
            turn = _UPRIGHT.get(opened.getexif().get(_ORIENTATION, 1))
            return image if turn is None else image.transpose(turn)
    except UndecodableError:
        raise
    except UnidentifiedImageError:
        raise UndecodableError(_what_else(content)) from None
    except Image.DecompressionBombError:
        raise UndecodableError(f"its pixels are far {_TOO_MANY}") from None
    except MemoryError:
        raise UndecodableError("its pixels do not fit into memory") from None
    except Exception as error:
        # On damaged bytes Pillow's readers fail in any way: struct.error, KeyError, ZeroDivisionError, ...
        text = (str(error).splitlines() or [""])[0].rstrip(".")
        raise UndecodableError(f"{type(error).__name__}: {text}" if text else type(error).__name__) from None


def _enough(width: int, height: int, near: int) -> tuple[int, int]:
    """The smallest even fraction of a size whose short side is enough."""
    fits = (part for part in (8, 4, 2) if not (width % part or height % part) and min(width, height) // part >= near)
    part = next(fits, 1)
    return width // part, height // part


def check_pixels(width: int, height: int) -> None:
    """Raise an UndecodableError for an image of so many pixels that it is taken for a bomb."""
    if width * height > MOST_PIXELS:
        raise UndecodableError(f"its {width:,} x {height:,} pixels are {_TOO_MANY}")


def _as_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise UndecodableError("it has no pixels")
    if image.mode in _DEEP_GREY or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_deep_grey(image)
    if image.mode == "F":
        return _from_floats(image)
    if image.mode == "I":
        raise UndecodableError("32-bit or signed whole numbers have no known range: store 8 or 16 bits without a sign")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image)
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of up to 16 bits; Pillow itself would clip it at 255."""
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    highest = 2 ** int(bits[0] if isinstance(bits, tuple) else bits) - 1
    stored = np.asarray(image).astype(np.int64)
    if stored.min() < 0 or stored.max() > highest:
        raise UndecodableError(f"its values reach from {stored.min()} to {stored.max()}, not within 0 and {highest}")
    grey = (stored * 255 + highest // 2) // highest
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    if isinstance(image.info.get("transparency"), int):
        grey[stored == image.info["transparency"]] = 255
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _from_floats(image: Image.Image) -> Image.Image:
    stored = np.asarray(image, dtype=np.float64)
    if not np.isfinite(stored).all() or stored.min() < 0 or stored.max() > 1:
        reach = f"{stored.min():g} to {stored.max():g}"
        raise UndecodableError(f"floating-point values from {reach} have no known range: scale them to 0..1")
    grey = np.rint(stored * 255)
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """What a viewer shows: the colour stored under transparent pixels is arbitrary, often that of the drawing."""
    if image.mode in ("La", "RGBa"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _what_else(content: bytes) -> str:
    """What bytes that no reader of Pillow knows seem to be."""
    if not content:
        return "it is empty"
    head = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    known: list[tuple[Callable[[bytes], bool], str]] = [
        (lambda start: start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")), "it is a web page (HTML)"),
        (lambda start: b"<svg" in start, "it is an SVG drawing, not pixels"),
        (lambda start: start.startswith(b"<"), "it is XML or HTML"),
        (lambda start: start.startswith(b"version https://git-lfs"), "it is a Git LFS pointer, not the file itself"),
        (lambda start: start.startswith(b"%pdf"), "it is a PDF document"),
        (lambda start: start[4:8] == b"ftyp", "it is HEIF or video, which Pillow does not read"),
    ]
    for fits, what in known:
        if fits(head):
            return what
    return f"no format that Pillow knows begins with {content[:12]!r}"
