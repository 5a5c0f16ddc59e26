"""results.parquet holds every round and option, in columns that do not move."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import build_config
from asvp.errors import DataError
from asvp.report.results import TrialRounds, read_results, results_table, write_results


@pytest.fixture
def trials(a_round):
    def config(overrides):
        return build_config({"budget": "100x2"}, overrides).model_dump(mode="json")

    return [
        TrialRounds(
            "t0", "random", 0, True, config(["workers.count=2", "encoder.options={layers: 3}"]),
            (a_round(0, 100, proxy=0.5), a_round(1, 200, proxy=0.6, final=0.7)),
        ),
        TrialRounds("t1", "asvp", 1, False, config(["seed=1"]), (a_round(0, 100, logme=0.25),)),
    ]  # fmt: skip


def test_there_is_one_row_a_trial_and_round(trials):
    table = results_table(trials)
    assert table.num_rows == 3
    assert table["trial"].to_pylist() == ["t0", "t0", "t1"]
    assert table["labelled"].to_pylist() == [100, 200, 100]
    assert table["final_accuracy"].to_pylist() == [None, 0.7, None]
    assert table["logme"].to_pylist() == [None, None, 0.25]
    assert table["seconds/select"].to_pylist() == [1.0, 1.0, 1.0]
    assert table["cost/labels"].to_pylist() == [4.0, 4.0, 4.0]


def test_every_option_is_a_column_in_the_order_of_the_config(trials):
    config = [name for name in results_table(trials).column_names if name.startswith("config/")]
    expected = []
    for section, options in trials[0].config.items():
        expected += (
            [f"config/{section}/{key}" for key in options] if isinstance(options, dict) else [f"config/{section}"]
        )
    assert config == expected
    assert results_table(trials)["config/encoder/options"].to_pylist() == ['{"layers": 3}'] * 2 + ["{}"]


def test_columns_keep_their_order_and_type_whatever_the_trials(trials):
    one, both = results_table(trials[1:]), results_table(trials)
    assert one.column_names == both.column_names
    for name in ("proxy_accuracy", "final_accuracy", "logme", "logme_ped"):
        assert one.schema.field(name).type == pa.float64()
    assert both["config/workers/count"].to_pylist() == ["2", "2", "auto"]


def test_what_is_written_is_read_back(trials, tmp_path):
    path = write_results(trials, tmp_path / "new" / "results.parquet")
    assert [entry.name for entry in path.parent.iterdir()] == ["results.parquet"]
    read = read_results(path)
    assert [(one.trial, one.arm, one.seed, one.finished) for one in read] == [
        ("t0", "random", 0, True),
        ("t1", "asvp", 1, False),
    ]
    for given, back in zip(trials, read, strict=True):
        for before, after in zip(given.rounds, back.rounds, strict=True):
            assert {key: after[key] for key in before} == before
        assert back.config["budget"] == [100, 100]
        assert back.config["encoder"] == given.config["encoder"]


def test_an_empty_sweep_is_an_empty_table(tmp_path):
    path = write_results([], tmp_path / "results.parquet")
    assert read_results(path) == []


def test_another_parquet_file_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "results.parquet")
    with pytest.raises(DataError, match="has no column trial"):
        read_results(tmp_path / "results.parquet")
    (tmp_path / "results.parquet").write_text("nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "results.parquet")
