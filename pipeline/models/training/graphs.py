"""Steps of a fine-tune recorded as CUDA graphs: launched at once, not kernel by kernel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asvp.data.tokens import Tokens
from asvp.models.failures import device_out_of_memory

Step = Callable[[dict[str, Tensor], Tensor], Tensor]
"""A training step: a batch's inputs and targets, on the device; its loss, which nobody has to wait for."""

_QUANTUM = 16
"""Rows are padded to a multiple of so many tokens, so that few lengths occur."""
_WORTH_IT = 16
"""Steps of one shape from which recording it, which takes as long as some ten of them, pays."""
_MOST = 1 << 26
"""Numbers that all rows, padded, may have on the device."""


@dataclass(frozen=True)
class _Recorded:
    """A graph, the tensors it reads, and the one it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: dict[str, Tensor]
    targets: Tensor
    loss: Tensor


class StepGraphs:
    """The steps that are replayed.

    A step of a small encoder on a GPU is a thousand launches of kernels that take microseconds each: the GPU waits for
    Python. A graph is launched whole. Dropout draws on from the generator of the device, whatever is replayed, so equal
    seeds give equal weights on one kind of device.

    Parameters
    ----------
    step : callable
        Draws no other random numbers than the device's, and looks at no number on the CPU.
    model : nn.Module
        What the step trains, the head included.
    optimiser : torch.optim.Optimizer
        `capturable`, with a tensor for each rate.
    examples : Tokens
        N rows.
    labels : Tensor
        (N,) int64, on the device.
    fill : int
        The padding token.
    longest : int
        Tokens that a row may have, with padding.
    """

    def __init__(
        self,
        step: Step,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        examples: Tokens,
        labels: Tensor,
        fill: int,
        longest: int,
    ) -> None:
        self._step = step
        self._model = model
        self._optimiser = optimiser
        self._lengths = examples.lengths
        self._labels = labels
        self._longest = longest
        width = self._width(examples.lengths)
        tokens, mask = examples.padded(np.arange(len(examples)), fill)
        short = width - tokens.shape[1]
        self._rows = {
            "input_ids": nn.functional.pad(torch.from_numpy(tokens), (0, short), value=fill).to(labels.device),
            "attention_mask": nn.functional.pad(torch.from_numpy(mask), (0, short)).to(labels.device),
        }
        self._recorded: dict[tuple[int, int], _Recorded] = {}

    @staticmethod
    def fit(examples: Tokens) -> bool:
        """Whether all rows, padded, may lie on the device."""
        return len(examples) * (int(examples.lengths.max()) + _QUANTUM) <= _MOST

    def record(self, batches: Sequence[np.ndarray]) -> None:
        """Record the shapes that occur often in these steps. Weights, gradients and random numbers stay as they are."""
        counted = Counter(self._shape(rows) for rows in batches)
        often = sorted((shape for shape, times in counted.items() if times >= _WORTH_IT), reverse=True)
        if not often:
            return
        pool = torch.cuda.graph_pool_handle()
        with _unchanged(self._model, self._optimiser, self._labels.device):
            for shape in often:
                self._recorded[shape] = self._record(shape, pool)

    def run(self, rows: np.ndarray, chosen: Tensor) -> Tensor | None:
        """The loss of a step that was recorded; None, and nothing done, for another shape.

        Parameters
        ----------
        rows : np.ndarray
            Numbers of the batch's rows.
        chosen : Tensor
            The same, on the device.
        """
        shape = self._shape(rows)
        recorded = self._recorded.get(shape)
        if recorded is None:
            return None
        for name, tensor in recorded.inputs.items():
            tensor.copy_(self._rows[name][chosen, : shape[1]])
        recorded.targets.copy_(self._labels[chosen])
        recorded.graph.replay()
        return recorded.loss.clone()

    def _shape(self, rows: np.ndarray) -> tuple[int, int]:
        return len(rows), self._width(self._lengths[rows])

    def _width(self, lengths: np.ndarray) -> int:
        """Tokens that rows are padded to."""
        return min(-(-int(lengths.max()) // _QUANTUM) * _QUANTUM, self._longest)

    def _record(self, shape: tuple[int, int], pool: Any) -> _Recorded:
        rows, width = shape
        inputs = {name: tensor[:1, :width].expand(rows, -1).clone() for name, tensor in self._rows.items()}
        targets = self._labels[:1].expand(rows).clone()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            # What libraries set up at their first call must not be part of the graph.
            for _ in range(2):
                self._step(inputs, targets)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process may use the device meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            loss = self._step(inputs, targets)
        return _Recorded(graph, inputs, targets, loss)


def step_graphs(graphs: StepGraphs, batches: Sequence[np.ndarray]) -> StepGraphs | None:
    """The graphs with their steps recorded; None for a model that cannot be, which is then trained step by step.

    Raises
    ------
    torch.OutOfMemoryError
        As in any other step.
    """
    try:
        graphs.record(batches)
    except RuntimeError as error:
        if device_out_of_memory(error):
            raise
        # Some models look at numbers while they run, which no graph can.
        torch.cuda.synchronize()
        return None
    return graphs


@contextmanager
def _unchanged(model: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device) -> Iterator[None]:
    """What a model and a fresh optimiser were before, they are afterwards, and so is the device's generator."""
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    drawn = torch.cuda.get_rng_state(device)
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
            for state in optimiser.state.values():
                for kept in state.values():
                    kept.zero_()
        optimiser.zero_grad(set_to_none=True)
        torch.cuda.set_rng_state(drawn, device)
