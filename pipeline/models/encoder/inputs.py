"""From rows to batches of tensors: what a model's input is made of, apart from the model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asvp.data.tokens import Tokens
from asvp.errors import EncoderError, RowError
from asvp.models.encoder.tokenising import Tokeniser

BatchSize = int | Literal["auto"]
"""Most rows that go through a model together."""
BATCHES = "asvp-batches-4"
"""Of the rules by which batches are cut, which decide the last bits of features."""

_ROWS_ON_CPU = 64
"""More rows a batch were slower on every CPU measured: the activations leave the cache."""
_TOKENS_ON_CPU = 4096
_PADDING_ON_CPU = 1.05
"""More tokens with padding than without, from where on a CPU's batches are cut with care."""
_BATCH_ON_CPU = 128
"""Tokens in the time of what a batch takes by itself: 35 were measured in float32, 200 in bfloat16."""
_TOKENS_ON_GPU = 131072
_PADDING_ON_GPU = 8192
"""Tokens of padding that a batch may have: fewer than a GPU gets through in the time in which one is launched."""
_PADDING_SHARE_ON_GPU = 0.1
"""Of a batch's tokens that are no padding, what it may have in any case."""
_CHARACTERS_A_TOKEN = 1000
"""Far more than tokens have, so that what follows cannot change the tokens that are kept."""
_TOGETHER = 64
"""Texts that are looked at together; they may be megabytes each."""
_MOSTLY = 0.9
"""Share of unknown tokens in a sample from which a tokenizer is taken for that of another language or model."""


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together.

    `positions` (n,) int64 are their places in the list they came from, `tensors` the model's inputs.
    """

    positions: np.ndarray
    tensors: dict[str, Tensor]

    @property
    def size(self) -> int:
        """Numbers in its tensors, padding included."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    def halves(self) -> tuple[Batch, Batch]:
        """Its first rows and its last, of two or more."""
        middle = len(self.positions) // 2
        return self._cut(slice(None, middle)), self._cut(slice(middle, None))

    def _cut(self, rows: slice) -> Batch:
        return Batch(self.positions[rows], {name: tensor[rows] for name, tensor in self.tensors.items()})


@dataclass(frozen=True)
class Prepared:
    """Rows ready for the forward pass: `Encoder.prepare` makes it, `Encoder.encode_prepared` uses it up, once."""

    rows: int
    batches: Iterable[Batch]


