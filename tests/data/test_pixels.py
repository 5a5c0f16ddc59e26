"""Images come to a model's size as its own processor brings them there, with Pillow exactly, on tensors nearly."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from asvp.data.decoding import decode_image
from asvp.data.jpeg import plain_jpeg
from asvp.data.pixels import ByProcessor, BySteps, Steps, UnusableError
from asvp.data.tensors import ByTorchvision, MatrixResizing, bring_to_size, tensors_can
from asvp.models.encoder.steps import steps_of

apply = Steps.apply
CROP = {"height": 30, "width": 30}
PROCESSORS = {
    "exact": ("ViTImageProcessorPil", {"size": {"height": 32, "width": 24}}),
    "shortest": (
        "CLIPImageProcessorPil",
        {"size": {"shortest_edge": 32}, "crop_size": CROP, "do_center_crop": True},
    ),
    "crop beyond the image": (
        "CLIPImageProcessorPil",
        {"size": {"shortest_edge": 21}, "crop_size": CROP, "do_center_crop": True},
    ),
    "crop without resizing": (
        "CLIPImageProcessorPil",
        {"do_resize": False, "crop_size": {"height": 29, "width": 40}, "do_center_crop": True},
    ),
    "share": ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 32}}),
    "squeezed": ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 384}}),
    "nearest": ("ViTImageProcessorPil", {"size": {"height": 32, "width": 32}, "resample": 0}),
    "lanczos": ("ViTImageProcessorPil", {"size": {"height": 32, "width": 32}, "resample": 1}),
    "bicubic": ("ViTImageProcessorPil", {"size": {"height": 32, "width": 32}, "resample": 3}),
}


def made(name: str) -> object:
    class_name, settings = PROCESSORS[name]
    return getattr(transformers, class_name)(**settings)


def photograph(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth shapes with some noise on them, as photographs have."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + random.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "part"),
    [((512, 768), 4), ((1024, 1536), 8), ((1016, 1536), 4), ((256, 768), 2), ((254, 768), 1), ((513, 768), 1)],
)
@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.NEAREST])
def test_a_large_jpeg_is_decoded_at_a_fraction_and_gives_nearly_the_same(
    size: tuple[int, int], part: int, resample: Image.Resampling, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photograph(*size)
    steps = Steps(None, 32, int(resample), (32, 32))
    sizes: list[tuple[int, int]] = []
    for turned in (1, 6):
        exif = Image.Exif()
        exif[274] = turned
        content = encoded(image, "JPEG", quality=90, exif=exif)
        whole = steps.apply(decode_image(content))
        monkeypatch.setattr(Steps, "apply", lambda self, found: (sizes.append(found.size), apply(self, found))[1])
        found = BySteps(steps, 32)(content)
        monkeypatch.setattr(Steps, "apply", apply)
        part = 1 if resample == Image.Resampling.NEAREST else part
        assert max(sizes[-1]) == size[1] // part
        difference = np.abs(found.astype(int) - whole)
        assert difference.max() <= (0 if part == 1 else 3)
    png = encoded(image, "PNG")
    np.testing.assert_array_equal(BySteps(steps, 32)(png), steps.apply(decode_image(png)))


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(75, 100), (100, 75), (61, 43), (30, 30), (17, 12), (400, 90)])
def test_known_steps_give_exactly_the_processors_pixels(name: str, size: tuple[int, int]) -> None:
    reference = ByProcessor(made(name), 32)
    steps = steps_of(reference.processor, reference)
    assert steps is not None
    content = encoded(photograph(*size), "PNG")
    np.testing.assert_array_equal(BySteps(steps, 32)(content), reference(content))


def test_a_processor_with_steps_of_its_own_does_them_itself() -> None:
    class Mirroring(transformers.ViTImageProcessorPil):
        def resize(self, image: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
            return super().resize(image, *arguments, **options)[..., ::-1]

    processor = Mirroring(size={"height": 32, "width": 32})
    assert steps_of(processor, ByProcessor(processor, 32)) is None
    assert not tensors_can(None)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(375, 500), (100, 75), (17, 12)])
@pytest.mark.parametrize("resizing", [None, MatrixResizing(torch.device("cpu"))], ids=["interpolate", "matrices"])
def test_tensors_are_within_two_levels_of_pillow(
    name: str, size: tuple[int, int], resizing: MatrixResizing | None
) -> None:
    processor = made(name)
    steps = steps_of(processor, ByProcessor(processor, 32))
    assert steps is not None
    if name in ("nearest", "lanczos"):
        assert not tensors_can(steps)
        return
    image = photograph(*size)
    planes = torch.from_numpy(np.moveaxis(np.array(image), -1, 0).copy())
    several = bring_to_size(torch.stack([planes, planes.flip(0)]), steps, resizing)
    exact = steps.apply(image).astype(int)
    difference = np.abs(several[0].numpy() - exact)
    assert several.shape == (2, *exact.shape)
    assert difference.max() <= 2
    assert difference.mean() < 0.2
    np.testing.assert_array_equal(several[1].numpy(), several[0].flip(0).numpy())


def test_what_torchvision_does_not_decode_has_exactly_the_pixels_of_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(content: bytes) -> torch.Tensor:
        raise RuntimeError("torchvision does not like it")

    monkeypatch.setattr("asvp.data.tensors._decode", refused)
    steps = Steps(None, 32, 3, (32, 32))
    image = photograph(75, 100)
    exif = Image.Exif()
    exif[274] = 6
    for content in (encoded(image, "PNG"), encoded(image.convert("L"), "JPEG"), encoded(image, "JPEG", exif=exif),
                    encoded(image, "JPEG")):  # fmt: skip
        np.testing.assert_array_equal(ByTorchvision(steps, 32)(content), BySteps(steps, 32)(content))


def test_an_image_far_too_long_is_refused() -> None:
    with pytest.raises(UnusableError) as caught:
        BySteps(Steps(None, 224, 2, (224, 224)), 224)(encoded(Image.new("RGB", (4000, 2)), "PNG"))
    assert "4000 x 2 pixels: its long side is 2,000 times" in caught.value.message


class TestPlainJpeg:
    def test_its_size_is_read(self) -> None:
        for options in ({}, {"progressive": True}, {"subsampling": 0}, {"quality": 30, "optimize": True}):
            assert plain_jpeg(encoded(photograph(37, 51), "JPEG", **options)) == (37, 51)

    @pytest.mark.parametrize("turn", [1, 6])
    def test_a_turned_one_is_left_to_pillow(self, turn: int) -> None:
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "maker", turn
        assert plain_jpeg(encoded(photograph(37, 51), "JPEG", exif=exif)) == ((37, 51) if turn == 1 else None)

    def test_other_colours_and_other_files_are_left_to_pillow(self) -> None:
        image = photograph(37, 51)
        whole = encoded(image, "JPEG")
        others = [
            encoded(image.convert("L"), "JPEG"),
            encoded(image.convert("CMYK"), "JPEG"),
            encoded(image, "JPEG", keep_rgb=True),
            encoded(image, "PNG"),
            whole[:-40],
            whole[:100],
            b"\xff\xd8\xff",
            b"",
        ]
        assert [plain_jpeg(other) for other in others] == [None] * len(others)
