"""The stages of a round and the state they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from asvp.alignment import logme, logme_ped
from asvp.alignment.policy import Observation, Reading
from asvp.compute import Backend, FineTuneJob, TrainedModel
from asvp.compute.evaluation import Evaluation, evaluate
from asvp.compute.selection_inputs import selection_inputs
from asvp.config import labels_by_round
from asvp.driver.feature_versions import FeatureVersions, VersionZero
from asvp.driver.final_model import save_final_model
from asvp.driver.preparation import Prepared
from asvp.errors import RunDirectoryError
from asvp.features.feature_set import FeatureSet
from asvp.models.proxy import Proxy, Scorer, fit_proxy
from asvp.progress import Reporter
from asvp.record.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from asvp.record.labelled import LabelledSet, rows_of_round
from asvp.record.ledger import Ledger, Stage
from asvp.record.run_directory import RunDirectory
from asvp.seeds import derive_seed
from asvp.selection import make_pool

_MEMBERS = 5
"""Proxies in the ensemble of strategies that ask for one."""


@dataclass
class _Round:
    """What becomes known in the course of one round."""

    bought: int = 0
    refreshed: bool = False
    reason: str = ""
    logme: float | None = None
    logme_ped: float | None = None
    proxy: Evaluation | None = None
    final: Evaluation | None = None
    final_method: str | None = None


class ActiveLearning:
    """One arm with one seed: its labelled rows, its features, its models, and the stages of a round.

    Parameters
    ----------
    prepared : Prepared
        With a resolved `encoder.dtype`.
    backend : Backend
    reporter : Reporter
    directory : RunDirectory, optional
        Begun and locked; a run in it is taken up where its checkpoint is.
    features : VersionZero, optional
        Version-0 features that are there already.
    """

    def __init__(
        self,
        prepared: Prepared,
        backend: Backend,
        reporter: Reporter,
        directory: RunDirectory | None,
        features: VersionZero | None = None,
    ) -> None:
        self.config = prepared.config
        self.records: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self._prepared = prepared
        self._dataset = prepared.dataset
        self._backend = backend
        self._reporter = reporter
        self._directory = directory
        self._counts = labels_by_round(self.config.budget)
        self._ledger = Ledger(self.config.cost)
        self._labelled = LabelledSet()
        self._readings: list[Reading] = []
        self._last_refresh: int | None = None
        self._model: TrainedModel | None = None
        self._final: tuple[TrainedModel, Evaluation] | None = None
        self._scorer: Scorer | None = None
        self._round = _Round()
        self._next = 0
        self._features = FeatureVersions(
            self._dataset,
            backend,
            self.config.extraction,
            prepared.encoder_fingerprint(),
            self._ledger,
            chooses=bool(prepared.selection.inputs or prepared.cold_start.inputs or prepared.mode.policy.needs)
            or prepared.mode.scoring == "head",
        )
        stored = None if directory is None else load_checkpoint(directory.checkpoint)
        if directory is not None and stored is not None:
            self._take_up(directory, *stored)
        elif features is not None:
            self._features.share(features)
        else:
            self._features.make(0, None)

    def rounds(self, until: int | None = None) -> Iterator[int]:
        """Numbers of the rounds that are left, up to and including `until`."""
        stop = len(self._counts) if until is None else min(until + 1, len(self._counts))
        for number in range(self._next, stop):
            self._round = _Round()
            yield number

    def choose_rows(self, number: int) -> None:
        """Score the pool, pick the round's rows, and buy their labels."""
        plan = self._prepared.selection if number else self._prepared.cold_start
        config = self.config.selection
        with self._ledger.stage("proxy"):
            members = [
                self._fitted(number, f"member {one}") for one in range(_MEMBERS if "members" in plan.inputs else 0)
            ]
        picker = self._backend.picker(plan, self._pool, config.sharded)
        with self._ledger.stage("select", cpus=picker.cpus):
            picks = picker.pick(
                plan,
                make_pool(
                    **selection_inputs(
                        plan, self._pool, self._labelled.rows, self._labelled.labels, self._scorer, members
                    )
                ),
                budget=self.config.budget[number],
                seed=derive_seed(self.config.seed, "select", number),
            )
        self._labelled.add(picks, self._dataset.oracle.buy(picks), number)
        self._round.bought = len(picks)

    def fit_proxy(self, number: int) -> None:
        """Fit the model that scores the pool next, and tell its accuracy on the test rows."""
        if self._prepared.mode.scoring == "head":
            return
        # A proxy that chooses nothing is fitted for the report alone.
        chooses = self._prepared.selection.inputs and not self._is_last(number)
        with self._ledger.stage("proxy" if chooses else "evaluate"):
            self._scorer = self._fitted(number, "proxy")
        with self._ledger.stage("evaluate"):
            test, labels = self._features.test, self._dataset.test_labels
            self._round.proxy = evaluate(self._scorer, test, labels, self._dataset.classes)

    def refresh_if_it_pays(self, number: int) -> None:
        """Ask the policy; on yes fine-tune on all labels, make all features anew, and fit the proxy again."""
        self._read_indicators()
        policy = self._prepared.mode.policy
        version = self._pool.version
        last_refresh = -1 if self._last_refresh is None else self._last_refresh
        observation = Observation(
            round=number,
            labelled=len(self._labelled),
            refreshes=version,
            rounds_since_refresh=number - last_refresh,
            logme=self._round.logme,
            logme_ped=self._round.logme_ped,
            history=tuple(self._readings),
        )
        decision = policy.decide(observation)
        self._readings.append(Reading(len(self._labelled), self._round.logme, self._round.logme_ped, version))
        # After the last round there is nothing left to choose.
        if not decision.refresh or self._is_last(number):
            return
        self._reporter.say(f"Refreshing the features at {len(self._labelled):,} labels: {decision.reason}")
        self._model = self._train("ft", "finetune")
        self._features.make(version + 1, self._model)
        self._last_refresh = number
        self._round.refreshed = True
        if self._prepared.mode.scoring == "head":
            self._scorer = self._model.head
        else:
            self.fit_proxy(number)

    def train_final_model_if_due(self, number: int) -> None:
        """Train the final model from the pre-trained weights and measure it, where `training.evaluate_at` says so."""
        at = self.config.training.evaluate_at
        last = self._is_last(number)
        if not (last or at == "every" or (isinstance(at, list) and len(self._labelled) in at)):
            return
        model = self._train(self._final_method(), "train")
        with self._ledger.stage("evaluate"):
            test = self._features.test_with(model.weights)
            self._round.final = evaluate(model.head, test, self._dataset.test_labels, self._dataset.classes)
        self._round.final_method = model.method
        self._final = model, self._round.final

    def close_round(self, number: int) -> dict[str, Any]:
        """Close the accounts of the round, write it and the checkpoint, and return its object."""
        last = self._is_last(number)
        if last and self._directory is not None and self._final is not None:
            save_final_model(self._directory.model, self.config, self._dataset, self._final[0])
        told = self._round
        record = {
            "round": number,
            "labelled": len(self._labelled),
            "strategy": (self._prepared.selection if number else self._prepared.cold_start).info.name,
            "mode": self.config.mode,
            "feature_version": self._pool.version,
            "refreshed": told.refreshed,
            "logme": told.logme,
            "logme_ped": told.logme_ped,
            "proxy_accuracy": told.proxy and told.proxy.accuracy,
            "final_accuracy": told.final and told.final.accuracy,
            "final_macro_f1": told.final and told.final.macro_f1,
            "final_method": told.final_method,
            "feature_fingerprint": self._pool.fingerprint,
            **self._ledger.close_round(told.bought),
        }
        self.records.append(record)
        self._next = number + 1
        if last:
            self.summary = self._summarise()
        self._write()
        return record

    def cache_keys(self) -> frozenset[str]:
        """Keys of the cache entries that this run still uses."""
        return frozenset({self._pool.fingerprint, self._features.test.fingerprint}) if self.records else frozenset()

    @property
    def _pool(self) -> FeatureSet:
        return self._features.pool

    def _is_last(self, number: int) -> bool:
        return number == len(self._counts) - 1

    def _write(self) -> None:
        """Put the finished round on disk; the checkpoint comes last, and makes it count."""
        if self._directory is None:
            return
        self._directory.write_labelled(self._labelled.table(self._ids, self._dataset.classes))
        self._directory.write_rounds(self.records)
        if self.summary:
            self._directory.write_summary(self.summary)
        checkpoint = Checkpoint(
            rounds=self._next,
            readings=[list(reading) for reading in self._readings],
            refreshes=self._pool.version,
            last_refresh=self._last_refresh,
            model=None if self._model is None else self._model.key,
            features=self._pool.fingerprint,
            ledger=self._ledger.state(),
        )
        save_checkpoint(self._directory.checkpoint, checkpoint, self._model)

    def _summarise(self) -> dict[str, Any]:
        assert self._final is not None
        model, evaluation = self._final
        return {
            "mode": self.config.mode,
            "strategy": self.config.selection.strategy,
            "seed": self.config.seed,
            "rounds": len(self.records),
            "refreshes": self._pool.version,
            "refreshed_at": [record["labelled"] for record in self.records if record["refreshed"]],
            "final_method": model.method,
            "final_accuracy": evaluation.accuracy,
            "final_macro_f1": evaluation.macro_f1,
            "recall": evaluation.recall,
            **self._ledger.totals(),
        }

    def _final_method(self) -> Literal["ft", "lp_ft", "lp"]:
        method = self.config.training.method
        if method != "auto":
            return method
        if self._dataset.kind == "features":
            return "lp"
        return "ft" if self._pool.version else "lp_ft"

    def _read_indicators(self) -> None:
        needs = self._prepared.mode.policy.needs
        if not needs:
            return
        with self._ledger.stage("indicator"):
            features = self._pool.gather(self._labelled.rows)
            if "logme" in needs:
                self._round.logme = logme(features, self._labelled.labels)
            if "logme_ped" in needs:
                self._round.logme_ped = logme_ped(features, self._labelled.labels, self._pool.mean, self._pool.std)

    def _fitted(self, number: int, purpose: str) -> Proxy:
        """A proxy on all labels, with a seed of its own for each purpose and round."""
        return fit_proxy(
            self._pool.gather(self._labelled.rows),
            self._labelled.labels,
            classes=len(self._dataset.classes),
            config=self.config.proxy,
            seed=derive_seed(self.config.seed, purpose, number),
            mean=self._pool.mean,
            std=self._pool.std,
        )

    def _train(self, method: Literal["ft", "lp_ft", "lp"], stage: Stage) -> TrainedModel:
        """A model on all labels; one this run made of the same rows is the same model."""
        rows, labels = self._labelled.ascending()
        job = FineTuneJob(
            method=method,
            source=self._dataset.pool,
            rows=rows,
            labels=labels,
            classes=len(self._dataset.classes),
            training=self.config.training,
            seed=derive_seed(self.config.seed, "train"),
            encoder=self._features.encoder,
        )
        if self._model is not None and self._model.key == job.key:
            return self._model
        held = {"cpus": self._backend.cpus, "gpus": self._backend.gpus}
        with self._ledger.stage(stage, **held):
            self._reporter.say(f"Training ({method}) on {len(rows):,} labels")
            model = self._backend.train(job)
        if model.reused:
            self._ledger.charge(stage, model.seconds, **held)
        return model

    @cached_property
    def _ids(self) -> pa.Array:
        return self._dataset.pool.ids()

    def _take_up(self, directory: RunDirectory, checkpoint: Checkpoint, model: TrainedModel | None) -> None:
        """Go on with the run in the directory: its labels, its accounts, and the models and features it needs."""
        self._next, self._last_refresh, self._model = checkpoint.rounds, checkpoint.last_refresh, model
        self._readings = [Reading(*reading) for reading in checkpoint.readings]
        self.records = directory.rounds()[: checkpoint.rounds]
        bought = directory.labelled()
        for number in range(checkpoint.rounds):
            rows = rows_of_round(bought, number)
            self._labelled.add(rows, self._dataset.oracle.buy(rows), number)
        if len(self._labelled) != self._counts[checkpoint.rounds - 1]:
            raise RunDirectoryError("labelled.parquet does not fit the checkpoint", key=str(directory.path))
        if self._next == len(self._counts):
            self.summary = directory.read_summary() or {}
            return
        self._features.make(checkpoint.refreshes, model)
        if self._pool.fingerprint != checkpoint.features:
            raise RunDirectoryError(
                "the features made now are not those of the run: the data or the encoder have changed",
                key=str(directory.path),
                mend="Put them back, or begin a new run",
            )
        if self._prepared.mode.scoring == "head":
            self._scorer = None if model is None else model.head
        else:
            self.fit_proxy(checkpoint.rounds - 1)
        # What this cost was booked when it was done first.
        self._ledger.restore(checkpoint.ledger)