class Inputs(Protocol):
    """Reads rows of one kind. The examples it makes are its own affair."""

    def read(self, rows: Sequence[Any]) -> Any:
        """Tokenise or decode rows, once."""

    def plan(self, examples: Any, batch_size: BatchSize) -> list[np.ndarray]:
        """Positions of the rows of each batch for scoring; depends on nothing but the rows, batch size and device."""

    def fetch(self, examples: Any, positions: np.ndarray, numbers: np.ndarray | None = None) -> Any:
        """The slow part of `collate`, which may be done ahead in another thread, if there is one; None: there is none.

        Raises
        ------
        RowError
            If a row cannot be decoded.
        """

    def collate(
        self, examples: Any, positions: np.ndarray, numbers: np.ndarray | None = None, fetched: Any = None
    ) -> dict[str, Tensor]:
        """Tensors of some rows, of what was fetched of them.

        Parameters
        ----------
        examples : object
            What `read` made.
        positions : (n,) int
        numbers : (n, 23) float64, optional
            Of `drawn_numbers`, for augmentation in training.
        fetched : object, optional
            By `fetch`, with the same arguments.
        """

    def on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Last step before the model, on its device."""

    def blank(self) -> Any:
        """Examples of one row without content."""

    def probe(self) -> Any:
        """Examples of one row that a model is tried on."""

    def save(self, folder: str) -> None:
        """Write what `read` needs beside a checkpoint."""


class TextInputs:
    """Tokenises texts once and pads each batch to its longest row.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    max_length : int
        Tokens kept of a text.
    device : torch.device
        The forward pass's device, which decides how many tokens a batch may have.
    """

    def __init__(self, tokenizer: Any, max_length: int, device: torch.device) -> None:
        longest = int(min(tokenizer.model_max_length, 1 << 20))
        if max_length > longest:
            raise EncoderError(
                f"this model reads at most {longest} tokens",
                key="encoder.max_length",
                value=max_length,
                mend="Lower it",
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._device = device
        self.padding = _padding_token(tokenizer)
        self._tokeniser = Tokeniser(tokenizer, max_length)
        tokenizer.padding_side = "right"

    def read(self, rows: Sequence[Any]) -> Tokens:
        """Token numbers of each text, cut at `max_length`."""
        _check_texts(rows)
        if not rows:
            return Tokens.of([])
        # Of a text of megabytes all would be tokenised, and then cut.
        enough = _CHARACTERS_A_TOKEN * self.max_length
        tokens = self._tokenised([row[:enough] for row in rows])
        short: list[int] = np.flatnonzero(tokens.lengths < self.max_length).tolist()
        tokens = tokens.changed({row: self._tokenised([rows[row]])[0] for row in short if len(rows[row]) > enough})
        # A tokenizer without special tokens makes nothing of an empty text, and a model needs at least one token.
        return tokens.changed({row: [self.padding] for row in np.flatnonzero(tokens.lengths == 0).tolist()})

    def _tokenised(self, texts: list[str]) -> Tokens:
        return self._tokeniser.read(texts, self._cores())

    def _cores(self) -> int:
        """Cores for processes beside the one that launches the forward pass; a CPU's own pass needs them all."""
        threads = torch.get_num_threads()
        return threads if threads > 1 and self._device.type == "cuda" else 0

    def plan(self, examples: Tokens, batch_size: BatchSize) -> list[np.ndarray]:
        """Batches of neighbours in length, shortest first, bounded in rows and in tokens."""
        order = np.argsort(examples.lengths, kind="stable")
        if not len(order):
            return []
        lengths = examples.lengths[order]
        cut = _ends_on_cpu if self._device.type == "cpu" else _ends_on_gpu
        return np.split(order, cut(lengths, len(order) if batch_size == "auto" else batch_size)[:-1])

    def fetch(self, examples: Tokens, positions: np.ndarray, numbers: np.ndarray | None = None) -> None:
        """Nothing: what is left to do is quick."""

    def collate(
        self, examples: Tokens, positions: np.ndarray, numbers: np.ndarray | None = None, fetched: None = None
    ) -> dict[str, Tensor]:
        """Token numbers and mask, (n, longest), padded on the right."""
        tokens, mask = examples.padded(positions, self.padding)
        return {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.from_numpy(mask)}

    def tokens_in(self, examples: Tokens) -> np.ndarray:
        """All token numbers of some examples and their padding, in any order."""
        return np.append(examples.flat, self.padding)

    def on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Nothing is left to do for texts."""
        return tensors

    def blank(self) -> Tokens:
        """One empty text."""
        return self.read([""])

    def probe(self) -> Tokens:
        """The empty text: what it has, every text has."""
        return self.blank()

    def longest(self) -> dict[str, Tensor]:
        """A row of as many tokens as a text is cut at."""
        tokens = self.read([""])[0]
        return self.collate(Tokens.of([(tokens * self.max_length)[: self.max_length]]), np.zeros(1, np.int64))

    def padded(self) -> dict[str, Tensor]:
        """The empty text, padded as far as a text may be long."""
        tensors = self.collate(self.probe(), np.zeros(1, np.int64))
        more = self.max_length - tensors["input_ids"].shape[1]
        fill = {"input_ids": self.padding, "attention_mask": 0}
        return {name: functional.pad(tensor, (0, more), value=fill[name]) for name, tensor in tensors.items()}

    def vocabulary(self) -> int:
        """One more than the highest token number that texts can become."""
        numbers: list[int] = [len(self.tokenizer) - 1, self.padding, *self.tokenizer.get_vocab().values()]
        return max(numbers) + 1

    def check_understanding(self, texts: Sequence[str], model: str) -> None:
        """EncoderError if the tokenizer makes nothing of some texts: unknown tokens alone, or the same of all."""
        special = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        read = self.read(texts)
        rows = [tuple(token for token in read[row] if token not in special) for row in range(len(read))]
        tokens = [token for row in rows for token in row]
        unknown = tokens.count(self.tokenizer.unk_token_id)
        if len(set(texts)) > 1 and len(set(rows)) == 1:
            reason = "it makes the same tokens of all of them"
        elif tokens and unknown >= _MOSTLY * len(tokens):
            reason = f"{unknown:,} of the {len(tokens):,} tokens it makes of them are unknown to it"
        else:
            return
        raise EncoderError(
            f"the tokenizer does not understand the texts: of a sample of {len(texts)}, {reason}",
            key="encoder.model",
            value=model,
            mend="Check that the folder has the tokenizer's files, and that the model reads this language; "
            "if the texts begin alike, raise encoder.max_length",
        )

    def save(self, folder: str) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)


def _ends_on_cpu(lengths: np.ndarray, batch_size: int) -> list[int]:
    """Where a CPU's batches of rows end, given their lengths in rising order."""
    rows = min(batch_size, _ROWS_ON_CPU)

    def fitting(following: np.ndarray) -> int:
        some = following[:rows]
        return int(np.searchsorted(some * np.arange(1, len(some) + 1), _TOKENS_ON_CPU, side="right"))

    ends = _ends(lengths, fitting)
    padded = np.diff(ends, prepend=0) @ lengths[np.array(ends) - 1]
    return ends if padded <= _PADDING_ON_CPU * lengths.sum() else _cheapest_ends(lengths, rows)


