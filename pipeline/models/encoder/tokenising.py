"""Texts to tokens: in this process, or in others beside a GPU."""

from __future__ import annotations

import pickle
import threading
from typing import Any

from asvp.data.tokens import TokenReader, Tokens, packed_texts, unpacked_tokens
from asvp.models.encoder.processes import ProcessesOnDemand, ReadingProcesses

_WORTH = 4096
"""Texts after which processes are started: they take half a second to come, and 40 MB each."""
_FEW = 256
"""Texts that are sooner done here than sent."""
_CORES_EACH = 4
"""Of a process: so many threads tokenise in the time in which its one thread of Python hands the numbers on."""
_MOST_PROCESSES = 4
_READER = "tokens"


class Tokeniser:
    """Makes tokens of texts with a transformers tokenizer, each text cut at a length.

    The tokenizers library has its threads, but its numbers leave it through Python objects, and for them Python's lock
    is held as long as a small encoder's forward pass takes: whoever launches that pass waits. So it may be done in
    processes. What comes out is the same. Thread-safe.

    Parameters
    ----------
    tokenizer : transformers tokenizer
    max_length : int
        Tokens kept of a text.

    Attributes
    ----------
    processes : ProcessesOnDemand
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.processes = ProcessesOnDemand(_WORTH)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._reader: TokenReader | None = None
        self._travels = True
        self._lock = threading.Lock()

    def read(self, texts: list[str], cores: int = 0) -> Tokens:
        """Token numbers of each text, with special tokens.

        Parameters
        ----------
        texts : list of str
            Without halves of surrogate pairs.
        cores : int
            For processes, which are used as soon as they are there; 0: none are wanted.

        Raises
        ------
        WorkError
            If a process that tokenises ended.
        """
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            return Tokens.of(self._by_transformers(texts))
        with self._lock:
            reader = self._reader_of(backend, texts)
            processes = self._processes_for(reader, len(texts), cores)
            if processes is None:
                # Nobody may set up the tokenizer, as is done above, while it is at work.
                return reader.tokens(texts)
        step = -(-len(texts) // processes.count)
        parts = [texts[start : start + step] for start in range(0, len(texts), step)]
        found: list[Any] = self.processes.read(processes, _READER, [packed_texts(part) for part in parts])
        return unpacked_tokens(found, [len(part) for part in parts])

    def _reader_of(self, backend: Any, texts: list[str]) -> TokenReader:
        if self._reader is None:
            # Sets what the tokenizers library is to do with special tokens, besides cutting and padding.
            self._by_transformers(texts[:1])
            self._reader = TokenReader(backend)
        backend.enable_truncation(self._max_length, direction=self._tokenizer.truncation_side)
        backend.no_padding()
        return self._reader

    def _processes_for(self, reader: TokenReader, texts: int, cores: int) -> ReadingProcesses | None:
        count = min(_MOST_PROCESSES, -(-cores // _CORES_EACH)) if self._travels and texts >= _FEW else 0

        def begin() -> ReadingProcesses | None:
            self._travels = _travels(reader)
            if not self._travels:
                return None
            return ReadingProcesses({_READER: reader}, count, work="tokenises texts", threads=max(1, cores // count))

        return self.processes.ready(texts, count, begin)

    def _by_transformers(self, texts: list[str]) -> list[list[int]]:
        tokens: list[list[int]] = self._tokenizer(
            texts,
            truncation=True,
            max_length=self._max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return tokens


def _travels(reader: TokenReader) -> bool:
    """Whether it can be sent: a tokenizer with parts of Python's own cannot, which fails in any way."""
    try:
        pickle.dumps(reader)
    except Exception:
        return False
    return True
