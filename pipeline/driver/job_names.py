"""What jobs are called where people look at them, and how many rows they are about."""

from __future__ import annotations

from asvp.compute import FineTuneJob, Job
from asvp.compute.jobs import EvaluateJob, IndicatorJob, LookJob, PackJob, PickJob, ProxyJob, VerifyJob
from asvp.record.ledger import Stage


def job_name(job: Job | FineTuneJob, stage: Stage) -> str:
    """In the words of the field, such as "selection"; a training says what it is for."""
    if isinstance(job, FineTuneJob):
        return "refresh" if stage == "finetune" else "final training"
    return _NAMES[type(job)]


def extraction_name(title: str) -> str:
    """Of the rows of the pool, of the test rows, or of labelled rows that a refresh is verified on."""
    return f"extraction ({title})"


def job_rows(job: Job | FineTuneJob) -> int:
    """How many rows are picked, trained on, measured or looked at."""
    match job:
        case PickJob():
            return job.budget
        case EvaluateJob():
            return len(job.labels)
        case LookJob():
            return len(job.placed)
        case PackJob():
            return 0
        case _:
            return len(job.rows)


_NAMES: dict[type[Job], str] = {
    ProxyJob: "proxy training",
    EvaluateJob: "evaluation",
    PickJob: "selection",
    IndicatorJob: "indicator",
    LookJob: "look at picks",
    VerifyJob: "refresh check",
    PackJob: "packing",
}
