"""The stages of a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asvp.alignment import logme, logme_ped
from asvp.alignment.policy import Attempt, Decision, Observation, Reading
from asvp.compute import Backend
from asvp.compute.evaluation import evaluate
from asvp.compute.selection_inputs import selection_inputs
from asvp.config import labels_by_round
from asvp.driver.feature_versions import FeatureVersions, VersionZero
from asvp.driver.journal import Journal
from asvp.driver.model_maker import ModelMaker
from asvp.driver.preparation import Prepared
from asvp.driver.refresh import Refresher
from asvp.driver.state import RoundState, RunState
from asvp.features.feature_set import Features
from asvp.progress import Reporter
from asvp.record.checkpoint import Checkpoint
from asvp.record.ledger import Ledger
from asvp.record.rounds import summarise
from asvp.record.run_directory import RunDirectory
from asvp.seeds import derive_seed
from asvp.selection import make_pool

_MEMBERS = 5
"""Proxies in the ensemble of strategies that ask for one."""


class ActiveLearning:
    """One arm with one seed: the stages of a round, on the state that rounds leave.

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
        self.state = RunState()
        self._prepared = prepared
        self._config = prepared.config
        self._dataset = prepared.dataset
        self._backend = backend
        self._reporter = reporter
        self._counts = labels_by_round(prepared.config.budget)
        self._ledger = Ledger(prepared.config.cost)
        self._journal = Journal(prepared, directory)
        self._round = RoundState()
        encoder = prepared.encoder_fingerprint()
        self._models = ModelMaker(prepared.config, prepared.dataset, backend, encoder, self._ledger, reporter)
        self._features = FeatureVersions(
            self._dataset,
            backend,
            self._config.extraction,
            encoder,
            self._ledger,
            chooses=prepared.looks_at_features,
            keep_first=prepared.mode.keeps_first,
        )
        self._refresher = Refresher(
            prepared.mode.refresh, self._models, self._features, self._ledger, self._config.seed
        )
        stored = self._journal.read()
        if stored is not None:
            self._take_up(*stored, features)
        elif features is not None:
            self._features.share(features)
        else:
            self._features.make(0, None)

    def rounds(self, until: int | None = None) -> Iterator[int]:
        """Numbers of the rounds that are left, up to and including `until`."""
        stop = len(self._counts) if until is None else min(until + 1, len(self._counts))
        for number in range(self.state.next_round, stop):
            self._round = RoundState()
            yield number

    def choose_rows(self, number: int) -> None:
        """Score the pool, pick the round's rows, and buy their labels."""
        state, plan = self.state, self._prepared.plan(number)
        ensemble = range(_MEMBERS if "members" in plan.inputs else 0)
        with self._ledger.stage("proxy"):
            members = [self._models.proxy(self._pool, state.labelled, number, f"member {one}") for one in ensemble]
        picker = self._backend.picker(plan, self._pool, self._config.selection.sharded)
        given = selection_inputs(plan, self._pool, state.labelled.rows, state.labelled.labels, state.scorer, members)
        with self._ledger.stage("select", cpus=picker.cpus):
            picks = picker.pick(
                plan,
                make_pool(**given),
                budget=self._config.budget[number],
                seed=derive_seed(self._config.seed, "select", number),
            )
        state.labelled.add(picks, self._dataset.oracle.buy(picks), number)
        self._round.bought = len(picks)

    def fit_proxy(self, number: int) -> None:
        """Fit the model that scores the pool next, and tell its accuracy on the test rows."""
        if self._prepared.mode.scoring == "head":
            return
        # A proxy that chooses nothing is fitted for the report alone.
        chooses = self._prepared.selection.inputs and not self._is_last(number)
        with self._ledger.stage("proxy" if chooses else "evaluate"):
            self.state.scorer = self._models.proxy(self._pool, self.state.labelled, number, "proxy")
        with self._ledger.stage("evaluate"):
            test, labels = self._features.test, self._dataset.test_labels
            self._round.proxy = evaluate(self.state.scorer, test, labels, self._dataset.classes)

    def refresh_if_it_pays(self, number: int) -> None:
        """Ask the policy; on yes fine-tune, and where that helps make all features anew and fit the proxy again."""
        state, version = self.state, self._pool.version
        self._read_indicators()
        decision = self._decide(number)
        self._round.reason = decision.reason
        state.readings.append(Reading(len(state.labelled), self._round.logme, self._round.logme_ped, version))
        # After the last round there is nothing left to choose.
        if not decision.refresh or self._is_last(number):
            return
        self._reporter.say(f"Refreshing the features at {len(state.labelled):,} labels: {decision.reason}")
        refresh = self._refresher.refresh(state.labelled, number, state.model)
        state.attempts.append(Attempt(number, len(state.labelled), refresh.kept))
        if refresh.told:
            self._round.reason = f"{decision.reason}; {refresh.told}"
            self._reporter.say(f"The refresh is {refresh.told}")
        if not refresh.kept:
            return
        state.model = refresh.model
        self._features.make(version + 1, state.model)
        self._round.refreshed = True
        if self._prepared.mode.scoring == "head":
            state.scorer = state.model.head
        else:
            self.fit_proxy(number)

    def train_final_model_if_due(self, number: int) -> None:
        """Train the final model from the pre-trained weights and measure it, where `training.evaluate_at` says so."""
        state, at = self.state, self._config.training.evaluate_at
        if not (self._is_last(number) or at == "every" or (isinstance(at, list) and len(state.labelled) in at)):
            return
        method = self._models.final_method(self._pool.version)
        state.final = self._models.train(method, state.labelled, "train", present=state.model)
        with self._ledger.stage("evaluate"):
            test = self._features.test_with(state.final.weights)
            self._round.final = evaluate(state.final.head, test, self._dataset.test_labels, self._dataset.classes)
        self._round.final_method = state.final.method

    def close_round(self, number: int) -> dict[str, Any]:
        """Close the accounts of the round, write it and the checkpoint, and return its object."""
        state, told = self.state, self._round
        record = {
            "round": number,
            "labelled": len(state.labelled),
            "strategy": self._prepared.plan(number).info.name,
            "mode": self._config.mode,
            "feature_version": self._pool.version,
            "refreshed": told.refreshed,
            "refresh_reason": told.reason,
            "logme": told.logme,
            "logme_ped": told.logme_ped,
            "proxy_accuracy": told.proxy and told.proxy.accuracy,
            "final_accuracy": told.final and told.final.accuracy,
            "final_macro_f1": told.final and told.final.macro_f1,
            "final_method": told.final_method,
            "feature_fingerprint": self._pool.fingerprint,
            **self._ledger.close_round(told.bought),
        }
        state.records.append(record)
        if told.final is not None and self._is_last(number):
            state.summary = summarise(self._config, state.records, told.final, self._ledger.totals())
        self._journal.write(state, self._pool, self._ledger)
        return record

    def cache_keys(self) -> frozenset[str]:
        """Keys of the cache entries that this run still uses."""
        return self._features.keys()

    @property
    def _pool(self) -> Features:
        return self._features.pool

    def _is_last(self, number: int) -> bool:
        return number == len(self._counts) - 1

    def _read_indicators(self) -> None:
        needs = self._prepared.mode.policy.needs
        if not needs:
            return
        labels = self.state.labelled.labels
        with self._ledger.stage("indicator"):
            features = self._pool.gather(self.state.labelled.rows)
            if "logme" in needs:
                self._round.logme = logme(features, labels)
            if "logme_ped" in needs:
                self._round.logme_ped = logme_ped(features, labels, self._pool.mean, self._pool.std)

    def _decide(self, number: int) -> Decision:
        attempts = self.state.attempts
        observation = Observation(
            round=number,
            labelled=len(self.state.labelled),
            refreshes=self._pool.version,
            rounds_since_refresh=number - (attempts[-1].round if attempts else -1),
            logme=self._round.logme,
            logme_ped=self._round.logme_ped,
            history=tuple(self.state.readings),
            attempts=tuple(attempts),
            left=self._counts[-1] - len(self.state.labelled),
        )
        return self._prepared.mode.policy.decide(observation)

    def _take_up(self, state: RunState, checkpoint: Checkpoint, shared: VersionZero | None) -> None:
        """Go on from a state, with the models and features it needs; a finished run needs none."""
        self.state = state
        if state.next_round == len(self._counts):
            return
        if shared is not None and shared.pool.fingerprint == checkpoint.features:
            self._features.share(shared)
        else:
            self._features.make(checkpoint.refreshes, state.model, shared)
        self._journal.require_same_features(self._pool, checkpoint)
        if self._prepared.mode.scoring == "head":
            state.scorer = None if state.model is None else state.model.head
        else:
            self.fit_proxy(checkpoint.rounds - 1)
        # What this cost was booked when it was done first.
        self._ledger.restore(checkpoint.ledger)
