"""Training of the final model: linear probe (LP), fine-tuning (FT), and one after the other (LP-FT)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import repeat
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from asvp.config import ClassWeight, ProxyConfig, TrainingConfig
from asvp.data.read_ahead import ReadAhead
from asvp.data.tokens import Tokens
from asvp.errors import ConfigError, DataError, WorkError
from asvp.models.encoder import Encoder
from asvp.models.encoder.attention_kernels import attention_kernels
from asvp.models.encoder.augmentation import drawn_numbers
from asvp.models.encoder.inputs import TextInputs
from asvp.models.failures import work_errors
from asvp.models.proxy import Head, balanced_weights, fit_proxy
from asvp.models.proxy.mlp import batch_bounds
from asvp.models.sending import sent
from asvp.models.training.graphs import StepGraphs, step_graphs
from asvp.models.training.recomputed import recomputed_activations
from asvp.models.training.repeatable import repeatable_gradients
from asvp.models.training.statistics import settle_statistics
from asvp.models.training.team import Alone, Team, piece_of
from asvp.models.training.vocabulary import used_embeddings, word_embeddings
from asvp.seeds import derive_seed

_LONGEST_GRADIENT = 1.0
_AHEAD = 2
"""Batches of images that are decoded before their step, the one being decoded included."""
_LOOKED_AT = 8
"""Rows that a trained encoder is tried on."""
_PROBE_RATE = 4.0
"""Learning rate of the linear probe times D: its curvature grows with the number of standardised features."""


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    seed: int,
    class_weight: ClassWeight | None = None,
    config: ProxyConfig | None = None,
) -> Head:
    """Fit a linear classifier on ready features.

    Parameters
    ----------
    features : np.ndarray
        (N, D) float16 or float32.
    labels : np.ndarray
        (N,) class numbers below `classes`.
    classes : int
        C.
    seed : int
        Decides the first weights and the order of rows.
    class_weight : {"balanced"}, optional
        Weigh classes by inverse frequency.
    config : ProxyConfig, optional
        Other training settings; its hidden widths and class weights are not used.

    Returns
    -------
    Head
        On raw features: the standardisation of the fit is folded into its weights.

    Raises
    ------
    DataError
        As `fit_proxy`.
    """
    if config is None:
        config = ProxyConfig(lr=_PROBE_RATE / max(features.shape[-1], 1), weight_decay=0.01)
    settings = config.model_copy(update={"hidden": [], "class_weight": class_weight})
    return fit_proxy(features, labels, classes=classes, config=settings, seed=seed).head()


def fine_tune(
    encoder: Encoder,
    rows: Sequence[str] | Sequence[bytes],
    labels: np.ndarray,
    *,
    classes: int,
    config: TrainingConfig,
    seed: int,
    head: Head | None = None,
    on_step: Callable[[int, int], None] | None = None,
    micro_batch: int | None = None,
    team: Team | None = None,
) -> Head:
    """Train an encoder and a linear head on its features together.

    AdamW with two learning rates, both falling linearly to zero; gradients are clipped at length 1. Weights with two or
    more dimensions decay, except embeddings; biases and norms do not. Matrix products have the encoder's type.

    Parameters
    ----------
    encoder : Encoder
        Changed in place; load the pre-trained one for training from the pre-trained weights.
    rows : list of str or bytes
        N >= 1 labelled rows.
    labels : np.ndarray
        (N,) class numbers below `classes`.
    classes : int
        C.
    config : TrainingConfig
        Epochs, learning rates, weight decay, batch size, class weights, augmentation of images.
    seed : int
        Decides the head's first weights, the order of rows, dropout and augmentation.
    head : Head, optional
        To start from (LP-FT: Kumar et al. 2022); None draws a fresh one.
    on_step : callable, optional
        Called with (steps done, steps in all).
    micro_batch : int, optional
        Most rows that go through the model together. The gradient of a larger batch is the sum over pieces of nearly
        equal size, and up to rounding that of the whole batch, with class weights too; augmentation does not depend on
        the pieces. Dropout draws other numbers (of the same seed), and BatchNorm's statistics are those of a piece.
        None: whole batches.
    team : Team, optional
        Others who are called with the same arguments and train the same model, each on a piece of every batch, in the
        same order of rows; the gradient is that of the whole batch, as with `micro_batch`. None: nobody.

    Returns
    -------
    Head
        The trained head; the encoder is in evaluation mode again. Of a team only the first one's encoder is fit for
        use: the others' statistics of normalisation are not settled.

    Raises
    ------
    DataError
        If there is no row, or rows, labels and head do not fit each other.
    ConfigError
        If `micro_batch` is below 1, or the encoder has no gradient checkpointing and it is asked for.
    DeviceMemoryError
        If the GPU's memory is not enough; a smaller `micro_batch` may help.
    TeamLostError
        If another of the team has failed, has ended, or does not answer.
    WorkError
        If the training diverges, the machine's memory is not enough, or the model fails. After this and a
        DeviceMemoryError the encoder's weights are those of somewhere in the training: load it again.
    """
    _check(encoder, rows, labels, classes, head)
    if micro_batch is not None and micro_batch < 1:
        raise ConfigError(
            "must be at least 1 row", key="micro_batch", value=micro_batch, mend="Raise it, or leave it out"
        )
    team = team or Alone()
    encoder.weights_will_change()
    generator = torch.Generator().manual_seed(seed)
    examples = encoder.inputs.read(rows)
    vocabulary: AbstractContextManager[None] = nullcontext()
    if isinstance(encoder.inputs, TextInputs):
        vocabulary = used_embeddings(encoder.model, encoder.inputs.tokens_in(examples))
    devices = [encoder.device] if encoder.device.type == "cuda" else []
    with (
        work_errors("training", batch="training.batch_size", size=config.batch_size),
        torch.random.fork_rng(devices=devices),
        vocabulary,
        repeatable_gradients(encoder.model),
        recomputed_activations(encoder.model, config.checkpointing),
    ):
        # Dropout can draw from the global generator only; on each piece of a batch it draws other numbers.
        torch.manual_seed(derive_seed(seed, f"member {team.rank}") if team.rank else seed)
        output = _first_head(encoder, classes, head, generator)
        try:
            _train(
                encoder,
                output,
                examples,
                torch.tensor(labels, dtype=torch.int64),
                classes,
                config,
                generator,
                seed,
                on_step,
                micro_batch,
                team,
            )
        finally:
            encoder.model.train(False)
            encoder.model.zero_grad(set_to_none=True)
    if team.rank == 0:
        _check_trained(encoder, output, examples, config, micro_batch)
    return Head(output.weight.detach().cpu().numpy().copy(), output.bias.detach().cpu().numpy().copy())


def largest_batch(rows: int, batch_size: int) -> int:
    """Rows of the largest batch that `fine_tune` makes of so many rows: a rest of one joins the batch before it."""
    return max(end - start for start, end in batch_bounds(max(rows, 1), batch_size))


def _train(
    encoder: Encoder,
    output: nn.Linear,
    examples: Any,
    labels: Tensor,
    classes: int,
    config: TrainingConfig,
    generator: torch.Generator,
    seed: int,
    on_step: Callable[[int, int], None] | None,
    micro_batch: int | None,
    team: Team,
) -> None:
    on_gpu = encoder.device.type == "cuda"
    groups = _parameter_groups(encoder, output, config)
    rates = [group["lr"] for group in groups]
    if on_gpu:
        # As tensors rates can change without a word from the CPU, which graphs need.
        groups = [{**group, "lr": torch.tensor(group["lr"], device=encoder.device)} for group in groups]
    optimiser = torch.optim.AdamW(groups, fused=True, capturable=on_gpu)
    cuts = batch_bounds(len(labels), config.batch_size)
    step = _Step(encoder, output, optimiser, _class_weights(labels, classes, encoder, config), micro_batch, team)
    augmented = config.augment and encoder.kind == "image"
    orders = [torch.randperm(len(labels), generator=generator) for _ in range(config.epochs + 1)]
    mixed = orders.pop().numpy()
    labels = sent(labels, encoder.device)
    encoder.model.train()
    step.agree()
    # What is computed twice sets up its random numbers on the CPU, which no graph can.
    recorded = isinstance(encoder.inputs, TextInputs) and on_gpu and not config.checkpointing
    graphs = _graphs(step, examples, labels, orders, cuts) if recorded else None
    steps, done = config.epochs * len(cuts), 0
    for epoch, chosen in enumerate(orders):
        losses = []
        places = sent(chosen, encoder.device)
        numbers = drawn_numbers(len(labels), seed, epoch) if augmented else None
        fetched = _fetched(encoder, examples, [chosen[start:end].numpy() for start, end in cuts], numbers, team)
        for start, end in cuts:
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                now = rate * (1 - done / steps)
                if on_gpu:
                    group["lr"].fill_(now)
                else:
                    group["lr"] = now
            rows = chosen[start:end].numpy()
            loss = None if graphs is None else graphs.run(rows, places[start:end])
            if loss is None:
                with team.piece():
                    first, last = _own_piece(team, len(rows))
                    own = rows[first:last]
                    tensors = encoder.inputs.collate(examples, own, _of(numbers, own), next(fetched))
                    share = step.gradients(tensors, labels[places[start:end]], first)
                loss = step.update(share)
            losses.append(loss)
            done += 1
            if on_step is not None:
                on_step(done, steps)
        # Once an epoch: on a GPU each look at a number waits for all that was queued before it.
        _check_losses(torch.stack(losses), encoder, config, first=epoch == 0)
    if team.rank:
        return
    pieces = _pieces(len(labels), min(config.batch_size, micro_batch or config.batch_size))
    settle_statistics(
        encoder.model, (encoder.features(encoder.inputs.collate(examples, mixed[first:last])) for first, last in pieces)
    )


def _fetched(
    encoder: Encoder, examples: Any, batches: list[np.ndarray], numbers: np.ndarray | None, team: Team
) -> Iterator[Any]:
    """What can be made ready of each batch, as far as one looks at it, while others are trained on."""
    if isinstance(encoder.inputs, TextInputs):
        return repeat(None)
    own = (rows[slice(*_own_piece(team, len(rows)))] for rows in batches)
    return iter(ReadAhead(lambda rows: encoder.inputs.fetch(examples, rows, _of(numbers, rows)), own, _AHEAD))


def _of(numbers: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    """What was drawn for some rows, the same in whatever batch or piece of it they are."""
    return None if numbers is None else numbers[rows]


def _own_piece(team: Team, rows: int) -> tuple[int, int]:
    first, last = piece_of(team, rows)
    # One at least, that does not count: a model gives all its weights gradients, or none of it.
    return (first, last) if last > first else (0, 1)


class _Step:
    """One step of the optimiser.

    Parameters
    ----------
    weights : Tensor, optional
        (C,) of the classes.
    micro_batch : int, optional
        Most rows that go through the model together.
    """

    def __init__(
        self,
        encoder: Encoder,
        output: nn.Linear,
        optimiser: torch.optim.Optimizer,
        weights: Tensor | None,
        micro_batch: int | None,
        team: Team,
    ) -> None:
        self.encoder = encoder
        self.output = output
        self.optimiser = optimiser
        self.whole = micro_batch is None and team.size == 1
        self._team = team
        self._weights = weights
        self._micro_batch = micro_batch
        self._scaler = torch.amp.GradScaler(encoder.device.type, enabled=encoder.dtype_name == "float16")
        self._trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    @property
    def scaled(self) -> bool:
        """Whether losses are scaled by a factor that the CPU decides on."""
        return self._scaler.is_enabled()

    def agree(self) -> None:
        """Begin with the weights that the first of the team has."""
        self._team.agree(parameter.detach() for parameter in self._trained)

    def __call__(self, tensors: dict[str, Tensor], targets: Tensor) -> Tensor:
        """The loss of a batch that is all one's own, on the device; the weights are one step further."""
        return self.update(self.gradients(tensors, targets, 0))

    def gradients(self, tensors: dict[str, Tensor], targets: Tensor, start: int) -> Tensor:
        """One's own share of a batch's loss; `tensors` are the rows from `start` on, `targets` those of the batch."""
        self.optimiser.zero_grad(set_to_none=True)
        begin, end = piece_of(self._team, len(targets))
        shares = []
        for first, last in _pieces(max(1, end - begin), self._micro_batch):
            piece = {name: tensor[first:last] for name, tensor in tensors.items()}
            features = self.encoder.features(piece)
            loss = _share_of_loss(self.output(features), targets, start + first, start + last, self._weights)
            if begin == end:
                # A row of others, so that there are gradients to add.
                loss = 0.0 * loss
            shares.append(loss.detach())
            # As in the forward pass: activations may be computed again.
            with attention_kernels(piece, self.encoder.device):
                torch.autograd.backward(self._scaler.scale(loss))
        return torch.stack(shares).sum()

    def update(self, share: Tensor) -> Tensor:
        """The loss of the batch, after a step along the gradients of all."""
        self._team.add([share, *(parameter.grad for parameter in self._trained if parameter.grad is not None)])
        self._scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(self._trained, _LONGEST_GRADIENT)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        return share


