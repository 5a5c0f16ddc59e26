"""Training of a small multi-layer perceptron with BatchNorm, one hand-written step at a time.

The network is so small that calling overhead, not arithmetic, would dominate with autograd, modules and a data loader.
So the gradient is written out, parameters lie in one vector that one optimiser call updates, and batches are gathered
straight from the tensor of all rows. Activations are held transposed, (H, n): BatchNorm's statistics then run along
contiguous rows, which PyTorch computes the same way on any number of threads (along columns it does not).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from asvp.models.threads import cpu_threads

_EPSILON = 1e-5
_MOMENTUM = 0.9
_STATISTICS_BLOCK = 16384
_PARALLEL_WORK = 4e8
"""Floating-point operations of a step's largest product from which more threads than one are worth their barriers."""


@dataclass(frozen=True)
class Layer:
    """Scale and shift after a product: outputs are scale * (weight @ inputs) + shift; the last layer's scale is 1."""

    weight: Tensor
    scale: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum 0.9, the learning rate falling to zero as a cosine over all steps."""

    epochs: int
    lr: float
    weight_decay: float
    batch_size: int


def train_mlp(
    rows: Tensor,
    labels: Tensor,
    row_weights: Tensor | None,
    widths: Sequence[int],
    classes: int,
    recipe: Recipe,
    generator: torch.Generator,
    matmul_dtype: torch.dtype,
) -> list[Layer]:
    """Fit widths[0] -> ... -> widths[-1] -> classes with BatchNorm and ReLU after each hidden layer.

    Parameters
    ----------
    rows : Tensor
        (N, D) float32, standardised, N >= 1.
    labels : Tensor
        (N,) int64 on the same device.
    row_weights : Tensor, optional
        (N,) float32; None weighs rows alike.
    widths : sequence of int
        Hidden widths; empty for a linear model.
    classes : int
        C.
    generator : torch.Generator
        On the CPU; draws the first weights and every epoch's order.
    matmul_dtype : torch.dtype
        Of the inputs of matrix products; parameters, statistics and the optimiser stay float32.

    Returns
    -------
    list of Layer
        BatchNorm's statistics are those of all rows under the final weights.
    """
    largest = max(a * b for a, b in zip([rows.shape[1], *widths], [*widths, classes], strict=True))
    work = 2.0 * min(len(rows), recipe.batch_size) * largest
    # On a CPU float32 products of few rows, such as those of ten classes, round differently on several threads.
    alone = rows.device.type == "cpu" and (work < _PARALLEL_WORK or matmul_dtype == torch.float32)
    with cpu_threads(1 if alone else torch.get_num_threads()):
        network = _Network(rows.shape[1], widths, classes, generator, rows.device, matmul_dtype)
        _train(network, rows.to(matmul_dtype), labels, row_weights, recipe, generator)
        return network.layers(rows)


class _Network:
    """Parameters in one vector, their gradients in another, and the step that fills the second from a batch."""

    def __init__(
        self,
        dim: int,
        widths: Sequence[int],
        classes: int,
        generator: torch.Generator,
        device: torch.device,
        matmul_dtype: torch.dtype,
    ) -> None:
        fans = [dim, *widths]
        shapes = [(out, fan) for fan, out in zip(fans, [*widths, classes], strict=True)]
        products = sum(out * fan for out, fan in shapes)
        self._products = products
        size = products + 2 * sum(widths) + classes
        self._flat = torch.zeros(size, device=device)
        self._gradient = torch.zeros(size, device=device)
        self._momentum: list[Tensor | None] = [None]
        self._low = torch.zeros(products, dtype=matmul_dtype, device=device)
        self._low_gradient = torch.zeros(products, dtype=matmul_dtype, device=device)
        self.weights = _cut(self._flat, shapes, 0)
        self._low_weights = _cut(self._low, shapes, 0)
        self._weight_gradients = _cut(self._low_gradient, shapes, 0)
        vectors = [(width,) for width in widths for _ in range(2)] + [(classes,)]
        values, gradients = _cut(self._flat, vectors, products), _cut(self._gradient, vectors, products)
        self._scales, self._shifts, self._bias = values[0:-1:2], values[1:-1:2], values[-1]
        self._scale_gradients, self._shift_gradients = gradients[0:-1:2], gradients[1:-1:2]
        self._bias_gradient = gradients[-1]
        for weight, (out, fan) in zip(self.weights, shapes, strict=True):
            drawn = torch.rand((out, fan), generator=generator)
            weight.copy_((2 * drawn - 1) / math.sqrt(fan))
        for scale in self._scales:
            scale.fill_(1)

    def differentiate(self, batch: Tensor, labels: Tensor, shares: Tensor) -> None:
        """Fill the gradient of the batch's weighted cross-entropy; `shares` (n,) are row weights that sum to 1."""
        self._low.copy_(self._flat[: self._products])
        inputs, normed = [batch.T], []
        for weight, scale, shift in zip(self._low_weights, self._scales, self._shifts, strict=False):
            raw = torch.mm(weight, inputs[-1]).float()
            # By hand: in PyTorch's own batch norm the forward pass along rows takes several times as long.
            mean = raw.sum(1).div_(raw.shape[1])
            centred = raw - mean.unsqueeze(1)
            inverse = torch.mul(centred, centred).sum(1).div_(raw.shape[1]).add_(_EPSILON).rsqrt_()
            out = centred.mul_((inverse * scale).unsqueeze(1)).add_(shift.unsqueeze(1)).relu_()
            inputs.append(out.to(batch.dtype))
            normed.append((raw, mean, inverse, out))
        logits = torch.mm(self._low_weights[-1], inputs[-1]).float().add_(self._bias.unsqueeze(1))
        slope = torch.softmax(logits, 0)
        slope.scatter_add_(0, labels.unsqueeze(0), torch.full_like(shares, -1.0).unsqueeze(0)).mul_(shares)
        torch.sum(slope, 1, out=self._bias_gradient)
        for level in range(len(self.weights) - 1, -1, -1):
            slope_low = slope.to(batch.dtype)
            torch.mm(slope_low, inputs[level].T, out=self._weight_gradients[level])
            if level == 0:
                break
            raw, mean, inverse, out = normed[level - 1]
            above = torch.mm(self._low_weights[level].T, slope_low).float()
            slope, scale_slope, shift_slope = torch.ops.aten.native_batch_norm_backward(
                torch.ops.aten.threshold_backward(above, out, 0).unsqueeze(0),
                raw.unsqueeze(0),
                self._scales[level - 1],
                None,
                None,
                mean,
                inverse,
                True,
                _EPSILON,
                [True, True, True],
            )
            slope = slope[0]
            self._scale_gradients[level - 1].copy_(scale_slope)
            self._shift_gradients[level - 1].copy_(shift_slope)
        self._gradient[: self._products].copy_(self._low_gradient)

    def step(self, rate: float, weight_decay: float) -> None:
        """Update all parameters from the gradient (SGD with Nesterov momentum)."""
        sgd(
            [self._flat],
            [self._gradient],
            self._momentum,
            fused=True,
            weight_decay=weight_decay,
            momentum=_MOMENTUM,
            lr=rate,
            dampening=0.0,
            nesterov=True,
            maximize=False,
        )

    def layers(self, rows: Tensor) -> list[Layer]:
        """The trained layers, BatchNorm replaced by the mean and variance over all rows."""
        done: list[Layer] = []
        for weight, gain, offset in zip(self.weights, self._scales, self._shifts, strict=False):
            total = torch.zeros(len(weight), dtype=torch.float64, device=rows.device)
            squares = torch.zeros_like(total)
            for block in torch.split(rows, _STATISTICS_BLOCK):
                raw = (weight @ forward(done, block.T)).double()
                total += raw.sum(1)
                squares += raw.square().sum(1)
            mean = total / len(rows)
            # One row has no spread; dividing by it would blow all other rows up.
            variance = (squares / len(rows) - mean.square()).clamp(min=0) if len(rows) > 1 else torch.ones_like(mean)
            scale = gain.double() / torch.sqrt(variance + _EPSILON)
            done.append(Layer(weight.clone(), scale.float(), (offset - scale * mean).float()))
        return [*done, Layer(self.weights[-1].clone(), torch.ones_like(self._bias), self._bias.clone())]


