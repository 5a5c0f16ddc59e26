"""The range and mode of an image survive as RGB, or it is refused in words."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from asvp.data.decoding import UndecodableError, decode_image

RAMP = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)


def encoded(image: Image.Image, format: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def decoded(content: bytes) -> np.ndarray:
    image = decode_image(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def as_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_keeps_its_whole_range(format):
    image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    assert image.mode == "I;16"
    np.testing.assert_array_equal(decoded(encoded(image, format)), as_grey(RAMP))


def test_big_endian_and_inverted_sixteen_bit_tiff():
    swapped = Image.frombytes("I;16B", (8, 8), (RAMP.astype(">u2") * 257).astype(">u2").tobytes())
    np.testing.assert_array_equal(decoded(encoded(swapped, "TIFF")), as_grey(RAMP))
    inverted = encoded(Image.fromarray(RAMP.astype(np.uint16) * 257), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(decoded(inverted), as_grey(255 - RAMP))


def test_floating_point_grey_counts_from_0_to_1_and_is_refused_beyond():
    image = Image.fromarray(RAMP.astype(np.float32) / 255)
    np.testing.assert_array_equal(decoded(encoded(image, "TIFF")), as_grey(RAMP))
    for values in (RAMP.astype(np.float32), RAMP - np.float32(1), np.full((8, 8), np.nan, np.float32)):
        with pytest.raises(UndecodableError, match=r"scale them to 0\.\.1"):
            decode_image(encoded(Image.fromarray(values), "TIFF"))


def test_whole_numbers_without_a_known_range_are_refused():
    with pytest.raises(UndecodableError, match="no known range"):
        decode_image(encoded(Image.fromarray(RAMP.astype(np.int32) * 1000), "TIFF"))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_shows_the_picture_it_was_made_of(mode):
    values = np.where(RAMP > 127, 255, 0).astype(np.uint8) if mode == "1" else RAMP
    picture = Image.fromarray(as_grey(values))
    format = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    stored = picture.quantize(64) if mode == "P" else picture.convert(mode)
    shown = decoded(encoded(stored, format))
    np.testing.assert_allclose(shown.astype(int), as_grey(values).astype(int), atol=3 if mode in ("P", "YCbCr") else 0)


def test_transparent_pixels_show_white_whatever_colour_is_stored_under_them():
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    expected = np.full((4, 4, 3), 255, np.uint8)
    expected[1, 1] = 0
    np.testing.assert_array_equal(decoded(encoded(image)), expected)
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    assert decoded(encoded(palette, transparency=0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]
    assert decoded(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), transparency=(9, 8, 7))).tolist() == [[[255] * 3]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_as_pillow_does_it(orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(as_grey(RAMP)[:, :5]), exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(decoded(content), expected)


def jpeg_with_exif(exif: bytes) -> bytes:
    return encoded(Image.fromarray(as_grey(RAMP)[:, :5]), "JPEG", exif=exif)


def test_damaged_exif_does_not_hide_the_orientation():
    # Orientation 6, then a rational whose value lies beyond the end of the data.
    entries = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00" + b"\x1a\x01\x05\x00\x01\x00\x00\x00\xff\xff\x00\x00"
    damaged = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x02\x00" + entries + b"\x00\x00\x00\x00"
    assert decoded(jpeg_with_exif(damaged)).shape == (5, 8, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><title>404</title>", "web page"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"no image", "b'no image'"),
        (encoded(Image.new("RGB", (40, 40)))[:60], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "PostScript"),
    ],
)
def test_what_is_no_image_is_said_in_one_line(content, reason):
    with pytest.raises(UndecodableError, match=reason) as caught:
        decode_image(content)
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)


FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "ICO"]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_images_are_decoded_or_refused_and_nothing_else(data):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    content = bytearray(encoded(image, data.draw(st.sampled_from(FORMATS))))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    with suppress(UndecodableError):
        decoded(bytes(content))
