"""report.html in a real browser: what it says for other prices is what Python says, and names stay text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asvp.report.comparison import compare_records
from asvp.report.page.repriced import Prices, prices_of, repriced
from asvp.report.redrawn import redrawn
from asvp.report.savings import default_targets, savings
from asvp.report.verdict import verdict

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EVIL = "<img src=x onerror=alert(1)>"
AXE = Path(__file__).parent / "axe.min.js"
HERE = {"per_label": 0.04, "gpu_hour": 2.5, "cpu_hour": 0.04}
SETTINGS = [Prices(0.04, 2.5, 0.04), Prices(0.001, 30.0, 4.0), Prices(0.0, 0.0, 0.0), Prices(0.0, 0.5, 90.0)]


def _runs(make_run, arms, seeds=3, counts=(0.3, 0.45, 0.55, 0.6), rows=200):
    """Made-up runs whose final models are known row by row, with device-seconds that differ from arm to arm."""
    random, made = np.random.default_rng(7), []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            correct = {
                100 * (i + 1): random.random(rows) < share + 0.03 * (place % 4) * (i > 0)
                for i, share in enumerate(counts)
            }
            run = make_run(
                arm,
                seed,
                [float(one.mean()) for one in correct.values()],
                correct=correct,
                picks={EVIL: 60, "b": 40},
                device_seconds=[{"cpu": 40.0 * (place + i + 1), "gpu": 9.0 * (place % 3)} for i in range(len(counts))],
                logme=[0.1 * i + 0.01 * place for i in range(len(counts))],
            )
            run.config["cost"].update(HERE)
            made.append(run)
    return made


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no chromium to show the page in")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    with playwright.sync_playwright() as driver:
        one = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of some runs; whatever it complains of, or asks of others, fails the test."""
    contexts, wrong = [], []

    def opened(records, address="", **options):
        compare_records(records, tmp_path / "out")
        context = browser.new_context(bypass_csp=False, **options)
        contexts.append(context)
        page = context.new_page()
        path = (tmp_path / "out" / "report.html").as_uri()
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda asked: asked.url.startswith((path, "data:")) or wrong.append(asked.url))
        page.goto(path + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _said(page):
    return page.eval_on_selector_all(".said .told", "parts => parts.map(part => part.textContent).join('')")


def _cells(page, table):
    return [
        [cell.strip() for cell in row]
        for row in page.eval_on_selector_all(
            f"#{table}-table tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
    ]


def test_a_price_changes_the_answer_the_order_and_the_numbers_to_what_python_computes(make_run, show):
    records = _runs(make_run, ["random", "margin", "badge", "svp"])
    page = show(records)
    drawn = redrawn(records)
    assert _said(page) == verdict(records, drawn).text
    curves = set()
    for prices in SETTINGS:
        for key, value in vars(prices).items():
            page.fill(f"#price-{key}", str(value))
        answer = verdict(repriced(records, prices), drawn)
        assert _said(page) == (verdict(records, drawn) if prices == SETTINGS[0] else answer).text
        expected = [
            row
            for one in answer.rankings
            for row in [
                [one.amount, "1", one.best, f"{one.accuracy.mean:.3f}"],
                *([one.amount, str(i), o.arm, f"{o.accuracy:.3f}"] for i, o in enumerate(one.behind, start=2)),
            ]
        ]
        assert [row[:4] for row in _cells(page, "rankings")] == expected
        behind = [f"{o.difference.low:.3f}" for one in answer.rankings for o in one.behind]
        assert [row[5] for row in _cells(page, "rankings") if row[1] != "1"] == behind
        curves.add(page.evaluate("JSON.stringify(document.querySelector('#costs .figure').data.map(t => t.x))"))
    assert len(curves) == len(SETTINGS)


def test_the_address_keeps_the_prices(make_run, show):
    records = _runs(make_run, ["random", "margin"])
    page = show(records, "#per_label=0.001&gpu_hour=30&cpu_hour=4")
    assert _said(page) == verdict(repriced(records, SETTINGS[1]), redrawn(records)).text
    page.fill("#price-per_label", "2")
    assert page.url.endswith("#per_label=2&gpu_hour=30&cpu_hour=4")


def test_the_sliders_answer_is_that_of_the_savings_table(make_run, show):
    records = repriced(_runs(make_run, ["random", "margin", "badge"]), Prices(**HERE))
    page = show(records)
    for target in default_targets(records):
        page.fill("#wanted", str(target))
        expected = [
            [one.arm, f"{np.mean(list(one.labels.values())):,.0f}", f"${np.mean(list(one.dollars.values())):,.2f}"]
            for one in savings(records, [target])
        ]
        assert [row[:3] for row in _cells(page, "needed")] == expected


def test_tables_are_filtered_and_sorted(make_run, show):
    page = show(_runs(make_run, ["random", "margin", "badge"]))
    page.fill("#trials input[type=search]", "badge")
    assert {row[0] for row in _cells(page, "trials")} == {"badge"}
    page.click("#trials th:has-text('final accuracy') button")
    accuracies = [row[6] for row in _cells(page, "trials")]
    assert len(accuracies) == 3
    assert accuracies == sorted(accuracies)
    page.click("#trials th:has-text('final accuracy') button")
    assert [row[6] for row in _cells(page, "trials")] == accuracies[::-1]


@pytest.mark.parametrize("look", ["light", "dark"])
def test_names_stay_text_and_axe_finds_nothing_serious(make_run, show, look):
    page = show(_runs(make_run, ["random", EVIL, "a & b</script>"]), color_scheme=look)
    page.wait_for_timeout(200)
    assert page.locator("img").count() == 0
    assert EVIL in page.inner_text("#trials")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found
            if one["impact"] in ("serious", "critical")] == []  # fmt: skip


def test_a_phone_scrolls_no_wider_than_it_is_with_forty_arms(make_run, show):
    names = ["random", *(f"asvp strategy-{i} (refresh.at={100 * i})" for i in range(39))]
    page = show(_runs(make_run, names, seeds=1), viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_printing_leaves_controls_out(make_run, show):
    page = show(_runs(make_run, ["random", "margin"]))
    page.emulate_media(media="print")
    assert not page.is_visible("#price-per_label")
    assert page.is_visible("#costs .figure")


def test_runs_that_tell_less_make_a_page_that_says_so(make_run, show):
    records = [make_run("random", 0, [0.5, 0.6]), make_run("margin", 0, [0.5, 0.7])]
    page = show(records)
    assert "do not tell their device-seconds" in page.inner_text("#costs")
    assert "Recall of a class" in page.inner_text("#classes") or "do not tell the labels" in page.inner_text("#classes")


def test_200_trials_of_20_rounds_stay_below_6_mb(make_run, tmp_path):
    counts = tuple(0.3 + 0.01 * i for i in range(20))
    compare_records(_runs(make_run, [f"arm {i}" for i in range(40)], seeds=5, counts=counts), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_bytes()
    assert len(page) < 6_000_000
    data = page.split(b'id="data">')[1].split(b"</script>")[0]
    assert len(json.loads(data)["trials"]) == 200


def test_recorded_prices_are_charged_again_to_the_cent(make_run):
    records = repriced(_runs(make_run, ["random", "margin"], seeds=1), Prices(**HERE))
    again = repriced(records, Prices(**HERE))
    for run, same in zip(records, again, strict=True):
        assert run.total("cost", "total") == pytest.approx(same.total("cost", "total"))
    assert prices_of(records) == Prices(**HERE)
