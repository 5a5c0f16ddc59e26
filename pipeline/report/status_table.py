"""The table that `asvp status` prints, and that a sweep keeps current while it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from asvp.report.status import State, Status, TrialStatus
from asvp.report.tables import Table, count, dollars, duration

_FIRST: tuple[State, ...] = ("running", "failed", "damaged", "begun", "waiting", "stopped", "finished")
"""Which rows are kept where there is no room for all of them."""

_COLUMNS = ("arm", "seed", "round", "labels", "accuracy", "refreshes", "device-hours", "dollars", "state")


def status_table(trials: Sequence[TrialStatus], *, title: str = "Trials", most: int | None = None) -> Table:
    """One row a trial.

    Parameters
    ----------
    trials : sequence of TrialStatus
    title : str
    most : int, optional
        Rows there is room for: those that run are kept first, finished ones last, and the rest is counted.
    """
    shown = list(trials)
    if most is not None and len(trials) > most:
        kept = sorted(range(len(trials)), key=lambda i: (_FIRST.index(trials[i].state), i))[: max(most, 1)]
        shown = [trials[i] for i in sorted(kept)]
    left_out = Counter(trial.state for trial in trials) - Counter(trial.state for trial in shown)
    reasons = [_reason(trial) for trial in shown if trial.reason]
    rest = [f"and {_states(left_out)}"] if left_out else []
    return Table(
        title=title,
        columns=_COLUMNS,
        rows=tuple(_row(trial) for trial in shown),
        numbers=tuple(vars(trial) for trial in trials),
        note="; ".join([*rest, *reasons]),
    )


def progress_title(trials: Sequence[TrialStatus], *, left_seconds: float | None = None) -> str:
    """How far the whole is: trials, rounds, and about how long it still takes."""
    states = Counter(trial.state for trial in trials)
    done, planned = (sum(getattr(trial, name) for trial in trials) for name in ("rounds", "rounds_planned"))
    rounds = f"{done:,} of {planned:,} rounds" if planned else f"{done:,} rounds"
    left = "" if left_seconds is None else f", about {duration(left_seconds)} left"
    return f"{states['finished']} of {len(trials)} trials finished, {rounds}{left}"


def status_lines(status: Status) -> list[str]:
    """What is to be said of the whole below its table."""
    left = Counter(trial.state for trial in status.trials if trial.state not in ("finished", "stopped"))
    sign = "no file was written yet"
    if status.silent_seconds is not None:
        sign = f"the last sign is {duration(status.silent_seconds)} old"
    work = "a process is at work" if status.at_work else "no process is seen at work here"
    if not left:
        stopped = sum(trial.state == "stopped" for trial in status.trials)
        return [f"Finished{f', {stopped} trials stopped early' if stopped else ''}; {sign}."]
    return [f"{_states(left).capitalize()}; {work}; {sign}."]


def _states(states: Iterable[str]) -> str:
    counted = Counter(states) if not isinstance(states, Counter) else states
    return ", ".join(f"{counted[state]} {state}" for state in _FIRST if counted[state])


def _row(trial: TrialStatus) -> tuple[str, ...]:
    return (
        trial.arm,
        str(trial.seed),
        _of(trial.rounds, trial.rounds_planned),
        count(trial.labelled),
        _accuracy(trial),
        str(trial.refreshes),
        f"{trial.gpu_hours:.2f} GPU" if trial.gpu_hours else f"{trial.cpu_hours:.2f} CPU",
        dollars(trial.dollars),
        trial.state,
    )


def _reason(trial: TrialStatus) -> str:
    return f"{trial.trial} {'' if trial.state == 'stopped' else f'{trial.state}: '}{trial.reason}"


def _of(done: int, planned: int) -> str:
    return f"{done} of {planned}" if planned else str(done)


def _accuracy(trial: TrialStatus) -> str:
    """Of the last final model; of the proxy, which is said, while there is none."""
    if trial.final_accuracy is not None:
        return f"{trial.final_accuracy:.3f}"
    return "-" if trial.proxy_accuracy is None else f"proxy {trial.proxy_accuracy:.3f}"