def _cheapest_ends(lengths: np.ndarray, rows: int) -> list[int]:
    """Those with the fewest tokens, padding and what each batch takes by itself included."""
    # Of all rows before each end: the least they can take, and where the last of their batches begins.
    least, begins = np.zeros(len(lengths) + 1, np.int64), np.zeros(len(lengths) + 1, np.int64)
    for end, longest in enumerate(lengths.tolist(), 1):
        first = end - min(end, rows, max(1, _TOKENS_ON_CPU // longest))
        taken = least[first:end] + longest * np.arange(end - first, 0, -1)
        best = int(taken.argmin())
        least[end], begins[end] = taken[best] + _BATCH_ON_CPU, first + best
    ends = [len(lengths)]
    while begins[ends[-1]]:
        ends.append(int(begins[ends[-1]]))
    return ends[::-1]


def _ends_on_gpu(lengths: np.ndarray, batch_size: int) -> list[int]:
    """As `_ends_on_cpu`: as many rows as fit, but of many lengths only as many as need little padding."""

    def fitting(following: np.ndarray) -> int:
        some = following[:batch_size]
        sizes, real = some * np.arange(1, len(some) + 1), np.cumsum(some)
        padding = np.maximum(_PADDING_ON_GPU, _PADDING_SHARE_ON_GPU * real)
        wanted = (sizes <= _TOKENS_ON_GPU) & (sizes - real <= padding)
        refused = np.flatnonzero(~wanted)
        return int(refused[0]) if len(refused) else len(some)

    return _ends(lengths, fitting)


def _ends(lengths: np.ndarray, fitting: Callable[[np.ndarray], int]) -> list[int]:
    """Where batches end that are as large as possible, and of a row at least."""
    ends: list[int] = []
    start = 0
    while start < len(lengths):
        start += max(1, fitting(lengths[start:]))
        ends.append(start)
    return ends


def _check_texts(rows: Sequence[Any]) -> None:
    """RowError for the first that is no text."""
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        try:
            # With few steps of Python's: whoever launches a GPU's kernels waits for each.
            "".join(some).encode()
        except (TypeError, UnicodeEncodeError):
            for number, row in enumerate(some, start):
                _check_text(number, row)


def _check_text(number: int, row: Any) -> None:
    if not isinstance(row, str):
        raise RowError("is no text", row=number, value=row, mend="Use a column of strings")
    try:
        row.encode()
    except UnicodeEncodeError as error:
        raise RowError(
            f"holds half of a surrogate pair at character {error.start}, which is no text",
            row=number,
            value=row[max(0, error.start - 20) : error.start + 20],
            mend="Decode the texts again, as UTF-8 or with errors='replace'",
        ) from None


def _padding_token(tokenizer: Any) -> int:
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0
