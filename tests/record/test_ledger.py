"""Work is counted once, where it was done and at its price; waiting costs nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standing_clock import Clock

from asvp.config import CostConfig
from asvp.record.ledger import SAMPLING, STAGES, Ledger
from asvp.spent import NOTHING, Share, Spent

AMOUNT = ("seconds", "cpu_seconds", "gpu_seconds", "saved_seconds")
PRICES = CostConfig(per_label=0.5, gpu_hour=36.0, cpu_hour=3.6)  # a cent a GPU-second, a tenth of one a core-second


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger(PRICES, clock=clock)


def test_an_hour_of_a_gpu_and_its_cores_is_at_list_price_unless_told_otherwise(clock):
    ledger = Ledger(CostConfig(), clock=clock)
    ledger.charge("finetune", Share(8, 1).spent(3600))
    cost = ledger.close_round(100)["cost"]
    assert cost["labels"] == pytest.approx(4.0)
    assert cost["compute"] == pytest.approx(2.50 + 8 * 0.04)
    assert cost["total"] == pytest.approx(4.0 + 2.50 + 8 * 0.04)


def test_booked_seconds_are_priced_anew_where_the_prices_are_others(clock):
    first = Ledger(PRICES, clock=clock)
    first.charge("extract", Share(2, 1).spent(10))
    before = first.close_round(5)
    second = Ledger(CostConfig(per_label=1, gpu_hour=0, cpu_hour=360), clock=clock)
    second.restore(json.loads(json.dumps(first.state())))
    totals = second.totals()
    assert totals["device_seconds"] == before["device_seconds"] == {"cpu": 20, "gpu": 10}
    assert totals["cost"]["total"] == pytest.approx(5 * 1 + 20 * 0.1)
    assert before["cost"]["total"] == pytest.approx(5 * 0.5 + 20 * 0.001 + 10 * 0.01)


def test_a_round_reports_its_stages_and_their_price(ledger, clock):
    ledger.charge("extract", Spent(10, 20, 5))
    ledger.charge("select", Spent(3, 3))
    ledger.charge("finetune", Spent(20, 20, 20))
    ledger.charge("train", Spent(30, 30, 30))
    ledger.charge("evaluate", Spent(5, 0, 5))
    clock.pass_(2)
    report = ledger.close_round(8)

    assert report["seconds"] == {
        "extract": 10, "proxy": 0, "indicator": 0, "select": 3, "finetune": 50, "evaluate": 5, "other": 2,
    }  # fmt: skip
    assert report["sampling_seconds"] == 10 + 3 + 20
    assert report["training_seconds"] == 30
    assert report["saved_seconds"] == 0
    assert report["waiting_seconds"] == 0
    assert report["device_seconds"] == {"cpu": 20 + 3 + 20 + 30 + 2, "gpu": 5 + 20 + 30 + 5}
    assert report["cost"] == pytest.approx(
        {
            "labels": 4.0,
            "sampling": (20 + 3 + 20) * 0.001 + 25 * 0.01,
            "training": 30 * 0.001 + 30 * 0.01,
            "evaluation": 5 * 0.01,
            "compute": 75 * 0.001 + 60 * 0.01,
            "total": 4.0 + 75 * 0.001 + 60 * 0.01,
        }
    )


def test_other_is_the_drivers_own_time_alone(ledger, clock):
    clock.pass_(1)
    with ledger.away():
        clock.pass_(50)
    # Work is booked as it is told, however long the driver was away for it.
    ledger.charge("proxy", Spent(8, 16))
    clock.pass_(2)
    with ledger.away():
        clock.pass_(0)
    clock.pass_(4)
    report = ledger.close_round(0)
    assert report["seconds"]["other"] == 1 + 2 + 4
    assert report["seconds"]["proxy"] == 8
    assert sum(report["seconds"].values()) == 7 + 8
    # It works on one core.
    assert report["device_seconds"] == {"cpu": 7 + 16, "gpu": 0}


def test_a_driver_that_is_told_of_a_failure_is_back(ledger, clock):
    def fail():
        clock.pass_(7)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ledger.away():
        fail()
    clock.pass_(3)
    assert ledger.close_round(0)["seconds"]["other"] == 3


def test_waiting_costs_nothing_and_is_kept_apart(ledger, clock):
    with ledger.away():
        clock.pass_(100)
    ledger.charge("select", Spent(4, 4), waited=60.0)
    ledger.charge("train", NOTHING, waited=30.0)
    report = ledger.close_round(0)
    assert report["waiting_seconds"] == 90
    assert sum(report["seconds"].values()) == 4
    assert report["device_seconds"] == {"cpu": 4, "gpu": 0}
    assert report["cost"]["compute"] == pytest.approx(0.004)
    ledger.charge("select", NOTHING, waited=5.0)
    assert ledger.close_round(0)["waiting_seconds"] == 5
    assert ledger.totals()["waiting_seconds"] == 95


def test_saved_work_is_charged_as_if_done_and_shown_as_saved(ledger):
    ledger.charge("extract", Spent(41, 82), saved=Spent(40, 80))
    ledger.charge("train", Spent(9, 0, 9), saved=Spent(9, 0, 9))
    ledger.charge("select", Spent(1, 1))
    report = ledger.close_round(0)
    assert report["seconds"]["extract"] == 41
    assert report["training_seconds"] == 9
    assert report["saved_seconds"] == 49
    assert report["device_seconds"] == {"cpu": 83, "gpu": 9}
    assert report["cost"]["compute"] == pytest.approx(83 * 0.001 + 9 * 0.01)


def test_rounds_stand_alone_and_add_up_to_the_totals(ledger):
    reports = []
    for labels, seconds in ((10, 1.5), (20, 2.5)):
        ledger.charge("select", Spent(seconds, seconds))
        reports.append(ledger.close_round(labels))
    assert [report["seconds"]["select"] for report in reports] == [1.5, 2.5]
    assert [report["cost"]["labels"] for report in reports] == [5, 10]
    totals = ledger.totals()
    assert (totals["labels"], totals["sampling_seconds"]) == (30, 4.0)
    assert totals["cost"]["total"] == pytest.approx(sum(report["cost"]["total"] for report in reports))


def test_a_restored_ledger_goes_on_as_if_never_stopped(ledger, clock):
    ledger.charge("proxy", Spent(3, 6), waited=2.0)
    clock.pass_(1)
    ledger.close_round(5)
    # What a round that was never closed had booked is done, and booked, again.
    state = json.loads(json.dumps(ledger.state()))
    ledger.charge("finetune", Spent(4, 8), saved=Spent(4, 8), waited=1.0)

    other_clock = Clock()
    resumed = Ledger(PRICES, clock=other_clock)
    resumed.charge("select", Spent(1000, 1000), waited=1000.0)
    other_clock.pass_(1000)
    resumed.restore(state)
    resumed.charge("finetune", Spent(4, 8), saved=Spent(4, 8), waited=1.0)
    for running, its_clock in ((ledger, clock), (resumed, other_clock)):
        running.charge("select", Spent(6, 6), waited=4.0)
        its_clock.pass_(3)
    report = resumed.close_round(7)
    assert report == ledger.close_round(7)
    assert resumed.totals() == ledger.totals()
    assert resumed.totals()["seconds"]["proxy"] == 3
    assert (report["waiting_seconds"], resumed.totals()["waiting_seconds"]) == (5, 7)
    assert (report["seconds"]["other"], resumed.totals()["seconds"]["other"]) == (3, 4)


def test_the_state_of_an_earlier_version_is_taken_up(ledger):
    """It told the sums over all rounds alone, and of no waiting."""
    ledger.charge("proxy", Spent(3, 6))
    ledger.close_round(5)
    ledger.charge("select", Spent(1, 1))
    ledger.close_round(7)
    total = sum((account["amounts"]["proxy"]["seconds"] for account in ledger.state()["rounds"]), 0.0)
    assert total == 3
    amounts = {
        stage: {name: sum(one["amounts"][stage][name] for one in ledger.state()["rounds"]) for name in AMOUNT}
        for stage in STAGES
    }
    resumed = Ledger(PRICES, clock=Clock())
    resumed.restore({"closed": amounts, "round": {}, "labels": 12}, rounds=2)
    assert resumed.totals() == ledger.totals()
    resumed.charge("train", Spent(2, 2), number=1)
    assert resumed.report(1)["training_seconds"] == 2


def test_what_comes_late_is_charged_to_the_round_it_was_for(ledger, clock):
    ledger.close_round(5)
    clock.pass_(3)
    ledger.close_round(7)
    ledger.charge("train", Spent(4, 8), saved=Spent(4, 8), waited=2.0, number=0)
    first, second = ledger.report(0), ledger.report(1)
    assert (first["training_seconds"], first["saved_seconds"], first["waiting_seconds"]) == (4, 4, 2)
    assert (second["training_seconds"], second["seconds"]["other"]) == (0, 3)
    assert ledger.totals()["training_seconds"] == 4
    assert first["cost"]["labels"] == pytest.approx(5 * 0.5)


PIECE = st.tuples(st.sampled_from(STAGES), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(0, 1e4))


@given(st.lists(PIECE, max_size=30))
def test_no_second_of_the_driver_or_its_workers_is_lost_or_counted_twice(pieces):
    clock = Clock()
    ledger = Ledger(PRICES, clock=clock)
    for stage, inside, outside, away in pieces:
        with ledger.away():
            clock.pass_(away)
        ledger.charge(stage, Share(2.0).spent(inside))
        clock.pass_(outside)
    report = ledger.close_round(0)
    done, own = sum(piece[1] for piece in pieces), sum(piece[2] for piece in pieces)
    assert sum(report["seconds"].values()) == pytest.approx(done + own, abs=1e-6)
    assert report["device_seconds"]["cpu"] == pytest.approx(2 * done + own, abs=1e-6)
    assert report["sampling_seconds"] == pytest.approx(sum(p[1] for p in pieces if p[0] in SAMPLING), abs=1e-6)


def test_misuse_is_refused(ledger):
    with pytest.raises(ValueError, match="unknown stage 'training'"):
        ledger.charge("training", NOTHING)
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.charge("extract", Spent(-1))
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.charge("extract", Spent(1, -1))
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.charge("extract", Spent(1), saved=Spent(-1))
    with pytest.raises(ValueError, match="less than nothing"):
        ledger.charge("extract", Spent(1), waited=-1.0)
    with pytest.raises(ValueError, match="labels_bought"):
        ledger.close_round(-1)
    assert sum(ledger.close_round(0)["seconds"].values()) == 0


@pytest.mark.parametrize(
    "state",
    [
        {"labels": 3},
        {"rounds": 3},
        {"rounds": [{}]},
        {"rounds": [None]},
        {"rounds": [{"amounts": {}, "labels": 3, "waited": 0.0}]},
    ],
    ids=str,
)
def test_what_is_no_state_is_refused(ledger, state):
    with pytest.raises(ValueError, match="state of a ledger"):
        ledger.restore(state)


@pytest.mark.parametrize("key", ["labels", "waited"])
@pytest.mark.parametrize("value", ["three", None, []])
def test_a_state_with_odd_numbers_is_refused(ledger, key, value):
    ledger.close_round(5)
    state = ledger.state()
    state["rounds"][0][key] = value
    with pytest.raises(ValueError, match="state of a ledger"):
        ledger.restore(state)


def test_the_real_clock_runs():
    ledger = Ledger(PRICES)
    sum(range(1000))
    assert ledger.close_round(0)["seconds"]["other"] > 0
