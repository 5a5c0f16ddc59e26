"""What a run writes as it goes, and how it is taken up again."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from asvp.compute import Backend, TrainedModel
from asvp.compute.model_store import holds_weights
from asvp.driver.built_on import built_on, require_unchanged
from asvp.driver.final_model import save_final_model
from asvp.driver.looker import restore
from asvp.driver.names import Names
from asvp.driver.prepared import Prepared
from asvp.driver.state import RunState
from asvp.driver.stored_run import ROUNDS, file_digests, read_stored_run, rounds_digest
from asvp.errors import RunDirectoryError
from asvp.features.feature_set import Features
from asvp.record.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from asvp.record.ledger import Ledger
from asvp.record.run_directory import RunDirectory


class Journal:
    """Keeps a run's state in its directory; without a directory it keeps nothing.

    Parameters
    ----------
    prepared : Prepared
    backend : Backend
        Makes the files of the final model.
    directory : RunDirectory, optional
        Begun and locked.
    """

    def __init__(self, prepared: Prepared, backend: Backend, directory: RunDirectory | None) -> None:
        self._prepared = prepared
        self._backend = backend
        self._directory = directory
        self._last: Checkpoint | None = None
        self._test_rows_written: frozenset[int] = frozenset()

    def amend(self, state: RunState, ledger: Ledger) -> None:
        """Put finished rounds on disk whose final models have arrived since; no other file changes.

        Whichever of the two files a process dies between, the run is taken up with accounts that fit its rounds.
        """
        if self._directory is None or self._last is None:
            return
        files = {**self._last.files, ROUNDS: rounds_digest(state.records[: self._last.rounds])}
        both = replace(self._last, files_to_come=files, ledger_to_come=ledger.state())
        self._save(both, state, self._directory)
        self._write_test_rows(state)
        self._directory.write_rounds(state.records)

    def write(self, state: RunState, pool: Features, ledger: Ledger) -> None:
        """Put the finished rounds on disk; the checkpoint comes last, and makes them count."""
        if self._directory is None:
            return
        if state.summary and state.final is not None and self._prepared.config.training.keep != "none":
            save_final_model(self._directory, self._prepared, self._backend, state.final)
        labelled = state.labelled.table(self._names.of(state.labelled.rows), self._prepared.dataset.classes)
        self._directory.write_labelled(labelled)
        self._write_test_rows(state)
        if self._prepared.config.report.rows:
            self._directory.write_shown(state.shown, state.map)
        self._directory.write_rounds(state.records)
        if state.summary:
            self._directory.write_summary(state.summary)
        checkpoint = Checkpoint(
            rounds=state.next_round,
            readings=[list(reading) for reading in state.readings],
            refreshes=pool.version,
            attempts=[list(attempt) for attempt in state.attempts],
            model=None if state.model is None else state.model.key,
            features=pool.fingerprint,
            ledger=ledger.state(),
            built_on=self._built_on,
            files=file_digests(state.records, labelled, state.summary),
        )
        self._save(checkpoint, state, self._directory)
        self._last = checkpoint

    def _save(self, checkpoint: Checkpoint, state: RunState, directory: RunDirectory) -> None:
        cache, model = self._prepared.cache, state.model
        cached = cache is not None and model is not None and holds_weights(model.key, cache)
        save_checkpoint(directory.checkpoint, checkpoint, model, directory, cached=cached)

    def read(self) -> tuple[RunState, Checkpoint] | None:
        """The state that the last finished round left, scorer and final model apart; None if there is none.

        Raises
        ------
        RunDirectoryError
            If what the run was built on has changed, or the files of the directory do not fit each other.
        """
        if self._directory is None:
            return None
        stored = load_checkpoint(self._directory.checkpoint)
        if stored is not None:
            require_unchanged(stored[0], self._prepared, self._directory.path)
        found = read_stored_run(self._directory, self._prepared, stored, self._names)
        if found is None or found[0].next_round < len(self._prepared.config.budget):
            self._directory.require_own_model()
            self._directory.go_on_with(self._prepared.config)
        if found is not None:
            self._last = found[1]
            if self._prepared.config.report.rows:
                restore(found[0], *self._directory.shown(), len(self._prepared.dataset.pool))
            else:
                self._directory.drop_shown()
            right = self._directory.test_rows()
            self._test_rows_written = frozenset(right)
            told = [one["labelled"] for one in found[0].records if one["final_accuracy"] is not None]
            found[0].correct = {labelled: right[labelled] for labelled in told if labelled in right}
        return found

    def require_same_model(self, model: TrainedModel, checkpoint: Checkpoint) -> TrainedModel:
        """The model, if it is the one whose features the run was at work on; raise a RunDirectoryError otherwise."""
        if self._directory is not None and model.key != checkpoint.model:
            raise RunDirectoryError(
                "tells of a model that cannot be made again from the rows and the encoder that are here now",
                key=str(self._directory.checkpoint / "state.json"),
                mend="Put the data and the encoder back, or begin a new run",
            )
        return model

    def require_same_features(self, pool: Features, checkpoint: Checkpoint) -> None:
        """Raise a RunDirectoryError unless the features made now are those that the run was at work on."""
        if self._directory is not None and pool.fingerprint != checkpoint.features:
            raise RunDirectoryError(
                "the features made now are not those of the run: the data or the encoder have changed",
                key=str(self._directory.path),
                mend="Put them back, or begin a new run",
            )

    def _write_test_rows(self, state: RunState) -> None:
        """Before the rounds that tell of these final models, so that no accuracy is without its rows."""
        if self._directory is not None and self._test_rows_written != frozenset(state.correct):
            self._directory.write_test_rows(state.correct)
            self._test_rows_written = frozenset(state.correct)

    @cached_property
    def _built_on(self) -> dict[str, str]:
        return built_on(self._prepared)

    @cached_property
    def _names(self) -> Names:
        return Names(self._prepared.dataset.pool)
