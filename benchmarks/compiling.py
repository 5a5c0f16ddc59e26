"""What torch.compile makes of the forward pass of extractions (`encoder.compile`), and what it takes.

    python benchmarks/compiling.py
    python benchmarks/compiling.py --tiny                # tiny models, to see whether it works

Models have random weights and the sizes of MiniLM and ViT-S/16. A batch's milliseconds are those of `Encoder.encode`,
tokenising and decoding included; both ways take turns. The seconds are those of the first load on a machine, with an
empty cache of PyTorch's compiler.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import click
from sweep_measure import finish, machine
from throughput import SIZES, TINY
from throughput import _checkpoint as write_text_model
from throughput_images import TINY as TINY_IMAGES
from throughput_images import _write_model as write_image_model
from throughput_images import make_jpegs

VIT_S = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
SHAPES = ((64, 8), (64, 12), (61, 20), (33, 40))
"""Rows and tokens of the batches of texts; auto cuts such ones for a CPU."""


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--out", type=click.Path(path_type=Path), help="File for everything measured, as JSON.")
@click.option("--tiny", is_flag=True, help="Tiny models and one repeat.")
@click.option("--threads", default=len(os.sched_getaffinity(0)), help="Of the forward pass.")
@click.option("--repeats", default=15, help="Of each batch; the median counts.")
def main(out: Path | None, tiny: bool, threads: int, repeats: int) -> None:
    import torch

    torch.set_num_threads(threads)
    told: dict[str, Any] = {"machine": machine(), "threads": threads, "models": []}
    with tempfile.TemporaryDirectory(prefix="asvp-bench-", ignore_cleanup_errors=True) as name:
        base = Path(name)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(base / "compiler")
        text = write_text_model(base / "text", (TINY["models"] if tiny else SIZES)["minilm"])
        image = base / "image"
        write_image_model(image, TINY_IMAGES["model"] if tiny else VIT_S)
        jpegs = make_jpegs(32, *TINY_IMAGES["image"] if tiny else (375, 500))
        batches: dict[str, list[Any]] = {f"{rows} x {tokens}": _texts(rows, tokens) for rows, tokens in SHAPES}
        for kind, folder, some in (("text", text, batches), ("image", image, {"32 images": jpegs})):
            for dtype in ("bfloat16", "float32"):
                told["models"].append(measured(kind, folder, dtype, some, 1 if tiny else repeats))
    finish("Compiling", told, _rows(told), out)


def measured(kind: str, folder: Path, dtype: str, batches: dict[str, list[Any]], repeats: int) -> dict[str, Any]:
    """Milliseconds of batches with the model as it is and compiled, and the seconds until there was a compiled one."""
    from asvp.config import EncoderConfig
    from asvp.models.encoder import Encoder

    encoders, seconds = {}, {}
    for compiled in (False, True):
        config = EncoderConfig(model=str(folder), dtype=dtype, compile=compiled, decode="pil")  # type: ignore[arg-type]
        began = time.perf_counter()
        encoders[compiled] = Encoder.load(config, kind)  # type: ignore[arg-type]
        for rows in batches.values():
            encoders[compiled].encode(rows)
        seconds[compiled] = time.perf_counter() - began
    taken: dict[str, dict[bool, list[float]]] = {name: {False: [], True: []} for name in batches}
    for _ in range(repeats):
        for name, rows in batches.items():
            for compiled, encoder in encoders.items():
                began = time.perf_counter()
                encoder.encode(rows)
                taken[name][compiled].append(1000 * (time.perf_counter() - began))
    return {
        "kind": kind,
        "dtype": dtype,
        "seconds": seconds[True] - seconds[False],
        "batches": {
            name: {"as_it_is": statistics.median(found[False]), "compiled": statistics.median(found[True])}
            for name, found in taken.items()
        },
    }


def _texts(rows: int, tokens: int) -> list[str]:
    """Texts of so many tokens, the two around them included, no two alike."""
    words = ("time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world", "school")
    return [" ".join(words[(row + place) % len(words)] for place in range(tokens - 2)) for row in range(rows)]


def _rows(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for model in told["models"]:
        rows.append((f"{model['kind']}, {model['dtype']}: seconds to compile", f"{model['seconds']:.0f}", ""))
        for name, found in model["batches"].items():
            ways = f"{found['as_it_is']:.1f} / {found['compiled']:.1f}"
            rows.append((f"  {name}: ms as it is / compiled", ways, ""))
            rows.append(("  times as fast", f"{found['as_it_is'] / found['compiled']:.2f}", ""))
    return rows


if __name__ == "__main__":
    main()
