"""`asvp report --watch`: the page follows runs until all have come to their end."""

from __future__ import annotations

from asvp.report.watching import watch

RELOADS = 'name="asvp-reload"'


def test_the_page_follows_a_run_and_stops_loading_itself_again_at_its_end(write_run, a_round, tmp_path):
    run = write_run(
        tmp_path / "sweep" / "runs" / "a-seed0", arm="a", rounds=[a_round(0, 100, final=0.5)], finished=False
    )
    page, said, seen = tmp_path / "out" / "report.html", [], []

    def pass_time(seconds):
        seen.append(RELOADS in page.read_text())
        (run / "summary.json").write_text("{}")

    assert watch([str(tmp_path / "sweep")], str(tmp_path / "out"), say=said.append, sleep=pass_time) == page
    assert seen == [True]
    assert RELOADS not in page.read_text()
    assert len(said) == 1


def test_it_waits_for_the_first_round(write_run, a_round, tmp_path):
    run = write_run(tmp_path / "sweep" / "runs" / "a-seed0", arm="a", finished=False)
    waited = []

    def pass_time(seconds):
        waited.append(seconds)
        donor = write_run(tmp_path / f"other{len(waited)}", rounds=[a_round(0, 100, final=0.5)])
        for name in ("rounds.jsonl", "summary.json"):
            (run / name).write_text((donor / name).read_text())

    page = watch([str(tmp_path / "sweep")], str(tmp_path / "out"), say=lambda text: None, sleep=pass_time)
    assert page.is_file()
    assert len(waited) == 1
