"""Training of only those rows of an embedding table that the training rows use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

_WORTH_IT = 0.5
"""With more than this share of the table in use, the whole table is trained."""


class _UsedRows(nn.Module):
    """Looks token numbers up in a small table of the rows in use."""

    places: Tensor

    def __init__(self, table: nn.Embedding, used: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(table.weight.detach()[used].clone())
        places = torch.zeros(table.num_embeddings, dtype=torch.int64, device=used.device)
        places[used] = torch.arange(len(used), device=used.device)
        self.register_buffer("places", places, persistent=False)
        self.padding_idx = None if table.padding_idx is None else int(places[table.padding_idx])

    def forward(self, tokens: Tensor) -> Tensor:
        """Embeddings of token numbers, with the gradient of nn.Embedding."""
        return functional.embedding(self.places[tokens], self.weight, self.padding_idx)


def word_embeddings(model: PreTrainedModel) -> nn.Module | None:
    """The table that a text model looks its tokens up in; None for an image model or an unusual one."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return None
    return table if isinstance(table, (nn.Embedding, _UsedRows)) else None


@contextmanager
def used_embeddings(model: PreTrainedModel, tokens: np.ndarray) -> Iterator[None]:
    """Within, the model's word embeddings hold just the rows of `tokens`; afterwards the table has their new values.

    A table of 30,000 words is most of a small encoder's weights, and a few thousand labelled rows use a tenth of it.
    Rows that no training row uses have no gradient, so an optimiser that does not decay them leaves them as they are:
    training the small table gives the same weights as training the whole, without moving the rest through memory.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        Left as it is if its embeddings are not a plain nn.Embedding.
    tokens : np.ndarray
        All token numbers that will be looked up, padding included, in any order and number.
    """
    table = word_embeddings(model)
    used = np.unique(tokens)
    if type(table) is not nn.Embedding or table.max_norm is not None or len(used) > _WORTH_IT * table.num_embeddings:
        yield
        return
    rows = torch.from_numpy(used).to(table.weight.device)
    small = _UsedRows(table, rows)
    model.set_input_embeddings(small)
    try:
        yield
    finally:
        model.set_input_embeddings(table)
        with torch.no_grad():
            table.weight[rows] = small.weight.detach()
