"""report.html in a real browser: what it says for other prices is what Python says, and names stay text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_rows import section

from asvp.report.commands import Command
from asvp.report.comparison import compare_records
from asvp.report.page.beside import Beside, read_beside
from asvp.report.page.repriced import Prices, prices_of, repriced
from asvp.report.records import read_records
from asvp.report.redrawn import redrawn
from asvp.report.savings import default_targets, savings
from asvp.report.status import Planned
from asvp.report.status_files import write_planned
from asvp.report.verdict import verdict

EVIL = "<img src=x onerror=alert(1)>"
AXE = Path(__file__).parent / "axe.min.js"
HERE = {"per_label": 0.04, "gpu_hour": 2.5, "cpu_hour": 0.04}
DRAW_ALL = "dispatchEvent(new Event('beforeprint'))"
DRAWN = "[...document.querySelectorAll('.figure')].filter((one) => one.data).map((one) => one.id)"
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


@pytest.fixture
def show(browser, tmp_path):
    """Opens the page of some runs; whatever it complains of, or asks of others, fails the test."""
    contexts, wrong = [], []

    def opened(records, address="", *, beside=None, whole=True, reload=None, **options):
        compare_records(records, tmp_path / "out", beside=beside, reload=reload)
        context = browser.new_context(bypass_csp=False, **options)
        contexts.append(context)
        page = context.new_page()
        path = (tmp_path / "out" / "report.html").as_uri()
        page.on("console", lambda said: wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda asked: asked.url.startswith((path, "data:")) or wrong.append(asked.url))
        page.goto(path + address)
        # What is not on the screen is drawn when it comes there, or when the page is printed.
        if whole:
            page.evaluate(DRAW_ALL)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _said(page):
    return page.eval_on_selector_all(".said .told", "parts => parts.map(part => part.textContent).join('')")


def _serious(page):
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        (one["id"], [node["target"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


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
        # At the prices that were paid, what was charged is told.
        answer = verdict(records if prices == SETTINGS[0] else repriced(records, prices), drawn)
        assert _said(page) == answer.text
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


def test_one_seed_has_no_interval_at_any_price(make_run, show):
    records = _runs(make_run, ["random", "margin", "badge"], seeds=1)
    page = show(records)
    drawn = redrawn(records)
    for prices in SETTINGS[:2]:
        for key, value in vars(prices).items():
            page.fill(f"#price-{key}", str(value))
        assert _said(page) == verdict(records if prices == SETTINGS[0] else repriced(records, prices), drawn).text
        assert "One seed tells nothing apart" in _said(page)
        told = {(row[1] == "1", *row[5:]) for row in _cells(page, "rankings")}
        assert told == {(True, "\u2013", "\u2013", "1", "\u2013"), (False, "one seed", "one seed", "1", "no")}
    saved = _cells(page, "savings")
    assert saved
    assert {tuple(row[3:5]) for row in saved if row[-1] == "no"} == {("one seed", "one seed")}
    # The differences are drawn all the same, without bars.
    bars = "document.getElementById('figure-differences').data.map((one) => one.error_x && one.error_x.array)"
    assert [bar or None for bar in page.evaluate(bars)] == [None, None]
    assert "One seed has no interval" in page.inner_text("#differences")


def test_what_is_no_price_is_marked_and_the_last_price_counts(make_run, show):
    page = show(_runs(make_run, ["random", "margin"]))
    page.fill("#price-per_label", "2")
    said, told = _said(page), "#wrong-prices"
    for wrong in ("-1", "", "2e9"):
        page.fill("#price-per_label", wrong)
        assert page.get_attribute("#price-per_label", "aria-invalid") == "true"
        assert "what is given is none for a label ($2.00 still counts)" in page.inner_text(told)
        assert _said(page) == said
    assert _serious(page) == []
    page.fill("#price-gpu_hour", "3")
    assert "a label" in page.inner_text(told)
    page.fill("#price-per_label", "0.5")
    assert page.get_attribute("#price-per_label", "aria-invalid") == "false"
    assert page.text_content(told) == ""


def _axis(page, figure, axis):
    """The range of an axis as drawn, and the marks on it."""
    drawn = page.evaluate(f"document.getElementById('figure-{figure}')._fullLayout.{axis}axis.range")
    marks = page.eval_on_selector_all(f"#figure-{figure} .{axis}tick text", "all => all.map(one => one.textContent)")
    return drawn, marks


def test_a_single_final_model_has_axes_around_it(make_run, show):
    page = show(_runs(make_run, ["svp"], seeds=1, counts=(0.9,)))
    for figure in ("learning_curves", "cost_curves"):
        (low, high), _ = _axis(page, figure, "y")
        (accuracy,) = page.evaluate(f"[...document.getElementById('figure-{figure}').data[0].y]")
        assert 0 <= low < accuracy < high <= 1
        assert high - low <= 0.1 + 1e-9
    assert _axis(page, "learning_curves", "x") == ([50, 150], ["100"])
    assert _axis(page, "cost_curves", "x")[0][0] > 0


def test_labels_are_whole_numbers_where_they_are_few(make_run, a_round, show):
    rounds = [a_round(i, 10 + i, final=0.5 + 0.1 * i) for i in range(3)]
    page = show([make_run("svp", 0, rounds=rounds)])
    marks = _axis(page, "learning_curves", "x")[1]
    assert {"10", "11", "12"} <= set(marks)
    assert all(mark.isdigit() for mark in marks)


def _course(page, kind):
    """Name, values and labels of each line of a figure of the indicator, and how far its axis reaches."""
    lines = f"document.getElementById('figure-indicator_{kind}').data.map((one) => [one.name, [...one.x], [...one.y]])"
    return page.evaluate(lines), _axis(page, f"indicator_{kind}", "y")[0]


def test_the_gap_is_drawn_with_its_threshold_on_one_scale(make_run, show):
    asvp = {"mode": "asvp", "selection": {"strategy": "margin"}}
    readings = {"logme": [0.30, 0.32, 0.35], "logme_ped": [0.33, 0.37, 0.36]}
    runs = [
        make_run(f"at {threshold}", 0, [0.4, 0.5, 0.6], refreshed=[False, True, False], **readings,
                 config={**asvp, "refresh": {"policy": "logme_ped", "threshold": threshold}})
        for threshold in (0.02, None)
    ]  # fmt: skip
    page = show(runs)
    lines, (low, high) = _course(page, "gap")
    gap = pytest.approx([0.03, 0.05, 0.01])
    assert lines == [
        ["at 0.02", [100, 200, 300], gap],
        ["at None", [100, 200, 300], gap],
        ["threshold 0.02", [100, 300], [0.02, 0.02]],
        ["threshold 0.12", [100, 300], [0.12, 0.12]],
    ]
    assert low < 0.01
    assert high > 0.12
    told = page.inner_text("#indicator")
    assert "which policy logme_ped compares with refresh.threshold" in told
    assert "an arm's threshold (0.02, 0.12)" in told
    assert "clears it by 0.03 in one" in told
    symbols = "[...document.getElementById('figure-indicator_gap').data[0].marker.symbol]"
    assert page.evaluate(symbols) == ["circle", "star", "circle"]


def test_the_fall_of_logme_is_drawn_with_its_threshold_on_one_scale(make_run, show):
    config = {"mode": "asvp", "selection": {"strategy": "margin"}, "refresh": {"policy": "logme"}}
    page = show([make_run("a", 0, [0.4, 0.5, 0.6], logme=[0.30, 0.32, 0.31], config=config)])
    lines, (low, high) = _course(page, "fall")
    # The first reading has none to fall from.
    assert lines == [["a", [200, 300], pytest.approx([-0.02, 0.01])], ["threshold 0.025", [200, 300], [0.025, 0.025]]]
    assert low < -0.02
    assert high > 0.025
    assert "which policy logme compares with refresh.threshold" in page.inner_text("#indicator")
    assert "the threshold (0.025)" in page.inner_text("#indicator")


def test_readings_that_no_policy_compares_have_no_threshold(make_run, show):
    page = show([make_run("a", 0, [0.4, 0.5], logme=[0.30, 0.32])])
    assert _course(page, "level")[0] == [["a", [100, 200], [0.30, 0.32]]]
    assert "compare with no threshold" in page.inner_text("#indicator")


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
    assert _serious(page) == []


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_rows_either(make_run, show, look, monkeypatch):
    rows = section(["random", EVIL, "a & b"])
    monkeypatch.setattr("asvp.report.page.data.rows_section", lambda records: rows)
    page = show(_runs(make_run, ["random", "margin"], seeds=1), color_scheme=look)
    assert page.locator("#rows .rows-card").count() == 6
    assert _serious(page) == []
    page.select_option("#rows .rows-gallery select, #rows select >> nth=0", index=1)
    assert _serious(page) == []


def test_a_phone_scrolls_no_wider_than_it_is_with_forty_arms(make_run, show):
    names = ["random", *(f"asvp strategy-{i} (refresh.at={100 * i})" for i in range(39))]
    page = show(_runs(make_run, names, seeds=1), viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_scrolls_no_wider_than_it_is_with_long_paths(make_run, show):
    records = _runs(make_run, ["random", "margin"], seeds=1)
    for run in records:
        run.config["data"]["pool"] = f"/{'a_long_folder_without_a_blank' * 4}/pool.parquet"
        run.config["encoder"]["model"] = "package:" + "m" * 90
    page = show(records, viewport={"width": 390, "height": 800}, beside=Beside({}, {"f" * 80: []}))
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


def test_random_picks_are_grey_and_the_others_held_against_them_whatever_they_are_called(make_run, show):
    names = {"random": "rnd", "margin": "random"}
    page = show([replace(run, arm=names[run.arm]) for run in _runs(make_run, ["random", "margin"])])
    curve = "document.querySelector('#curves .figure').data.map((one) => [one.name, one.line.color])"
    colours = {name: colour for name, colour in page.evaluate(curve) if name in names.values()}
    assert colours == {"rnd": "#6B6B6B", "random": "#0072B2"}
    told = page.inner_text("#savings")
    assert "random" in told
    assert "rnd" not in told


def test_figures_are_drawn_when_they_come_near_the_screen_and_all_of_them_for_paper(make_run, show):
    page = show(_runs(make_run, ["random", "margin"]), whole=False)
    page.wait_for_selector("#curves .main-svg")
    assert "figure-differences" not in page.evaluate(DRAWN)
    page.locator("#differences").scroll_into_view_if_needed()
    page.wait_for_selector("#differences .main-svg")
    page.emulate_media(media="print")
    page.wait_for_selector(".figure:empty", state="detached")


def test_classes_are_figures_too(make_run, show):
    records = [
        replace(run, summary={"recall": {EVIL: 0.25, "b": 0.75}}) for run in _runs(make_run, ["random", "margin"])
    ]
    page = show(records)
    drawn = "(name) => document.getElementById(name).data.map((one) => [one.name, [...one.x], [...one.customdata]])"
    shown_names = [EVIL.replace("<", "\u2039").replace(">", "\u203a"), "b"]
    assert page.evaluate(drawn, "figure-class_balance") == [
        [arm, pytest.approx([0.6, 0.4]), shown_names] for arm in ("random", "margin")
    ]
    assert page.evaluate(drawn, "figure-class_recall") == [
        [arm, [0.25, 0.75], shown_names] for arm in ("random", "margin")
    ]
    with page.expect_download() as saved:
        page.click("#classes button[aria-label='Recall of each class, of final models: data as CSV']")
    assert Path(saved.value.path()).read_text().splitlines()[1] == f"random,{EVIL},0.25"


def test_trials_that_failed_or_were_stopped_are_told_with_their_reason(write_run, a_round, show, tmp_path):
    sweep = tmp_path / "sweep"
    rounds = [a_round(0, 100, final=0.5), a_round(1, 200, final=0.6)]
    write_run(sweep / "runs" / "good-seed0", arm="good", rounds=rounds, budget="100x2")
    stopped = write_run(sweep / "runs" / "slow-seed0", arm="slow", rounds=rounds[:1], finished=False)
    (stopped / "stopped.json").write_text(json.dumps({"message": "stopped: behind the others"}))
    broken = write_run(sweep / "runs" / "broken-seed0", arm="broken", rounds=rounds)
    (broken / "rounds.jsonl").write_text("nonsense\n")
    failed = sweep / "runs" / "lost-seed0"
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"message": "s3://me:secret@there cannot be read"}))
    names = ("good", "slow", "broken", "lost", "late")
    write_planned(sweep, [Planned(f"{name}-seed0", name, 0, (100, 100)) for name in names])
    unread = {}
    records = read_records([sweep], unread=unread)
    page = show(records, beside=read_beside([sweep], unread))
    told = {row[0]: row[2:6] for row in _cells(page, "trials")}
    assert told["good"] == ["finished", "\u2013", "2", "200"]
    assert told["slow"] == ["stopped early", "stopped: behind the others", "1", "100"]
    assert told["lost"] == ["failed", "s3://***@there cannot be read", "0", "0"]
    assert told["late"] == ["waiting", "\u2013", "0", "0"]
    assert told["broken"][0] == "damaged"
    assert "line 1 is no round" in told["broken"][1]
    assert "1 runs are damaged and left out: broken-seed0" in page.inner_text("#answer")


def test_the_commands_that_made_the_runs_are_told_without_secrets(make_run, show):
    records = _runs(make_run, ["random", "margin"])
    for run in records:
        run.config["data"]["pool"] = "https://me:secret@there/pool.parquet?X-Amz-Signature=sealed"
    call = Command("2026-01-02T03:04:05+00:00", "0.2", "asvp sweep svp_vs_asvp demo --seeds 0,1")
    page = show(records, beside=Beside({}, {"mine": [call], "old": []}))
    told = page.inner_text("#repeat")
    assert "mine was called by" in told
    assert call.command in told
    assert "How old was called is not told" in told
    assert "https://***@there/pool.parquet?X-Amz-Signature=***" in page.inner_text("#compared")
    assert "secret" not in page.content().split('id="data"')[1]
    assert "sealed" not in page.content()


def test_a_page_that_loads_itself_again_is_as_it_was_left(make_run, show):
    page = show(_runs(make_run, ["random", "margin", "badge"]), "#per_label=2", reload=60)
    assert "loads itself again" in page.inner_text("#answer")
    before = page.inner_text(".said")
    page.fill("#trials input[type=search]", "badge")
    page.click("#trials th:has-text('final accuracy') button")
    page.click("#trials th:has-text('final accuracy') button")
    page.fill("#wanted", "0.5")
    page.click("#repeat summary >> nth=1")
    page.evaluate("Plotly.restyle('figure-learning_curves', {visible: 'legendonly'}, [1])")
    page.evaluate("document.querySelector('#trials').scrollIntoView(); window.scrollBy(0, 40)")
    cells, place = _cells(page, "trials"), "document.querySelector('#trials').getBoundingClientRect().top"
    assert page.evaluate(place) == pytest.approx(-40, abs=1)
    with page.expect_navigation():
        page.evaluate("window.asvpState.reloadNow()")
    page.wait_for_load_state()
    assert page.url.endswith("#per_label=2")
    assert page.inner_text(".said") == before
    assert _cells(page, "trials") == cells
    assert page.input_value("#wanted") == "0.5"
    assert page.evaluate("[...document.querySelectorAll('#repeat details')].map((one) => one.open)") == [
        False,
        True,
        False,
    ]
    assert page.evaluate(place) == pytest.approx(-40, abs=2)
    page.evaluate(DRAW_ALL)
    hidden = "document.getElementById('figure-learning_curves').data.map((one) => one.visible === 'legendonly')"
    assert page.evaluate(hidden) == [False, True, False]
    page.reload()
    assert page.input_value("#trials input[type=search]") == ""


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
