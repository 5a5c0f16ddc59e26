"""When to refresh the features: LogME, Potential Energy Decline and the refresh policies."""

from __future__ import annotations

from pipeline.alignment.logme import Evidence, fit_evidence, logme
from pipeline.alignment.ped import logme_ped, ped
from pipeline.alignment.policy import Decision, Observation, Reading, RefreshPolicy, make_policy

__all__ = [
    "Decision",
    "Evidence",
    "Observation",
    "Reading",
    "RefreshPolicy",
    "fit_evidence",
    "logme",
    "logme_ped",
    "make_policy",
    "ped",
]
