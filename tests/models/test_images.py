"""Image encoders of each family give what transformers gives, and say which row cannot be read."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import IMAGE_FAMILIES, tiny_image_encoder, tiny_images, tiny_text_encoder
from transformers import AutoConfig, AutoImageProcessor, AutoModel

from asvp.config import EncoderConfig, TrainingConfig
from asvp.data.pixels import Steps
from asvp.errors import DataError, EncoderError
from asvp.models.classifier import Classifier
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint, images
from asvp.models.encoder import encoder as encoder_module
from asvp.models.encoder.augmentation import drawn_numbers
from asvp.models.encoder.gpu_decoding import GpuDecoding
from asvp.models.training import finetune
from asvp.models.training.finetune import fine_tune

IMAGES, LABELS = tiny_images(12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("images")
    return {family: tiny_image_encoder(base / family, family) for family in IMAGE_FAMILIES}


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.load(EncoderConfig(**{"model": str(folder), "pooling": "auto", **options}), "image", device="cpu")


def plain_outputs(folder: Path, encoded: bytes) -> object:
    """One image through transformers' own processor and model."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, config=getattr(config, "vision_config", config)).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    with torch.no_grad():
        return model(**processor(images=[image], return_tensors="pt"))


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_features_equal_transformers_own(folders: dict[str, Path], family: str) -> None:
    encoder = load(folders[family], batch_size=5)
    features = encoder.encode(IMAGES)
    assert features.shape == (12, encoder.dim)
    for row in (0, 7):
        outputs = plain_outputs(folders[family], IMAGES[row])
        expected = outputs.last_hidden_state[0, 0] if family in ("vit", "dinov2") else outputs.pooler_output.flatten()
        np.testing.assert_allclose(features[row], expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("family", "pooling"), [("vit", "cls"), ("dinov2", "cls"), ("clip", "pooler"), ("resnet", "pooler")]
)
def test_pooling_auto_suits_the_family(folders: dict[str, Path], family: str, pooling: str) -> None:
    assert load(folders[family]).pooling == pooling


def test_the_mean_is_over_patches_without_the_class_token(folders: dict[str, Path]) -> None:
    expected = plain_outputs(folders["vit"], IMAGES[0]).last_hidden_state[0, 1:].mean(0)
    np.testing.assert_allclose(load(folders["vit"], pooling="mean").encode(IMAGES[:1])[0], expected, atol=1e-5)


def test_the_mean_of_a_feature_map_is_over_its_places(folders: dict[str, Path]) -> None:
    expected = plain_outputs(folders["resnet"], IMAGES[0]).last_hidden_state[0].mean((1, 2))
    np.testing.assert_allclose(load(folders["resnet"], pooling="mean").encode(IMAGES[:1])[0], expected, atol=1e-5)


def test_long_lists_are_encoded_in_parts_to_the_same(folders: dict[str, Path]) -> None:
    encoder = load(folders["vit"], batch_size=4)
    whole = encoder.encode(IMAGES)
    encoder._part = 4
    np.testing.assert_array_equal(encoder.encode(IMAGES), whole)


