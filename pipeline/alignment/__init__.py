"""When to refresh the features: LogME, Potential Energy Decline and the refresh policies."""

from __future__ import annotations

from pipeline.alignment.logme import Evidence, fit_evidence, logme
from pipeline.alignment.ped import logme_ped, ped

__all__ = ["Evidence", "fit_evidence", "logme", "logme_ped", "ped"]
