"""Every second and every label is counted once, at its price."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvp.config import CostConfig
from asvp.record.ledger import SAMPLING, STAGES, Ledger

PRICES = CostConfig(per_label=0.5, gpu_hour=36.0, cpu_hour=3.6)  # a cent a GPU-second, a tenth of one a core-second


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger(PRICES, clock=clock)


def test_an_hour_of_a_gpu_and_its_cores_is_at_list_price_unless_told_otherwise(clock):
    ledger = Ledger(CostConfig(), clock=clock)
    with ledger.stage("finetune", cpus=8, gpus=1):
        clock.pass_(3600)
    cost = ledger.close_round(100)["cost"]
    assert cost["labels"] == pytest.approx(4.0)
    assert cost["compute"] == pytest.approx(2.50 + 8 * 0.04)
    assert cost["total"] == pytest.approx(4.0 + 2.50 + 8 * 0.04)


def test_booked_seconds_are_priced_anew_where_the_prices_are_others(clock):
    first = Ledger(PRICES, cpus=2, clock=clock)
    with first.stage("extract", gpus=1):
        clock.pass_(10)
    before = first.close_round(5)
    second = Ledger(CostConfig(per_label=1, gpu_hour=0, cpu_hour=360), clock=clock)
    second.restore(json.loads(json.dumps(first.state())))
    totals = second.totals()
    assert totals["device_seconds"] == before["device_seconds"] == {"cpu": 20, "gpu": 10}
    assert totals["cost"]["total"] == pytest.approx(5 * 1 + 20 * 0.1)
    assert before["cost"]["total"] == pytest.approx(5 * 0.5 + 20 * 0.001 + 10 * 0.01)


def test_a_round_reports_its_stages_and_their_price(ledger, clock):
    with ledger.stage("extract", cpus=2, gpus=0.5):
        clock.pass_(10)
    with ledger.stage("select"):
        clock.pass_(3)
    with ledger.stage("finetune", gpus=1):
        clock.pass_(20)
    with ledger.stage("train", gpus=1):
        clock.pass_(30)
    with ledger.stage("evaluate", cpus=0, gpus=1):
        clock.pass_(5)
    clock.pass_(2)
    report = ledger.close_round(8)

    assert report["seconds"] == {
        "extract": 10, "proxy": 0, "indicator": 0, "select": 3, "finetune": 50, "evaluate": 5, "other": 2,
    }  # fmt: skip
    assert report["sampling_seconds"] == 10 + 3 + 20
    assert report["training_seconds"] == 30
    assert report["saved_seconds"] == 0
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


def test_a_stage_inside_another_interrupts_it(ledger, clock):
    with ledger.stage("evaluate", cpus=4):
        clock.pass_(1)
        with ledger.stage("extract"):
            clock.pass_(10)
            with ledger.stage("other", cpus=0):
                clock.pass_(100)
        clock.pass_(1)
    report = ledger.close_round(0)
    assert (report["seconds"]["evaluate"], report["seconds"]["extract"], report["seconds"]["other"]) == (2, 10, 100)
    assert report["device_seconds"]["cpu"] == 2 * 4 + 10 * 4


def test_a_stage_that_fails_is_booked_too(ledger, clock):
    def fail():
        clock.pass_(7)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ledger.stage("proxy"):
        fail()
    assert ledger.close_round(0)["seconds"]["proxy"] == 7


def test_cached_work_is_charged_as_if_done_and_kept_as_saved(ledger, clock):
    with ledger.stage("extract"):
        ledger.charge("extract", 40, cpus=2)
        clock.pass_(1)
    ledger.charge("train", 9, cpus=0, gpus=1)
    report = ledger.close_round(0)
    assert report["seconds"]["extract"] == 41
    assert report["training_seconds"] == 9
    assert report["saved_seconds"] == 49
    assert report["device_seconds"] == {"cpu": 81, "gpu": 9}


def test_rounds_stand_alone_and_add_up_to_the_totals(ledger, clock):
    reports = []
    for labels, seconds in ((10, 1.5), (20, 2.5)):
        with ledger.stage("select"):
            clock.pass_(seconds)
        reports.append(ledger.close_round(labels))
    assert [report["seconds"]["select"] for report in reports] == [1.5, 2.5]
    assert [report["cost"]["labels"] for report in reports] == [5, 10]
    totals = ledger.totals()
    assert (totals["labels"], totals["sampling_seconds"]) == (30, 4.0)
    assert totals["cost"]["total"] == pytest.approx(sum(report["cost"]["total"] for report in reports))


def test_a_restored_ledger_goes_on_as_if_never_stopped(ledger, clock):
    with ledger.stage("proxy"):
        clock.pass_(3)
    ledger.close_round(5)
    with ledger.stage("finetune", cpus=2):
        clock.pass_(4)
        state = json.loads(json.dumps(ledger.state()))

    other_clock = Clock()
    resumed = Ledger(PRICES, clock=other_clock)
    other_clock.pass_(1000)
    resumed.restore(state)
    for running, its_clock in ((ledger, clock), (resumed, other_clock)):
        with running.stage("select"):
            its_clock.pass_(6)
    assert resumed.close_round(7) == ledger.close_round(7)
    assert resumed.totals() == ledger.totals()
    assert resumed.totals()["seconds"]["proxy"] == 3


@given(st.lists(st.tuples(st.sampled_from(STAGES), st.floats(0, 1e4), st.floats(0, 1e4)), max_size=30))
def test_no_second_is_lost_or_counted_twice(pieces):
    clock = Clock()
    ledger = Ledger(PRICES, clock=clock)
    for stage, inside, outside in pieces:
        with ledger.stage(stage):
            clock.pass_(inside)
        clock.pass_(outside)
    report = ledger.close_round(0)
    assert sum(report["seconds"].values()) == pytest.approx(clock.now - 100, abs=1e-6)
    assert report["sampling_seconds"] == pytest.approx(sum(a for s, a, _ in pieces if s in SAMPLING), abs=1e-6)


def test_misuse_is_refused(ledger):
    with pytest.raises(ValueError, match="unknown stage 'training'"), ledger.stage("training"):
        pass
    with pytest.raises(ValueError, match="cannot be negative"):
        ledger.charge("extract", -1)
    with pytest.raises(ValueError, match="cannot hold"):
        ledger.charge("extract", 1, cpus=-1)
    with pytest.raises(ValueError, match="labels_bought"):
        ledger.close_round(-1)
    with ledger.stage("select"), pytest.raises(RuntimeError, match="inside the stage 'select'"):
        ledger.close_round(1)
    with pytest.raises(ValueError, match="state of a ledger"):
        ledger.restore({"labels": 3})


def test_the_real_clock_runs():
    ledger = Ledger(PRICES)
    with ledger.stage("select"):
        sum(range(1000))
    assert ledger.close_round(0)["seconds"]["select"] > 0