def forward(layers: Sequence[Layer], columns: Tensor) -> Tensor:
    """ReLU activations (H, n) after hidden layers, of columns (D, n); the columns themselves if there are none."""
    for layer in layers:
        columns = torch.relu(layer.scale.unsqueeze(1) * (layer.weight @ columns) + layer.shift.unsqueeze(1))
    return columns


def _train(
    network: _Network,
    rows: Tensor,
    labels: Tensor,
    row_weights: Tensor | None,
    recipe: Recipe,
    generator: torch.Generator,
) -> None:
    cuts = batch_bounds(len(rows), recipe.batch_size)
    steps, step = recipe.epochs * len(cuts), 0
    weights = torch.ones(len(rows), device=rows.device) if row_weights is None else row_weights
    for _ in range(recipe.epochs):
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        shuffled_labels, shuffled_weights = labels[order], weights[order]
        for start, end in cuts:
            shares = shuffled_weights[start:end]
            network.differentiate(
                torch.index_select(rows, 0, order[start:end]), shuffled_labels[start:end], shares / shares.sum()
            )
            network.step(recipe.lr * 0.5 * (1 + math.cos(math.pi * step / steps)), recipe.weight_decay)
            step += 1


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """First and last (exclusive) place of each batch; a rest of one row joins the batch before it."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


def _cut(flat: Tensor, shapes: Sequence[tuple[int, ...]], start: int) -> list[Tensor]:
    """Views of consecutive pieces of a vector."""
    views = []
    for shape in shapes:
        size = math.prod(shape)
        views.append(flat[start : start + size].view(shape))
        start += size
    return views
