"""When to refresh the features: LogME, Potential Energy Decline and the refresh policies."""

from __future__ import annotations

from asvp.alignment.logme import Evidence, fit_evidence, logme
from asvp.alignment.ped import logme_ped, ped
from asvp.alignment.policy import Decision, Observation, Reading, RefreshPolicy, make_policy

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
