"""A run read back from its directory, its files held against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import asvp
from asvp.alignment.policy import Attempt, Reading
from asvp.compute import TrainedModel
from asvp.config import Config, labels_by_round
from asvp.driver.names import Names
from asvp.driver.prepared import Prepared
from asvp.driver.state import RunState
from asvp.errors import RunDirectoryError
from asvp.features.cache import content_key
from asvp.record.checkpoint import Checkpoint, load_checkpoint
from asvp.record.labelled import Rows, rows_of_round
from asvp.record.ledger import Ledger
from asvp.record.run_directory import RunDirectory

ROUNDS, LABELLED, SUMMARY = "rounds.jsonl", "labelled.parquet", "summary.json"
_MEND = "Put the file back as it was, or begin a new run"


def file_digests(
    records: Sequence[Mapping[str, Any]], labelled: pa.Table, summary: Mapping[str, Any]
) -> dict[str, str]:
    """Digests of what finished rounds have left in the files of a run, by file."""
    columns = {name: labelled[name].to_pylist() for name in labelled.column_names}
    return {ROUNDS: rounds_digest(records), LABELLED: content_key(columns), SUMMARY: content_key(dict(summary))}


def rounds_digest(records: Sequence[Mapping[str, Any]]) -> str:
    """Digest of the objects of rounds."""
    return content_key(list(records))


def read_finished_run(directory: RunDirectory, config: Config) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """Rounds and summary of a run that is finished, from its files alone; the data is not looked at.

    Parameters
    ----------
    directory : RunDirectory
    config : Config
        What the run is to go on with, whose budget may be longer.

    Returns
    -------
    pair of list and dict, or None
        None where anything is left to do, or to be found out: files that do not fit each other, another version.

    Raises
    ------
    RunDirectoryError
        If a file is damaged.
    """
    stored = load_checkpoint(directory.checkpoint)
    if stored is None or stored[0].rounds != len(config.budget) or stored[0].files_to_come:
        return None
    checkpoint = stored[0]
    records, labelled, summary = directory.rounds(), directory.labelled(), directory.read_summary()
    if labelled is None or summary is None or checkpoint.built_on.get("asvp") != asvp.__version__:
        return None
    if checkpoint.files != file_digests(records, labelled, summary):
        return None
    # Rows to look at are dropped where they are not wanted any more.
    return (records, summary) if config.report.rows == directory.read_config().report.rows else None


def read_stored_run(
    directory: RunDirectory, prepared: Prepared, stored: tuple[Checkpoint, TrainedModel | None] | None, names: Names
) -> tuple[RunState, Checkpoint] | None:
    """The state that the last finished round left, scorer and final model apart; None if no round was finished.

    Parameters
    ----------
    directory : RunDirectory
    prepared : Prepared
    stored : pair of Checkpoint and TrainedModel or None
        The checkpoint, if there is one.
    names : Names
        Of the pool's rows.

    A process may die between any two files, which are written in the order labelled.parquet, rounds.jsonl,
    summary.json and checkpoint; so one round more than the checkpoint counts is as it should be.

    Raises
    ------
    RunDirectoryError
        If a file is missing, damaged, or does not fit the others.
    """
    budget = prepared.config.budget
    records, labelled, summary = directory.rounds(), directory.labelled(), directory.read_summary()
    if stored is None:
        if len(records) > 1 or (summary is not None and len(budget) > 1):
            raise _unfit(directory, "checkpoint/state.json", f"is missing, though {ROUNDS} tells of finished rounds")
        return None
    checkpoint, model = stored
    done, last = checkpoint.rounds, len(budget)
    if done > last:
        raise _unfit(directory, "checkpoint/state.json", f"counts {done} rounds, and the budget has {last}")
    _check_records(directory, prepared, records, done)
    labelled = _check_labelled(directory, labelled, done, budget)
    _check_summary(directory, summary, records, checkpoint, last)
    told = summary if summary is not None and done == last else {}
    if rounds_digest(records[:done]) == checkpoint.files_to_come.get(ROUNDS):
        # The process died when it had entered final models in the rounds, and not yet told the checkpoint.
        checkpoint = replace(checkpoint, files=checkpoint.files_to_come, ledger=checkpoint.ledger_to_come)
    checkpoint = replace(checkpoint, files_to_come={}, ledger_to_come={})
    for name, digest in file_digests(records[:done], labelled, told).items():
        if name == SUMMARY and done < last:
            # The checkpoint may still tell of the summary of a shorter budget, which is dropped.
            continue
        if checkpoint.files and checkpoint.files.get(name) != digest:
            raise _unfit(directory, name, "is not what the finished rounds wrote: it was changed since")
    _check_ledger(directory, checkpoint, prepared)
    state = RunState(
        readings=[Reading(*reading) for reading in checkpoint.readings],
        attempts=[Attempt(*attempt) for attempt in checkpoint.attempts],
        model=model,
        records=records[:done],
        summary=told,
    )
    for number in range(done):
        rows = _rows(directory, labelled, number, len(prepared.dataset.pool))
        state.labelled.add(rows, prepared.dataset.oracle.buy(rows), number)
    if not labelled.equals(
        _like(state.labelled.table(names.of(state.labelled.rows), prepared.dataset.classes), labelled)
    ):
        raise _unfit(directory, LABELLED, "names other rows or labels than the data has now")
    return state, checkpoint


def _check_records(directory: RunDirectory, prepared: Prepared, records: list[dict[str, Any]], done: int) -> None:
    if not done <= len(records) <= done + 1:
        raise _unfit(directory, ROUNDS, f"has {len(records)} rounds, and the checkpoint counts {done}")
    counts = labels_by_round(prepared.config.budget)
    for number, record in enumerate(records[:done]):
        if (record.get("round"), record.get("labelled")) != (number, counts[number]):
            raise _unfit(directory, ROUNDS, f"line {number + 1} is not round {number} with {counts[number]} labels")


def _check_labelled(directory: RunDirectory, table: pa.Table | None, done: int, budget: Sequence[int]) -> pa.Table:
    """The rows of the finished rounds."""
    if table is None:
        raise _unfit(directory, LABELLED, f"is missing, and the checkpoint counts {done} rounds")
    numbers = table["round"].to_numpy()
    counted = np.bincount(numbers[(numbers >= 0) & (numbers <= done)], minlength=done + 1)
    beyond = len(numbers) - int(counted.sum())
    wanted = list(budget[:done])
    # Rows of a round that is not finished are dropped, however many the budget gave it when it was begun.
    if counted[:done].tolist() != wanted or beyond or (done == len(budget) and counted[done]):
        raise _unfit(directory, LABELLED, f"has not the {wanted} rows that the {done} finished rounds bought")
    return table.filter(pc.less(table["round"], done)).combine_chunks()


def _check_summary(
    directory: RunDirectory,
    summary: dict[str, Any] | None,
    records: Sequence[Any],
    checkpoint: Checkpoint,
    last: int,
) -> None:
    done = checkpoint.rounds
    if done == last and summary is None:
        raise _unfit(directory, SUMMARY, "is missing, though all rounds are finished")
    # It is written just before the last checkpoint; one that the checkpoint counts is that of a shorter budget.
    counted = bool(summary) and checkpoint.files.get(SUMMARY) == content_key(summary)
    if summary is not None and len(records) < last and not counted:
        raise _unfit(directory, SUMMARY, f"tells of a finished run, and {done} of {last} rounds are finished")


def _check_ledger(directory: RunDirectory, checkpoint: Checkpoint, prepared: Prepared) -> None:
    try:
        Ledger(prepared.config.cost).restore(checkpoint.ledger, checkpoint.rounds)
        readings = [Reading(*reading) for reading in checkpoint.readings]
        _ = [Attempt(*attempt) for attempt in checkpoint.attempts]
    except (ValueError, TypeError) as error:
        raise _unfit(directory, "checkpoint/state.json", f"is damaged: {error}") from None
    if len(readings) != checkpoint.rounds:
        raise _unfit(directory, "checkpoint/state.json", "is damaged: it has not one reading a round")


def _rows(directory: RunDirectory, labelled: pa.Table, number: int, pool: int) -> Rows:
    rows = rows_of_round(labelled, number)
    if len(np.unique(rows)) < len(rows) or rows.min(initial=0) < 0 or rows.max(initial=0) >= pool:
        raise _unfit(directory, LABELLED, f"round {number} has rows twice, or rows that the pool of {pool} has not")
    return rows


def _like(table: pa.Table, other: pa.Table) -> pa.Table:
    """The same with the types of another, whose text may have longer offsets."""
    return table.cast(other.schema).combine_chunks()


def _unfit(directory: RunDirectory, name: str, message: str) -> RunDirectoryError:
    return RunDirectoryError(message, key=str(directory.path / name), mend=_MEND)
