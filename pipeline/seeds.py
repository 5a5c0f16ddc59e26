"""One seed for each purpose, all derived from the run's seed, so that nothing has to be stored to go on."""

from __future__ import annotations

import zlib

import numpy as np


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed for one purpose (and round) of a run; equal for equal arguments, independent for different ones."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