def test_colour_modes_and_rotation_marks_are_understood(folders: dict[str, Path]) -> None:
    encoder = load(folders["vit"])
    picture = Image.open(io.BytesIO(IMAGES[0])).convert("RGB")
    variants = []
    for image, kind, options in (
        (picture.convert("L"), "PNG", {}),
        (picture.convert("P"), "GIF", {}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture.transpose(Image.Transpose.ROTATE_90), "PNG", {"exif": _rotated()}),
        (picture, "PNG", {}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        variants.append(buffer.getvalue())
    features = encoder.encode(variants)
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[3], features[4], atol=1e-5)


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_an_unreadable_image_is_named_by_its_row(folders: dict[str, Path]) -> None:
    encoder = load(folders["vit"], batch_size=2)
    broken = [*IMAGES[:5], IMAGES[5][:60], IMAGES[6]]
    with pytest.raises(DataError, match="row 5: is no readable image"):
        encoder.encode(broken)
    encoder._part = 2
    with pytest.raises(DataError, match="row 5: is no readable image"):
        encoder.encode(broken)


def test_a_row_that_holds_no_bytes_is_named(folders: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="row 1: is no encoded image"):
        load(folders["vit"]).encode([IMAGES[0], "cat.jpg"])


def test_fingerprints_are_known_from_files_and_follow_the_processor(folders: dict[str, Path], tmp_path: Path) -> None:
    config = EncoderConfig(model=str(folders["vit"]), pooling="auto")
    first = encoder_spec_fingerprint(config, "image", device="cpu")
    assert first == load(folders["vit"]).fingerprint()
    copy = tiny_image_encoder(tmp_path / "copy", "vit")
    assert load(copy).fingerprint() == first
    processor = copy / "preprocessor_config.json"
    processor.write_text(processor.read_text().replace("{", '{"image_mean": [0.1, 0.1, 0.1], ', 1))
    assert load(copy).fingerprint() != first


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_fine_tuning_learns_and_repeats(folders: dict[str, Path], family: str) -> None:
    results = []
    config = TrainingConfig(epochs=6, lr=1e-3, head_lr=1e-2, batch_size=5, augment=True)
    for _ in range(2):
        encoder = load(folders[family])
        head = fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=config, seed=0)
        results.append(head.weight)
    np.testing.assert_array_equal(results[0], results[1])
    if family == "vit":
        assert (head.probabilities(encoder.encode(IMAGES)).argmax(1) == LABELS).mean() > 0.9


def test_augmentation_follows_the_numbers_of_each_row_alone_and_never_happens_when_scoring(
    folders: dict[str, Path],
) -> None:
    inputs = load(folders["vit"]).inputs
    rows, numbers = np.arange(3), drawn_numbers(3, 0, 0)

    def pixels(chosen: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
        return inputs.collate(IMAGES, chosen, numbers)["pixel_values"].numpy()

    assert pixels(rows, numbers).shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(pixels(rows[::-1], numbers[::-1])[::-1], pixels(rows, numbers))
    np.testing.assert_array_equal(pixels(rows[1:2], numbers[1:2]), pixels(rows, numbers)[1:2])
    assert not np.array_equal(pixels(rows, drawn_numbers(3, 1, 0)), pixels(rows, numbers))
    assert not np.array_equal(pixels(rows), pixels(rows, numbers))
    np.testing.assert_array_equal(pixels(rows), pixels(rows))


def test_each_epoch_augments_a_row_anew_and_alike_in_any_batches(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bytes]] = []
    encoder = load(folders["vit"])
    collate = encoder.inputs.collate

    def watched(examples: Any, positions: np.ndarray, numbers: Any = None, fetched: Any = None) -> Any:
        tensors = collate(examples, positions, numbers, fetched)
        if numbers is not None:
            pixels = tensors["pixel_values"].numpy()
            seen.extend(zip(positions.tolist(), [one.tobytes() for one in pixels], strict=True))
        return tensors

    monkeypatch.setattr(encoder.inputs, "collate", watched)

    def epochs(batch_size: int, seed: int) -> list[dict[int, bytes]]:
        seen.clear()
        config = TrainingConfig(epochs=2, batch_size=batch_size)
        fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=config, seed=seed)
        return [dict(seen[: len(IMAGES)]), dict(seen[len(IMAGES) :])]

    first, second = epochs(4, 0)
    assert first.keys() == second.keys() == set(range(len(IMAGES)))
    assert all(first[row] != second[row] for row in first)
    assert epochs(7, 0) == [first, second]
    assert epochs(4, 1) != [first, second]


