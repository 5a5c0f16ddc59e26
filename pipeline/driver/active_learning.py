"""The stages of a round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from asvp.alignment.policy import Attempt, Decision, Observation, Reading
from asvp.compute import Backend, FineTuneJob, Handle, Held
from asvp.compute.jobs import IndicatorJob, PickJob
from asvp.config import evaluated_counts, labels_by_round
from asvp.driver.feature_versions import FeatureVersions, VersionZero
from asvp.driver.final_models import Due, FinalModel, FinalModels
from asvp.driver.journal import Journal
from asvp.driver.looker import Looker
from asvp.driver.model_maker import ModelMaker
from asvp.driver.prepared import Prepared
from asvp.driver.refresh import Refresher
from asvp.driver.state import RoundState, RunState
from asvp.features.feature_set import Features
from asvp.progress import Reporter
from asvp.record.checkpoint import Checkpoint
from asvp.record.job_log import JobLog
from asvp.record.ledger import Ledger, Stage
from asvp.record.rounds import summarise
from asvp.record.run_directory import RunDirectory
from asvp.seeds import derive_seed

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
        self._evaluated = evaluated_counts(prepared.config.budget, prepared.config.training.evaluate_at)
        self._ledger = Ledger(prepared.config.cost)
        self._journal = Journal(prepared, backend, directory)
        self._round = RoundState()
        encoder = prepared.encoder_fingerprint
        self._jobs = JobLog()
        if directory is not None:
            self._jobs = JobLog(directory.path, require=directory.require_hold, say=reporter.say)
        self._models = ModelMaker(
            prepared.config, prepared.dataset, backend, encoder, self._ledger, self._jobs, reporter
        )
        # Rows that nobody keeps need not be looked at.
        kept = directory is not None and self._config.report.rows
        self._looker = Looker(prepared, self._models) if kept else None
        self._features = FeatureVersions(
            self._dataset,
            backend,
            self._config.extraction,
            encoder,
            self._ledger,
            self._jobs,
            chooses=prepared.looks_at_features,
            keep_first=prepared.mode.keeps_first,
        )
        self._finals = FinalModels(backend, prepared.dataset, prepared.config.extraction, self._jobs)
        self._refresher = Refresher(prepared.mode.refresh, self._models, self._features, self._config.seed)
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
            self._jobs.round = number
            yield number

    def choose_rows(self, number: int) -> None:
        """Score the pool, pick the round's rows, and buy their labels."""
        state, choice = self.state, self._prepared.plan(number)
        ensemble = range(_MEMBERS if "members" in choice.inputs else 0)
        members = [self._proxy(number, f"member {one}", "proxy") for one in ensemble]
        job = PickJob(
            choice,
            self._pool,
            state.labelled.rows,
            state.labelled.labels,
            state.scorer,
            tuple(members),
            budget=self._config.budget[number],
            seed=derive_seed(self._config.seed, "select", number),
            sharded=self._config.selection.sharded,
        )
        picks = self._models.do(job, "select").told
        state.labelled.add(picks, self._dataset.oracle.buy(picks), number)
        self._round.bought = len(picks)
        if self._looker is not None:
            self._looker.look(state, picks, number, self._pool)

    def fit_proxy(self, number: int) -> None:
        """Fit the model that scores the pool next, and tell its accuracy on the test rows."""
        if self._prepared.mode.scoring == "head":
            return
        # A proxy that chooses nothing is fitted for the report alone.
        chooses = self._prepared.selection.inputs and not self._is_last(number)
        self.state.scorer = self._proxy(number, "proxy", "proxy" if chooses else "evaluate")
        self._round.proxy = self._models.evaluate(self.state.scorer, self._features.test)

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
            state.scorer = Held(state.model.head)
        else:
            self.fit_proxy(number)

    def train_final_model_if_due(self, number: int) -> None:
        """Have the final model trained and measured, where `training.evaluate_at` says so; only the last is awaited."""
        state = self.state
        if self._is_due(number):
            method = self._models.final_method(self._pool.version)
            self._submit(number, self._models.job(method, state.labelled), self._pool.version)
        if self._is_last(number):
            with self._ledger.away():
                state.finals |= {final.number: final for final in self._finals.wait()}

    def close_round(self, number: int) -> list[dict[str, Any]]:
        """Close the accounts of the round, and write it and the checkpoint.

        Returns
        -------
        list of dict
            Objects of rounds: those before whose final model has arrived meanwhile, and this one at the end.
        """
        state, told = self.state, self._round
        late = self._enter_late(self._finals.arrived(), number)
        record = {
            "round": number,
            "labelled": len(state.labelled),
            "strategy": self._prepared.plan(number).name,
            "mode": self._config.mode,
            "feature_version": self._pool.version,
            "refreshed": told.refreshed,
            "refresh_reason": told.reason,
            "logme": told.logme,
            "logme_ped": told.logme_ped,
            "proxy_accuracy": told.proxy and told.proxy.accuracy,
            "final_accuracy": None,
            "final_macro_f1": None,
            "final_method": None,
            "feature_fingerprint": self._pool.fingerprint,
            **self._ledger.close_round(told.bought),
        }
        state.records.append(record)
        final = state.finals.pop(number, None)
        if final is not None:
            self._enter(final)
        if final is not None and self._is_last(number):
            state.final = final.model
            state.summary = summarise(self._config, state.records, final.evaluation, self._ledger.totals())
        self._journal.write(state, self._pool, self._ledger)
        return [*late, record]

    def await_evaluations(self) -> list[dict[str, Any]]:
        """Wait for the final models that are on their way, where no more rounds come; the objects of their rounds."""
        with self._ledger.away():
            arrived = list(self._finals.wait())
        return self._enter_late(arrived, len(self.state.records))

    def cache_keys(self) -> frozenset[str]:
        """Keys of the cache entries that this run still uses."""
        return self._features.keys()

    def _is_due(self, number: int) -> bool:
        return self._counts[number] in self._evaluated

    def _submit(self, number: int, job: FineTuneJob, version: int) -> None:
        self._models.tell(job)
        with self._ledger.away():
            due = Due(number, job, self.state.model, self._features.tests(), version)
            self._finals.submit(due, awaited=self._is_last(number))

    def _enter_late(self, arrived: Iterable[FinalModel], number: int) -> list[dict[str, Any]]:
        """Enter final models of rounds before this one; the objects of those rounds."""
        state = self.state
        state.finals |= {final.number: final for final in arrived}
        late = [self._enter(state.finals.pop(earlier)) for earlier in sorted(state.finals) if earlier < number]
        if late:
            self._journal.amend(state, self._ledger)
        return late

    def _enter(self, final: FinalModel) -> dict[str, Any]:
        """Enter a final model in the object of its round, with what it cost."""
        for one in final.charges:
            self._ledger.charge(one.stage, one.spent, saved=one.saved, waited=one.waited, number=final.number)
        record: dict[str, Any] = self.state.records[final.number]
        self.state.correct[record["labelled"]] = final.evaluation.correct
        record |= {
            "final_accuracy": final.evaluation.accuracy,
            "final_macro_f1": final.evaluation.macro_f1,
            "final_method": final.model.method,
            **self._ledger.report(final.number),
        }
        return record

    def _proxy(self, number: int, purpose: str, stage: Stage) -> Handle[Any]:
        return self._models.proxy(self._pool, self.state.labelled, number, purpose, stage)

    @property
    def _pool(self) -> Features:
        return self._features.pool

    def _is_last(self, number: int) -> bool:
        return number == len(self._counts) - 1

    def _read_indicators(self) -> None:
        needs = self._prepared.mode.policy.needs
        if not needs:
            return
        labelled = self.state.labelled
        told = self._models.do(IndicatorJob(tuple(needs), self._pool, labelled.rows, labelled.labels), "indicator").told
        self._round.logme, self._round.logme_ped = told.get("logme"), told.get("logme_ped")

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
        self._jobs.go_on(state.next_round, [record["round"] for record in self._owed()])
        if state.model is not None and state.model.weights is None:
            kept = [attempt.round for attempt in state.attempts if attempt.kept]
            state.model = self._journal.require_same_model(self._refresher.again(state.labelled, kept[-1]), checkpoint)
        if shared is not None and shared.pool.fingerprint == checkpoint.features:
            self._features.share(shared)
        else:
            self._features.make(checkpoint.refreshes, state.model, shared)
        self._journal.require_same_features(self._pool, checkpoint)
        if self._prepared.mode.scoring == "head":
            state.scorer = None if state.model is None else Held(state.model.head)
        else:
            self.fit_proxy(checkpoint.rounds - 1)
        # What this cost was booked when it was done first.
        self._ledger.restore(checkpoint.ledger, checkpoint.rounds)
        self._finish_evaluations()

    def _finish_evaluations(self) -> None:
        """Have the final models made that a run was interrupted in."""
        for record in self._owed():
            number = record["round"]
            method = self._models.final_method(record["feature_version"])
            job = self._models.job(method, self.state.labelled.until(number))
            self._submit(number, job, record["feature_version"])

    def _owed(self) -> list[dict[str, Any]]:
        """The objects of rounds whose final model is due, and not there."""
        return [one for one in self.state.records if one["final_accuracy"] is None and self._is_due(one["round"])]
