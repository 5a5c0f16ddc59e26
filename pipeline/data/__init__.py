"""Where rows come from, and the oracle that holds their labels."""

from __future__ import annotations

from pipeline.data.dataset import Dataset, open_dataset
from pipeline.data.oracle import Oracle
from pipeline.data.source import Source

__all__ = ["Dataset", "Oracle", "Source", "open_dataset"]
