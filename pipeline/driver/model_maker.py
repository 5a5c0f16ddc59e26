"""The models of a run, made of the labels bought so far and booked where they are made."""

from __future__ import annotations

from typing import Any

from asvp.alignment.verification import Judgement
from asvp.compute import Backend, Done, FineTuneJob, Handle, Job, TrainedModel
from asvp.compute.evaluation import Evaluation
from asvp.compute.jobs import EvaluateJob, ProxyJob, TrainingMethod, VerifyJob
from asvp.config import Config, ProxyConfig
from asvp.data import Dataset
from asvp.driver.job_names import job_name, job_rows
from asvp.features.feature_set import Features
from asvp.progress import Reporter
from asvp.record.job_log import JobLog
from asvp.record.labelled import LabelledSet
from asvp.record.ledger import Ledger, Stage
from asvp.seeds import derive_seed
from asvp.spent import NOTHING


class ModelMaker:
    """Has proxies fitted and encoders trained on a labelled set, with seeds that depend on the run's alone.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    backend : Backend
    encoder : str
        Fingerprint of the pre-trained encoder.
    ledger : Ledger
    jobs : JobLog
    reporter : Reporter
    """

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        backend: Backend,
        encoder: str,
        ledger: Ledger,
        jobs: JobLog,
        reporter: Reporter,
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._backend = backend
        self._encoder = encoder
        self._ledger = ledger
        self._jobs = jobs
        self._reporter = reporter

    @property
    def classes(self) -> int:
        """C."""
        return len(self._dataset.classes)

    @property
    def proxy_config(self) -> ProxyConfig:
        """How proxies are trained."""
        return self._config.proxy

    def proxy(self, pool: Features, labelled: LabelledSet, number: int, purpose: str, stage: Stage) -> Handle[Any]:
        """A proxy on all labels, with a seed of its own for each purpose and round."""
        seed = derive_seed(self._config.seed, purpose, number)
        job = ProxyJob(pool, labelled.rows, labelled.labels, self.classes, self._config.proxy, seed)
        return self.do(job, stage).kept

    def evaluate(self, scorer: Handle[Any], test: Features) -> Evaluation:
        """How good a model is on the test rows."""
        job = EvaluateJob(scorer, test, self._dataset.test_labels, self._dataset.classes)
        evaluation: Evaluation = self.do(job, "evaluate").told
        return evaluation

    def verify(self, job: VerifyJob) -> Judgement:
        """How a refresh does on labels that it did not see."""
        judgement: Judgement = self.do(job, "proxy").told
        return judgement

    def do(self, job: Job, stage: Stage) -> Done[Any]:
        """Have a job done, and book it."""
        with self._ledger.away() as away:
            done = self._backend.do(job)
        self._ledger.charge(stage, done.spent, waited=done.waited)
        told: dict[str, Any] = {
            "spent": done.spent,
            "waited": done.waited,
            "seconds": away.seconds,
            "spans": done.spans,
        }
        self._jobs.note(job_name(job, stage), stage, job_rows(job), **told)
        return done

    def train(
        self, method: TrainingMethod, labelled: LabelledSet, stage: Stage, *, present: TrainedModel | None
    ) -> TrainedModel:
        """A model on the labels given; if the present one was made by an equal job, it is that one."""
        job = self.job(method, labelled)
        if present is not None and present.key == job.key:
            return present
        self.tell(job)
        with self._ledger.away() as away:
            model = self._backend.train(job)
        saved = model.spent if model.reused else NOTHING
        self._ledger.charge(stage, model.spent, saved=saved, waited=model.waited)
        told: dict[str, Any] = {"spent": model.spent, "saved": saved, "waited": model.waited, "spans": model.spans}
        self._jobs.note(job_name(job, stage), stage, job_rows(job), seconds=away.seconds, **told)
        return model

    def job(self, method: TrainingMethod, labelled: LabelledSet) -> FineTuneJob:
        """A training from the pre-trained weights on the labels given."""
        rows, labels = labelled.ascending()
        return FineTuneJob(
            method=method,
            source=self._dataset.pool,
            rows=rows,
            labels=labels,
            classes=self.classes,
            training=self._config.training,
            seed=derive_seed(self._config.seed, "train"),
            encoder=self._encoder,
        )

    def tell(self, job: FineTuneJob) -> None:
        """Say what is trained."""
        self._reporter.say(f"Training ({job.method}) on {len(job.rows):,} labels")

    def final_method(self, refreshes: int) -> TrainingMethod:
        """What `training.method: auto` is: LP-FT before the first refresh, FT after it, LP without an encoder."""
        method = self._config.training.method
        if method != "auto":
            return method
        if self._dataset.kind == "features":
            return "lp"
        return "ft" if refreshes else "lp_ft"