def _graphs(
    step: _Step, examples: Tokens, labels: Tensor, orders: Sequence[Tensor], cuts: Sequence[tuple[int, int]]
) -> StepGraphs | None:
    """Graphs of the steps to come on a GPU; None where they are done one kernel at a time."""
    encoder = step.encoder
    if not step.whole or step.scaled or not StepGraphs.fit(examples):
        return None
    inputs = cast(TextInputs, encoder.inputs)
    model = nn.ModuleList([encoder.model, step.output])
    graphs = StepGraphs(step, model, step.optimiser, examples, labels, inputs.padding, inputs.max_length)
    return step_graphs(graphs, [order[start:end].numpy() for order in orders for start, end in cuts])


def _class_weights(labels: Tensor, classes: int, encoder: Encoder, config: TrainingConfig) -> Tensor | None:
    weighted = config.class_weight == "balanced"
    return balanced_weights(labels.numpy(), classes).to(encoder.device) if weighted else None


def _pieces(rows: int, most: int | None) -> list[tuple[int, int]]:
    """First and last (exclusive) row of pieces of nearly equal size with at most so many rows each."""
    count = 1 if most is None else -(-rows // most)
    return [(rows * number // count, rows * (number + 1) // count) for number in range(count)]


def _share_of_loss(scores: Tensor, targets: Tensor, first: int, last: int, weights: Tensor | None) -> Tensor:
    """What rows `first` up to `last` contribute to a batch's mean cross-entropy, weighted by class."""
    if len(scores) == len(targets):
        return nn.functional.cross_entropy(scores, targets, weight=weights)
    total = len(targets) if weights is None else weights[targets].sum()
    return nn.functional.cross_entropy(scores, targets[first:last], weight=weights, reduction="sum") / total


def _check_losses(losses: Tensor, encoder: Encoder, config: TrainingConfig, *, first: bool) -> None:
    finite = torch.isfinite(losses).tolist()
    if all(finite):
        return
    if first and not finite[0]:
        half = encoder.dtype_name != "float32"
        raise WorkError(
            f"the loss was not finite before the first step: the pre-trained encoder gives features of the labelled "
            f"rows that are not finite in {encoder.dtype_name}",
            key="encoder.dtype" if half else "encoder.model",
            value=encoder.config.dtype if half else encoder.config.model,
            mend="Use encoder.dtype float32" if half else "The weights are damaged: copy or download them again",
        )
    raise _diverged("its loss is no longer finite", config)


def _check_trained(
    encoder: Encoder, output: nn.Linear, examples: Any, config: TrainingConfig, micro_batch: int | None
) -> None:
    """WorkError if the weights, or what they make of the first rows, are not finite."""
    tensors = [*encoder.model.state_dict().values(), *output.state_dict().values()]
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors if tensor.is_floating_point()):
        raise _diverged("weights are no longer finite", config)
    with work_errors("training", batch="training.batch_size", size=config.batch_size), torch.inference_mode():
        looked_at = min(len(examples), _LOOKED_AT)
        finite = [
            torch.isfinite(output(encoder.features(encoder.inputs.collate(examples, np.arange(first, last)))))
            for first, last in _pieces(looked_at, micro_batch or config.batch_size)
        ]
    if not all(bool(rows.all()) for rows in finite):
        raise _diverged("the trained encoder's features are not finite", config)


def _diverged(how: str, config: TrainingConfig) -> WorkError:
    return WorkError(
        f"the training diverged: {how}",
        key="training.lr",
        value=config.lr,
        mend=f"Lower it, or training.head_lr (now {config.head_lr:g})",
    )


def _parameter_groups(encoder: Encoder, output: nn.Linear, config: TrainingConfig) -> list[dict[str, Any]]:
    """Decaying and other weights of the encoder, then of the head, each group with its rate."""
    table = word_embeddings(encoder.model)
    embeddings = set() if table is None else {id(parameter) for parameter in table.parameters()}

    def split(parameters: Iterable[nn.Parameter], rate: float) -> list[dict[str, Any]]:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        decaying = [parameter for parameter in trained if parameter.ndim > 1 and id(parameter) not in embeddings]
        chosen = {id(parameter) for parameter in decaying}
        others = [parameter for parameter in trained if id(parameter) not in chosen]
        pairs = ((decaying, config.weight_decay), (others, 0.0))
        return [{"params": some, "lr": rate, "weight_decay": decay} for some, decay in pairs if some]

    return split(encoder.model.parameters(), config.lr) + split(output.parameters(), config.head_lr)


def _first_head(encoder: Encoder, classes: int, head: Head | None, generator: torch.Generator) -> nn.Linear:
    output = nn.Linear(encoder.dim, classes, device=encoder.device)
    with torch.no_grad():
        if head is None:
            drawn = 2 * torch.rand((classes, encoder.dim), generator=generator) - 1
            output.weight.copy_(drawn / encoder.dim**0.5)
            output.bias.zero_()
        else:
            output.weight.copy_(torch.tensor(head.weight))
            output.bias.copy_(torch.tensor(head.bias))
    return output


def _check(
    encoder: Encoder, rows: Sequence[str] | Sequence[bytes], labels: np.ndarray, classes: int, head: Head | None
) -> None:
    if len(rows) == 0:
        raise DataError("there is no labelled row to train on", key="rows", mend="Buy labels first")
    if np.shape(labels) != (len(rows),):
        raise DataError(f"there must be one label a row, {len(rows)}", key="labels", value=np.shape(labels))
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"class numbers must lie in 0..{classes - 1}", key="labels", value=[int(labels.min()), int(labels.max())]
        )
    if head is not None and head.weight.shape != (classes, encoder.dim):
        raise DataError(f"the head must be ({classes}, {encoder.dim})", key="head", value=head.weight.shape)
