"""Where rows come from, and the oracle that holds their labels."""

from __future__ import annotations

from asvp.data.dataset import Dataset, open_dataset
from asvp.data.examine import examine
from asvp.data.findings import Finding
from asvp.data.oracle import Oracle
from asvp.data.source import Source, check_rows

__all__ = ["Dataset", "Finding", "Oracle", "Source", "check_rows", "examine", "open_dataset"]
