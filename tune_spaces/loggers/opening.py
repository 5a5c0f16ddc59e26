"""Loggers made ready, before a sweep's work begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from asvp.config import Config
from asvp.errors import AsvpError, ConfigError, first_line
from asvp.holds import Hold
from asvp.tune_spaces.loggers.listener import Destination, Loggers
from asvp.tune_spaces.loggers.names import MLFLOW, TENSORBOARD, WANDB
from asvp.tune_spaces.loggers.trial import LoggedTrials
from asvp.tune_spaces.space import Trial


def open_loggers(
    names: Sequence[str],
    trials: Sequence[Trial],
    configs: Mapping[str, Config],
    out: Path,
    hold: Hold,
    finished: Sequence[str],
    say: Callable[[str], None],
) -> Loggers:
    """The listener that passes the numbers of trials on; what is missing of finished ones is passed on now.

    Parameters
    ----------
    names : sequence of str
        As `require_loggers` gives them.
    trials : sequence of Trial
    configs : mapping of str to Config
        What trials run with, by name.
    out : Path
        The sweep directory.
    hold : Hold
        Of that directory.
    finished : sequence of str
        Trials that were finished before.
    say : callable

    Raises
    ------
    ConfigError
        If one cannot begin, such as a server that does not answer.
    """
    destinations = {name: _opened(name, out, hold, say) for name in names}
    loggers = Loggers(destinations, LoggedTrials(trials, configs), out / "runs", say)
    loggers.catch_up(finished)
    return loggers


def _opened(name: str, out: Path, hold: Hold, say: Callable[[str], None]) -> Destination:
    try:
        return _OPENERS[name](out, hold, say)
    except AsvpError:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise ConfigError(f"{name} cannot begin: {told}", key="log", mend="Mend it, or leave it out") from error


# Each is imported only where it is asked for.


def _tensorboard(out: Path, hold: Hold, say: Callable[[str], None]) -> Destination:
    from asvp.tune_spaces.loggers.tensorboard import TensorBoard

    return TensorBoard(out, hold)


def _mlflow(out: Path, hold: Hold, say: Callable[[str], None]) -> Destination:
    from asvp.tune_spaces.loggers.mlflow_runs import MLflowRuns

    return MLflowRuns(out, say)


def _wandb(out: Path, hold: Hold, say: Callable[[str], None]) -> Destination:
    from asvp.tune_spaces.loggers.wandb_runs import WandbRuns

    return WandbRuns(out, say)


_OPENERS = {TENSORBOARD: _tensorboard, MLFLOW: _mlflow, WANDB: _wandb}
