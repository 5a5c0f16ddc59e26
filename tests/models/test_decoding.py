"""Images are decoded in processes to the same, and none of these outlives who started it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import tiny_image_encoder, tiny_images
from tiny_runs import wait_until
from transformers import ViTImageProcessorPil

from asvp.config import EncoderConfig
from asvp.data.decoding import decode_image
from asvp.data.pixels import ByProcessor, BySteps, Canvas, Steps, UnusableError
from asvp.data.shared_memory import stacked
from asvp.errors import DataError, DeviceMemoryError, EncoderError, WorkError
from asvp.models.encoder import Encoder, decoding, gpu_decoding
from asvp.models.encoder.decoding import Decoder, decide_way
from asvp.models.encoder.gpu_decoding import GpuDecoding
from asvp.models.encoder.processes import ReadingProcesses

IMAGES, _ = tiny_images(40)
STEPS = Steps((32, 24), None, 2, None)
READERS = {"scored": BySteps(STEPS, 32), "canvas": Canvas(32)}
ROOMS = {"scored": 3 * 32 * 24, "canvas": 3 * 40 * 64}
"""Not all canvases fit."""
BROKEN = IMAGES[3][:60]


def read_often(decoder: Decoder) -> None:
    for _ in range(20):
        decoder.read("scored", IMAGES, 2)


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image_encoder(tmp_path_factory.mktemp("decoding") / "vit")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("rooms", [{}, ROOMS], ids=["lines", "memory"])
def test_processes_give_the_same_pixels_in_order(count: int, rooms: dict[str, int]) -> None:
    processes = ReadingProcesses(READERS, count, rooms=rooms)
    for name in READERS:
        found = processes.read(name, [*IMAGES, BROKEN])
        for content, pixels in zip(IMAGES, found[:-1], strict=True):
            np.testing.assert_array_equal(pixels, READERS[name](content))
        assert isinstance(found[-1], UnusableError)
        assert found[-1].message.startswith("is no readable image")
    processes.close()


def test_pixels_in_shared_memory_are_a_batch_without_a_copy_and_stay_as_long_as_somebody_has_them() -> None:
    processes = ReadingProcesses(READERS, 2, rooms=ROOMS)
    assert not any(isinstance(one, UnusableError) for one in processes.read("scored", IMAGES))
    batches = [stacked(processes.read("scored", IMAGES[start : start + 9])) for start in (0, 9, 18)]
    places = {batch.__array_interface__["data"][0] for batch in batches}
    # What the first reading took is free again.
    assert len(places) == 3
    for start, batch in zip((0, 9, 18), batches, strict=True):
        np.testing.assert_array_equal(batch, [READERS["scored"](one) for one in IMAGES[start : start + 9]])
    kept = torch.from_numpy(batches.pop())
    expected = kept.clone()
    batches.clear()
    for _ in range(5):
        again = processes.read("scored", IMAGES[:9])
        assert np.shares_memory(stacked(again), again[0])
        assert stacked(again).__array_interface__["data"][0] in places - {kept.data_ptr()}
        del again
    processes.close()
    del processes
    assert torch.equal(kept, expected)
    # Whatever does not lie side by side is put there.
    both = stacked([np.zeros((3, 2), np.uint8), np.ones((3, 2), np.uint8)])
    assert both.sum(axis=(1, 2)).tolist() == [0, 6]
    flat = np.arange(12, dtype=np.uint8)
    for rows in ([2, 0], [0, 1, 2], [1, 2]):
        several = flat.reshape(3, 4) if 0 in rows else flat.copy().reshape(3, 4)
        np.testing.assert_array_equal(stacked([several[row] for row in rows]), several[rows])
        np.testing.assert_array_equal(stacked([several[row, ::2] for row in rows]), several[rows, ::2])


def test_where_memory_cannot_be_shared_pixels_come_over_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    processes = ReadingProcesses(READERS, 1, rooms=ROOMS)
    for content, pixels in zip(IMAGES, processes.read("scored", IMAGES), strict=True):
        np.testing.assert_array_equal(pixels, READERS["scored"](content))
    processes.close()


def test_an_image_processor_travels_to_the_processes() -> None:
    reader = ByProcessor(ViTImageProcessorPil(size={"height": 32, "width": 32}), 32)
    processes = ReadingProcesses({"scored": reader}, 1)
    np.testing.assert_array_equal(processes.read("scored", IMAGES[:1])[0], reader(IMAGES[0]))
    processes.close()


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_is_an_error_and_the_next_batch_has_new_ones(
    sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_WORTH", 0)
    decoder = Decoder(READERS, ROOMS)
    decoder.read("scored", IMAGES, 2)
    first = decoder.processes.current
    assert first is not None
    wait_until(lambda: first.ready)
    os.kill(first.numbers[1], sent)
    with pytest.raises(WorkError, match=f"decodes images ended by itself: signal {int(sent)}"):
        read_often(decoder)
    assert len(decoder.read("scored", IMAGES, 2)) == len(IMAGES)
    second = decoder.processes.current
    assert second is not None
    assert second is not first
    wait_until(lambda: second.ready)
    assert isinstance(decoder.read("scored", [*IMAGES, BROKEN], 2)[-1], UnusableError)


def test_processes_end_with_who_holds_them() -> None:
    processes = ReadingProcesses(READERS, 2)
    assert len(processes.read("scored", IMAGES)) == len(IMAGES)
    numbers = processes.numbers
    assert all(is_running(number) for number in numbers)
    del processes
    wait_until(lambda: not any(is_running(number) for number in numbers))


@pytest.mark.parametrize("busy", [True, False])
def test_processes_end_when_who_started_them_is_killed(busy: bool, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time\n"
        "from asvp.data.pixels import Canvas\n"
        "from asvp.models.encoder.processes import ReadingProcesses\n"
        "processes = ReadingProcesses({'canvas': Canvas(32)}, 2)\n"
        "content = open(sys.argv[1], 'rb').read()\n"
        "processes.read('canvas', [content])\n"
        "print(*processes.numbers, flush=True)\n"
        f"while {busy}: processes.read('canvas', [content] * 64)\n"
        "time.sleep(60)\n"
    )
    Image.fromarray(np.zeros((600, 800, 3), np.uint8)).save(tmp_path / "image.jpg")
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "image.jpg")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    numbers = [int(part) for part in parent.stdout.readline().split()]
    assert len(numbers) == 2
    assert all(is_running(number) for number in numbers)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(number) for number in numbers))


def test_features_are_the_same_with_processes_and_without(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EncoderConfig(model=str(folder), pooling="auto", batch_size=8)
    alone = Encoder.load(config, "image", device="cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    expected = alone.encode(IMAGES)
    assert alone.inputs._decoder.processes.current is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(decoding, "_WORTH", 8)
    encoder = Encoder.load(config, "image", device="cpu")
    # The first batches are decoded by threads, while the processes start.
    np.testing.assert_array_equal(encoder.encode(IMAGES), expected)
    processes = encoder.inputs._decoder.processes.current
    assert processes is not None
    assert processes.count == 3
    wait_until(lambda: processes.ready)
    np.testing.assert_array_equal(encoder.encode(IMAGES), expected)
    with pytest.raises(DataError, match="row 33: is no readable image"):
        encoder.encode([*IMAGES[:33], BROKEN, *IMAGES[33:]])


class TestWays:
    def test_auto_is_pil_on_a_cpu(self, folder: Path) -> None:
        assert decide_way("auto", STEPS, torch.device("cpu")) == "pil"
        assert Encoder.load(EncoderConfig(model=str(folder)), "image", device="cpu").inputs.way == "pil"

    def test_auto_is_gpu_where_the_gpu_decodes_and_the_steps_are_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cuda = torch.device("cuda")
        monkeypatch.setattr(decoding, "trouble", lambda way, device: None)
        assert decide_way("auto", STEPS, cuda) == "gpu"
        assert decide_way("auto", None, cuda) == "pil"
        monkeypatch.setattr(decoding, "trouble", lambda way, device: "no nvjpeg")
        assert decide_way("auto", STEPS, cuda) == "pil"

    def test_what_is_asked_for_and_not_possible_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cpu = torch.device("cpu")
        with pytest.raises(EncoderError, match=r"encoder\.decode.*needs an NVIDIA GPU"):
            decide_way("gpu", STEPS, cpu)
        with pytest.raises(EncoderError, match=r"encoder\.decode.*only it can take"):
            decide_way("torchvision", None, cpu)
        monkeypatch.setattr(decoding, "trouble", lambda way, device: "operator torchvision::nms does not exist")
        with pytest.raises(EncoderError, match=r"encoder\.decode.*nms does not exist.*asvp\[torchvision\]"):
            decide_way("torchvision", STEPS, cpu)


class TestOnADevice:
    """The GPU's pipeline on tensors of the CPU, with Pillow as its decoder."""

    def decoding(self, seen: list[int] | None = None) -> GpuDecoding:
        def decode(encoded: list[torch.Tensor]) -> list[torch.Tensor]:
            if seen is not None:
                seen.append(len(encoded))
            if any(len(one) % 2 and self.refuses for one in encoded):
                raise RuntimeError("nvjpeg does not like one of them")
            return [torch.from_numpy(whole_pixels(bytes(one.numpy()))) for one in encoded]

        return GpuDecoding(STEPS, 32, torch.device("cpu"), decode)

    refuses = False

    def on_cpu(self, contents: list[bytes]) -> list[object]:
        return Decoder(READERS, ROOMS).read("scored", contents, 1)

    def test_rows_keep_their_order_whoever_decodes_them(self) -> None:
        jpegs = [_jpeg(number, 40 + number % 3, 50) for number in range(9)]
        mixed = [one for pair in zip(jpegs, IMAGES, strict=False) for one in pair]
        found = self.decoding()(mixed, self.on_cpu)
        assert isinstance(found, torch.Tensor)
        assert found.shape == (18, 3, 32, 24)
        assert found.dtype == torch.uint8
        for content, pixels in zip(mixed, found, strict=True):
            assert np.abs(pixels.numpy().astype(int) - BySteps(STEPS, 32)(content)).max() <= 2

    def test_what_the_gpu_refuses_goes_to_pillow_and_leaves_the_others_alone(self) -> None:
        jpegs = [_jpeg(number, 40, 50) for number in range(8)]
        whole = self.decoding()(jpegs, self.on_cpu)
        self.refuses = True
        found = self.decoding()(jpegs, self.on_cpu)
        refused = [len(jpeg) % 2 == 1 for jpeg in jpegs]
        assert 0 < sum(refused) < len(jpegs)
        for jpeg, one, pixels, before in zip(jpegs, refused, found, whole, strict=True):
            np.testing.assert_array_equal(pixels, BySteps(STEPS, 32)(jpeg) if one else before)

    def test_no_more_pixels_are_decoded_at_once_than_there_is_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        jpegs = [_jpeg(number, 40, 50) for number in range(8)]
        whole = self.decoding()(jpegs, self.on_cpu)
        monkeypatch.setattr(gpu_decoding, "_PIXELS_AT_ONCE", 3 * 40 * 50)
        seen: list[int] = []
        assert torch.equal(self.decoding(seen)(jpegs, self.on_cpu), whole)
        assert seen == [3, 3, 2]

    def test_images_of_one_size_are_resized_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        jpegs = [_jpeg(number, 30 + 10 * (number % 2), 50) for number in range(7)]
        seen: list[int] = []
        resize = gpu_decoding.bring_to_size
        monkeypatch.setattr(
            gpu_decoding, "bring_to_size", lambda images, *more: (seen.append(len(images)), resize(images, *more))[1]
        )
        self.decoding()([*jpegs, _png(0, 40, 50)], self.on_cpu)
        assert seen == [4, 3]

    def test_what_is_no_jpeg_has_exactly_the_pixels_of_pillow(self) -> None:
        pngs = [_png(number, 30 + 10 * (number % 2), 50) for number in range(5)]
        mixed = [one for number, png in enumerate(pngs) for one in (_jpeg(number, 40, 50), png)]
        found = self.decoding()(mixed, self.on_cpu)
        for png, pixels in zip(pngs, found[1::2], strict=True):
            np.testing.assert_array_equal(pixels.numpy(), BySteps(STEPS, 32)(png))

    @pytest.mark.parametrize("room", [1, 1 << 26])
    def test_the_first_of_several_rows_that_are_no_images_is_named(
        self, room: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gpu_decoding, "_PIXELS_AT_ONCE", room)
        rows = [_jpeg(0, 40, 50), IMAGES[0], b"first", IMAGES[1], BROKEN, b""]
        found = self.decoding()(rows, self.on_cpu)
        assert isinstance(found, tuple)
        assert found[0] == 2
        assert "first" in found[1].message

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            RuntimeError("Error while decoding JPEG images: Failed to decode batch: 5"),
        ],
        ids=["of the allocator", "of nvJPEG"],
    )
    def test_jpegs_that_do_not_fit_together_are_decoded_in_halves_to_equal_pixels(self, error: Exception) -> None:
        jpegs = [_jpeg(number, 40, 50) for number in range(9)]
        whole = self.decoding()(jpegs, self.on_cpu)
        seen: list[int] = []
        decode = self.decoding()._decode

        def limited(encoded: list[torch.Tensor]) -> list[torch.Tensor]:
            seen.append(len(encoded))
            if len(encoded) > 2:
                raise error
            return decode(encoded)

        halved = GpuDecoding(STEPS, 32, torch.device("cpu"), limited)
        assert torch.equal(halved(jpegs, lambda others: pytest.fail("Pillow was asked")), whole)
        assert seen == [9, 4, 2, 2, 5, 2, 3, 1, 2]

    def test_images_that_do_not_fit_while_they_are_resized_are_resized_in_halves(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mixed = [one for number in range(5) for one in (_jpeg(number, 40, 50), _png(number, 40, 50))]
        whole = self.decoding()(mixed, self.on_cpu)
        resize = gpu_decoding.bring_to_size

        def limited(images: torch.Tensor, *more: object) -> torch.Tensor:
            if len(images) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return resize(images, *more)

        monkeypatch.setattr(gpu_decoding, "bring_to_size", limited)
        assert torch.equal(self.decoding()(mixed, self.on_cpu), whole)

    def test_a_row_that_does_not_fit_alone_names_the_batch_size(self, folder: Path) -> None:
        def full(encoded: list[torch.Tensor]) -> list[torch.Tensor]:
            raise RuntimeError("Error while decoding JPEG images: CUDA out of memory. Tried to allocate 2.00 GiB")

        config = EncoderConfig(model=str(folder), pooling="auto", batch_size=4)
        encoder = Encoder.load(config, "image", device="cpu")
        encoder.inputs._on_gpu = GpuDecoding(STEPS, 32, torch.device("cpu"), full)
        with pytest.raises(DeviceMemoryError, match=r"encoder\.batch_size: .*not even for one row .*\(got 4\)"):
            encoder.encode([_jpeg(0, 40, 50)])

    def test_a_row_that_nobody_can_decode_is_named(self) -> None:
        found = self.decoding()([_jpeg(0, 40, 50), IMAGES[0], BROKEN], self.on_cpu)
        assert not isinstance(found, torch.Tensor)
        assert found[0] == 2
        assert "no readable image" in found[1].message


def whole_pixels(content: bytes) -> np.ndarray:
    """All pixels of an image, (3, h, w)."""
    return np.moveaxis(np.array(decode_image(content)), -1, 0).copy()


def _jpeg(seed: int, height: int, width: int, kind: str = "JPEG") -> bytes:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def _png(seed: int, height: int, width: int) -> bytes:
    return _jpeg(seed, height, width, "PNG")


@pytest.mark.parametrize("way", ["torchvision", "gpu"])
def test_other_ways_are_near_to_pillow(way: str, folder: Path) -> None:
    device = "cuda" if way == "gpu" else "cpu"
    if (way == "gpu" and not torch.cuda.is_available()) or decoding.trouble("gpu" if way == "gpu" else way, device):
        pytest.skip(f"torchvision does not decode JPEGs on {device} here")
    rows = [*[_jpeg(number, 90, 120) for number in range(6)], *IMAGES[:2]]
    pixels = {}
    for name in ("pil", way):
        encoder = Encoder.load(EncoderConfig(model=str(folder), pooling="auto", decode=name), "image", device=device)
        pixels[name] = encoder.inputs.collate(rows, np.arange(8))["pixel_values"].cpu().numpy().astype(int)
    difference = np.abs(pixels["pil"] - pixels[way])
    assert difference[6:].max() == 0
    assert difference[:6].mean() < (2 if way == "gpu" else 0.5)
