"""Refresh policies: when each says yes, and that nothing but the observation decides."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvp.alignment import Observation, Reading, make_policy
from asvp.alignment.policy import Attempt, LogmeFall, LogmePedGap
from asvp.config import RefreshConfig
from asvp.config.thresholds import LOGME_FALL, LOGME_PED_GAP, READING_NOISE
from asvp.errors import ConfigError

POLICIES = [
    RefreshConfig(policy="never"),
    RefreshConfig(policy="every", every=2),
    RefreshConfig(policy="at", at=[400, 800]),
    RefreshConfig(policy="logme", threshold=0.05),
    RefreshConfig(policy="logme_ped", threshold=0.15),
]


def course(
    config: RefreshConfig,
    labelled: list[int],
    readings: list[tuple[float, float]] | None = None,
    put_aside: tuple[int, ...] = (),
    total: int | None = None,
) -> list[bool]:
    """Decisions of a whole run, with the state a driver keeps; refreshes at some counts are put aside."""
    policy = make_policy(config)
    decisions, history, attempts = [], (), ()
    for number, count in enumerate(labelled):
        logme, logme_ped = readings[number] if readings else (None, None)
        since = number - (attempts[-1].round if attempts else -1)
        version = sum(attempt.kept for attempt in attempts)
        left = None if total is None else total - count
        observation = Observation(number, count, version, since, logme, logme_ped, history, attempts, left)
        refresh = policy.decide(observation).refresh
        history = (*history, Reading(count, logme, logme_ped, version))
        decisions.append(refresh)
        if refresh:
            attempts = (*attempts, Attempt(number, count, count not in put_aside))
    return decisions


def gaps(*values: float) -> list[tuple[float, float]]:
    return [(0.5, 0.5 + value) for value in values]


LABELLED = [200, 400, 600, 800, 1000, 1200]


def test_never_keeps_the_features() -> None:
    assert course(RefreshConfig(policy="never"), LABELLED) == [False] * 6


def test_every_round_refreshes_as_soon_as_there_are_labels() -> None:
    assert course(RefreshConfig(policy="every", every=1), LABELLED) == [True] * 6
    assert course(RefreshConfig(policy="every", every=1), [0, *LABELLED]) == [False] + [True] * 6


def test_every_second_round_counts_from_the_last_refresh() -> None:
    assert course(RefreshConfig(policy="every", every=2), LABELLED) == [False, True] * 3


def test_at_refreshes_at_its_label_counts_only() -> None:
    assert course(RefreshConfig(policy="at", at=[400, 1000]), LABELLED) == [False, True, False, False, True, False]


def test_logme_refreshes_when_it_fell_far_enough_from_its_best_on_the_same_features() -> None:
    config = RefreshConfig(policy="logme", threshold=0.1, min_growth=1)
    values = [0.60, 0.65, 0.58, 0.54, 0.50, 0.39]
    assert course(config, [100, 200, 300, 400, 500, 600], [(value, 0.0) for value in values]) == [
        False,
        False,
        False,
        True,  # 0.65 - 0.54
        False,  # 0.50 is the first reading on the new features
        True,
    ]


def test_one_gap_just_above_the_threshold_is_not_enough_but_two_in_a_row_are() -> None:
    config = RefreshConfig(policy="logme_ped", threshold=0.15)
    assert course(config, [100, 200, 300], gaps(0.10, 0.16, 0.155)) == [False, False, True]
    assert course(config, [100, 200, 300], gaps(0.16, 0.14, 0.16)) == [False, False, False]


def test_one_gap_that_clears_the_threshold_by_more_than_noise_is_enough() -> None:
    config = RefreshConfig(policy="logme_ped", threshold=0.15)
    assert course(config, [200], gaps(0.15 + READING_NOISE + 1e-9)) == [True]
    assert course(config, [200], gaps(0.15 + READING_NOISE - 1e-9)) == [False]


def test_gaps_of_older_features_do_not_count() -> None:
    config = RefreshConfig(policy="logme_ped", threshold=0.15)
    assert course(config, [100, 200, 300], gaps(0.25, 0.16, 0.16)) == [True, False, True]


@pytest.mark.parametrize("put_aside", [(), (200,)], ids=["kept", "put aside"])
def test_indicators_wait_until_the_labels_have_grown_enough_and_fixed_rounds_do_not(put_aside: tuple[int, ...]) -> None:
    high = gaps(*[0.3] * 6)
    config = RefreshConfig(policy="logme_ped", min_growth=2)
    assert course(config, LABELLED, high, put_aside) == [True, True, False, True, False, False]
    thrice = config.model_copy(update={"min_growth": 3.0})
    assert course(thrice, LABELLED, high, put_aside) == [True, False, True, False, False, False]
    eager = config.model_copy(update={"min_growth": 1.0})
    assert course(eager, LABELLED, high, put_aside) == [True] * 6
    assert course(RefreshConfig(policy="every", every=1), LABELLED, high, put_aside) == [True] * 6


def test_indicators_refresh_only_while_enough_labels_are_left_to_choose() -> None:
    high = gaps(*[0.3] * 6)
    config = RefreshConfig(policy="logme_ped", min_growth=1)
    assert course(config, LABELLED, high, total=1200) == [True, True, True, False, False, False]
    until_the_end = config.model_copy(update={"min_left": 0.0})
    assert course(until_the_end, LABELLED, high, total=1200) == [True] * 6
    assert course(RefreshConfig(policy="at", at=[1000]), LABELLED, high, total=1200)[4]


@pytest.mark.parametrize("config", POLICIES, ids=lambda config: config.policy)
def test_limits_hold_for_every_policy(config: RefreshConfig) -> None:
    readings = [(0.9 - 0.2 * number, 1.5) for number in range(6)]
    free = course(config, LABELLED, readings)
    late = course(config.model_copy(update={"min_labels": 500}), LABELLED, readings)
    assert not any(late[:2])
    few = course(config.model_copy(update={"max_refreshes": 1}), LABELLED, readings)
    assert sum(few) == min(1, sum(free))
    assert not any(course(config.model_copy(update={"max_refreshes": 0}), LABELLED, readings))


@pytest.mark.parametrize(
    ("policy", "needs"),
    [
        ({"policy": "never"}, set()),
        ({"policy": "every", "every": 3}, set()),
        ({"policy": "at", "at": [5]}, set()),
        ({"policy": "logme"}, {"logme"}),
        ({"policy": "logme_ped"}, {"logme", "logme_ped"}),
    ],
)
def test_only_needed_indicators_are_asked_for(policy: dict, needs: set[str]) -> None:
    assert make_policy(RefreshConfig(**policy)).needs == needs


def test_no_threshold_means_the_measured_default() -> None:
    assert make_policy(RefreshConfig(policy="logme")).policy == LogmeFall(LOGME_FALL)
    assert make_policy(RefreshConfig(policy="logme_ped")).policy == LogmePedGap(LOGME_PED_GAP)


def test_an_indicator_that_was_not_measured_never_refreshes() -> None:
    for name in ("logme", "logme_ped"):
        decision = make_policy(RefreshConfig(policy=name)).decide(Observation(3, 600, 0, 3, None, None))
        assert decision.refresh is False


@pytest.mark.parametrize("config", POLICIES, ids=lambda config: config.policy)
@given(
    labelled=st.integers(0, 1000),
    refreshes=st.integers(0, 3),
    since=st.integers(0, 5),
    values=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 2), st.integers(0, 3)), min_size=1, max_size=5),
)
def test_a_restored_observation_gives_the_same_decision(
    config: RefreshConfig, labelled: int, refreshes: int, since: int, values: list[tuple[float, float, int]]
) -> None:
    """Through JSON, as in a checkpoint, a reading becomes a list; through pickle a policy becomes another object."""
    history = tuple(Reading(100 * n, logme, ped, version) for n, (logme, ped, version) in enumerate(values[:-1]))
    seen = Observation(len(values), labelled, refreshes, since, *values[-1][:2], history)
    policy = make_policy(config)
    restored = replace(seen, history=tuple(json.loads(json.dumps(history))))
    assert pickle.loads(pickle.dumps(policy)).decide(restored) == policy.decide(seen) == policy.decide(seen)
    assert policy.decide(seen).reason


def test_an_incomplete_configuration_is_a_config_error_that_names_the_key() -> None:
    broken = RefreshConfig(policy="every", every=1).model_copy(update={"every": None})
    with pytest.raises(ConfigError, match=r"refresh\.policy"):
        make_policy(broken)
