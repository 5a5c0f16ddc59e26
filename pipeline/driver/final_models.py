"""Final models at the label counts that are asked for: trained and measured beside the loop, which does not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from asvp.compute import Backend, Done, Extraction, FineTuneJob, Held, TrainedModel
from asvp.compute.evaluation import Evaluation
from asvp.compute.jobs import EvaluateJob
from asvp.config import ExtractionConfig
from asvp.data import Dataset
from asvp.driver.feature_versions import encoder_with
from asvp.driver.job_names import extraction_name, job_name, job_rows
from asvp.features.feature_set import FeatureSet
from asvp.record.job_log import JobLog
from asvp.record.ledger import Stage
from asvp.spent import NOTHING, Spent


@dataclass(frozen=True)
class Charge:
    """Something to book: the arguments of `Ledger.charge`."""

    stage: Stage
    spent: Spent
    saved: Spent = NOTHING
    waited: float = 0.0


@dataclass(frozen=True)
class FinalModel:
    """A model trained on all labels of a round, and how good it is on the test rows.

    Attributes
    ----------
    number : int
        Of the round.
    charges : tuple of Charge
    """

    number: int
    model: TrainedModel
    evaluation: Evaluation
    charges: tuple[Charge, ...]


@dataclass(frozen=True)
class Due:
    """A final model that is to be made.

    Attributes
    ----------
    number : int
        Of the round.
    job : FineTuneJob
    present : TrainedModel or None
        One that is there; if it was made by an equal job, it is the one.
    tests : mapping of str or None to FeatureSet
        Features of the test rows that are there, by the fingerprint of the weights that made them.
    version : int
        Of the features in that round.
    """

    number: int
    job: FineTuneJob
    present: TrainedModel | None
    tests: Mapping[str | None, FeatureSet]
    version: int


class FinalModels:
    """Final models on their way, and those that have arrived.

    Parameters
    ----------
    backend : Backend
        Of the loop. What it has done beside the loop is done by `backend.beside()`; a backend with nobody to do that
        gives None there, and each model is made when it is due.
    dataset : Dataset
    extraction : ExtractionConfig
    jobs : JobLog
    """

    def __init__(self, backend: Backend, dataset: Dataset, extraction: ExtractionConfig, jobs: JobLog) -> None:
        self._here = backend
        self._beside = backend.beside()
        self._dataset = dataset
        self._extraction = extraction
        self._jobs = jobs
        self._under_way: dict[int, Future[FinalModel]] = {}

    def submit(self, due: Due, *, awaited: bool) -> None:
        """Have one made; one that the loop waits for is its own work, and done here and now."""
        future: Future[FinalModel] = Future()
        self._under_way[due.number] = future
        if awaited or self._beside is None:
            future.set_result(self._made(due, self._here))
            return
        work = _fulfil(future, partial(self._made, due, self._beside))
        # No thread of a pool: an interrupted run does not wait for it.
        threading.Thread(target=work, name=f"asvp final model {due.number}", daemon=True).start()

    def arrived(self) -> Iterator[FinalModel]:
        """Those that are there since the last call, in the order of rounds; raises what making one raised."""
        for number in sorted(self._under_way):
            if self._under_way[number].done():
                yield self._under_way.pop(number).result()

    def wait(self) -> Iterator[FinalModel]:
        """All that are left, as they are due."""
        for number in sorted(self._under_way):
            yield self._under_way.pop(number).result()

    def _made(self, due: Due, backend: Backend) -> FinalModel:
        charges: list[Charge] = []

        def charge(name: str, rows: int, made: TrainedModel | FeatureSet | Done[Any], one: Charge) -> None:
            seconds = time.perf_counter() - began
            told = {"spent": one.spent, "saved": one.saved, "waited": one.waited, "spans": made.spans}
            beside = backend is not self._here
            self._jobs.note(name, one.stage, rows, number=due.number, seconds=seconds, beside=beside, **told)
            charges.append(one)

        began = time.perf_counter()
        model = due.present
        if model is None or model.key != due.job.key:
            model = backend.train(due.job)
            saved = model.spent if model.reused else NOTHING
            one = Charge("train", model.spent, saved, model.waited)
            charge(job_name(due.job, "train"), job_rows(due.job), model, one)
        weights = model.weights
        test = due.tests.get(None if weights is None else weights.fingerprint)
        if test is None:
            began = time.perf_counter()
            encoder = encoder_with(due.job.encoder, weights)
            test = backend.extract(
                Extraction(self._dataset.test, encoder, due.version, self._extraction, title="test"), weights
            )
            charge(extraction_name("test"), len(test), test, Charge("evaluate", test.spent, test.saved))
        began = time.perf_counter()
        job = EvaluateJob(Held(model.head), test, self._dataset.test_labels, self._dataset.classes)
        done = backend.do(job)
        one = Charge("evaluate", done.spent, waited=done.waited)
        charge(job_name(job, "evaluate"), job_rows(job), done, one)
        return FinalModel(due.number, model, done.told, tuple(charges))


def _fulfil(future: Future[FinalModel], make: Callable[[], FinalModel]) -> Callable[[], None]:
    def work() -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            future.set_exception(error)

    return work
