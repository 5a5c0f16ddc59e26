"""Where rows come from, and the oracle that holds their labels."""

from __future__ import annotations

from pipeline.data.dataset import Dataset, open_dataset
from pipeline.data.examine import Finding, examine
from pipeline.data.oracle import Oracle
from pipeline.data.source import Source

__all__ = ["Dataset", "Finding", "Oracle", "Source", "examine", "open_dataset"]