@pytest.mark.parametrize(
    ("augment", "by"), [(True, "cpu"), (False, "cpu"), (False, "gpu")], ids=["augmented", "plain", "plain by a GPU"]
)
def test_batches_are_decoded_before_their_step_and_train_to_the_same_weights(
    folders: dict[str, Path], augment: bool, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(epochs=2, lr=1e-3, head_lr=1e-2, batch_size=4, augment=augment)

    def trained() -> tuple[list[str], dict[str, np.ndarray]]:
        encoder, seen = load(folders["vit"]), []
        if by == "gpu":
            # Its pipeline on tensors of the CPU; none of the images is a JPEG.
            encoder.inputs._on_gpu = GpuDecoding(Steps((32, 32), None, 2, None), 32, torch.device("cpu"))
        decoder, second = encoder.inputs._decoder, threading.Event()
        read = decoder.read

        def decoded(*given: object) -> object:
            seen.append("decoded")
            if len(seen) > 1:
                second.set()
            return read(*given)

        def step(done: int, steps: int) -> None:
            if ahead and done == 1:
                # Nobody has asked for it yet.
                assert second.wait(30)
            seen.append("step")

        monkeypatch.setattr(decoder, "read", decoded)
        fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=config, seed=0, on_step=step)
        return seen, encoder.state()

    ahead = True
    _, weights = trained()
    ahead = False
    monkeypatch.setattr(finetune, "ReadAhead", lambda work, jobs, count: map(work, jobs))
    seen, plain = trained()
    assert seen[:4] == ["decoded", "step"] * 2
    assert weights.keys() == plain.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(array, plain[name], err_msg=name)


def test_where_the_features_of_images_go_is_not_sent_to_the_device(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU's copies wait for each other: one behind the forward pass keeps the next images from being decoded."""
    seen: list[torch.Tensor] = []

    def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        seen.append(tensor)
        return tensor

    encoder = load(folders["vit"], batch_size=5)
    expected = encoder.encode(IMAGES)
    monkeypatch.setattr(encoder_module, "sent", sent)
    np.testing.assert_array_equal(encoder.encode(IMAGES), expected)
    assert [tensor.dtype for tensor in seen] == [torch.uint8] * 3
    # Of rows in another order it is: those of texts are sorted by length.
    home = torch.device("cpu")
    assert encoder_module._places(np.array([4, 5, 6]), home) == slice(4, 7)
    for places in ([3, 1, 2], [1, 3], [2, 2]):
        assert encoder_module._places(np.array(places), home).tolist() == places  # type: ignore[union-attr]


def test_without_augmentation_training_sees_the_scored_pixels(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainingConfig(epochs=1, augment=False)
    encoder = load(folders["vit"])
    monkeypatch.setattr(images, "cut", lambda *given: pytest.fail("something was cut out"))
    fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=config, seed=0)


@pytest.mark.parametrize("family", ["vit", "clip"])
def test_a_saved_image_classifier_predicts_identically(folders: dict[str, Path], family: str, tmp_path: Path) -> None:
    encoder = load(folders[family])
    head = fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=TrainingConfig(epochs=1), seed=0)
    classifier = Classifier(encoder, head, ["a", "b", "c"])
    classifier.save(tmp_path)
    again = Classifier.load(tmp_path, device="cpu")
    np.testing.assert_array_equal(again.probabilities(IMAGES), classifier.probabilities(IMAGES))


class TestErrors:
    def test_an_image_model_for_texts(self, folders: dict[str, Path]) -> None:
        with pytest.raises(EncoderError, match="is a model for image, but the rows are texts"):
            check_encoder(EncoderConfig(model=str(folders["vit"])), "text")

    def test_no_image_processor(self, tmp_path: Path) -> None:
        folder = tiny_image_encoder(tmp_path / "vit", "vit")
        (folder / "preprocessor_config.json").unlink()
        with pytest.raises(EncoderError, match=r"preprocessor_config\.json"):
            check_encoder(EncoderConfig(model=str(folder)), "image")

    def test_a_class_token_that_is_not_there(self, folders: dict[str, Path]) -> None:
        with pytest.raises(EncoderError, match=r"encoder\.pooling.*Use pooler"):
            load(folders["convnext"], pooling="cls")

    def test_a_pooler_without_weights(self, tmp_path: Path) -> None:
        from safetensors.numpy import load_file, save_file

        folder = tiny_text_encoder(tmp_path / "text")
        weights = load_file(folder / "model.safetensors")
        kept = {name: array for name, array in weights.items() if "pooler" not in name}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        config = EncoderConfig(model=str(folder), pooling="pooler")
        with pytest.raises(EncoderError, match="Use pooling mean or cls"):
            Encoder.load(config, "text", device="cpu")
        assert np.isfinite(Encoder.load(EncoderConfig(model=str(folder)), "text", device="cpu").encode(["a"])).all()
