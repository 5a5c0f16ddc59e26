"""The indicator's course is drawn as the policy reads it: value and threshold on one scale."""

from __future__ import annotations

import numpy as np
import pytest

from asvp.alignment import Observation, Reading
from asvp.alignment.policy import LogmeFall, LogmePedGap
from asvp.config.thresholds import LOGME_FALL, LOGME_PED_GAP, READING_NOISE
from asvp.report.page.indicator import indicator_section

ASVP = {"mode": "asvp", "selection": {"strategy": "margin"}}


def _config(**refresh):
    return {**ASVP, "refresh": refresh}


@pytest.mark.parametrize(
    ("config", "compared"),
    [
        (_config(policy="logme_ped"), ("logme_ped", LOGME_PED_GAP)),
        (_config(policy="logme_ped", threshold=0.02), ("logme_ped", 0.02)),
        (_config(policy="logme"), ("logme", LOGME_FALL)),
        (_config(policy="logme", threshold=0), ("logme", 0.0)),
        (_config(policy="every", every=2), (None, None)),
        ({**_config(policy="logme_ped"), "mode": "svp"}, (None, None)),
        ({**_config(policy="logme_ped"), "mode": "standard"}, (None, None)),
    ],
)
def test_a_policy_that_compares_readings_is_told_with_the_threshold_it_uses(make_run, config, compared):
    run = make_run("a", 0, [0.5, 0.6], config=config, logme=[0.3, 0.2], logme_ped=[0.4, 0.5])
    section = indicator_section([run])
    (one,) = section["runs"]
    assert (one["policy"], one["threshold"]) == compared
    assert section["noise"] == READING_NOISE


def test_a_run_of_which_no_options_are_known_compares_nothing(make_run):
    run = make_run("a", 0, [0.5], logme=[0.3])
    run.config.clear()
    assert indicator_section([run])["runs"][0]["policy"] is None
    assert indicator_section([make_run("a", 0, [0.5])])["runs"] == []


@pytest.mark.parametrize("seed", range(20))
def test_the_values_drawn_are_those_that_the_policies_compare(make_run, a_round, seed):
    """At each round a policy says yes, and names a gap, exactly as the values told have it."""
    random, rounds, history, version = np.random.default_rng(seed), [], [], 0
    asked, reasons = [], []
    for number in range(8):
        logme, ped = random.normal(0.3, 0.05, 2).round(3)
        seen = Observation(number, 100 * (number + 1), version, 1, logme, ped, tuple(history))
        asked.append(LogmeFall(0.03).decide(seen).refresh)
        reasons.append(LogmePedGap(0.03).decide(seen).reason)
        history.append(Reading(seen.labelled, logme, ped, version))
        refreshed = bool(random.random() < 0.3)
        version += refreshed
        rounds.append(a_round(number, seen.labelled, refreshed=refreshed, logme=logme, logme_ped=ped))
        # What a round tells is the version after its refresh.
        rounds[-1]["feature_version"] = version
    points = indicator_section([make_run("a", 0, rounds=rounds)])["runs"][0]["points"]
    assert [fall is not None and fall >= 0.03 for *_, fall in points] == asked
    assert all(f"is {gap:.3f} (" in reason for (*_, gap, _), reason in zip(points, reasons, strict=True))
