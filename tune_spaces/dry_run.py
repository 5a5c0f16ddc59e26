"""What a sweep would do and need, without a start: `asvp sweep --dry-run`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from asvp.actors.cluster import cluster, nodes
from asvp.compute.placement import Placement, place
from asvp.config import Config, WorkersConfig
from asvp.driver.prepared import Prepared
from asvp.driver.sizing import measure_speed
from asvp.models.encoder.location import encoder_folder, weight_files
from asvp.spent import Share
from asvp.tune_spaces.checks import check_sweep
from asvp.tune_spaces.earlier import round_seconds, runs_beside
from asvp.tune_spaces.plan import SweepPlan, plan_sweep
from asvp.tune_spaces.rates import known_rates
from asvp.tune_spaces.room import Sizes
from asvp.tune_spaces.searching import begin_search
from asvp.tune_spaces.space import Space, Trial
from asvp.tune_spaces.suggestions import Suggestions
from asvp.tune_spaces.work import each_encoder


def dry_run(
    space: Space,
    config: Config,
    out: Path,
    *,
    seeds: Sequence[int] | None = None,
    search: str | None = None,
    samples: int | None = None,
    resume: bool = False,
    address: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> SweepPlan:
    """What a sweep would do and need; nothing is started or written.

    How fast rows are encoded is measured on a small sample in this process, where the cache does not remember it; how
    long trainings take is remembered or not known.

    Parameters
    ----------
    space : Space
    config : Config
        What all arms share.
    out : Path
        The sweep directory, checked as the sweep would.
    seeds, search, samples : optional
        As of `asvp.sweep`. Arms that would be suggested while the sweep runs are not known: others, drawn at random,
        stand for them.
    resume : bool
    address : str, optional
        Of a cluster whose nodes count; None: this machine's.
    say : callable
        Told of arms that are one or stand for others, and of draws that brought fewer.

    Raises
    ------
    AsvpError
        Whatever the sweep would be refused for.
    """
    begun = begin_search(space, config, out, seeds=seeds, search=search, samples=samples, resume=resume, say=say)
    chosen, checker = begun.trials, None
    if begun.suggestions is not None:
        chosen, checker = _stand_ins(begun.suggestions, chosen, say), begun.suggestions.checker
    prepared = check_sweep(chosen, out, resume=resume, checker=checker)
    placement = _placement(chosen[0].config.workers, address)
    rates = known_rates(prepared.values(), gpu=placement.gpus > 0)
    sizes = {}
    for shared, one in each_encoder(prepared.values()).items():
        speed = measure_speed(one, training=False)
        sizes[shared] = Sizes(speed.dim, _weight_bytes(one))
        if rates[shared].encoded is None and speed.rows_per_second is not None:
            share = Share(placement.cpus, placement.gpus) if placement.gpus else Share()
            rates[shared] = replace(rates[shared], encoded=share.spent(1 / speed.rows_per_second), measured=True)
    loops = round_seconds(runs_beside(out), gpu=placement.gpus > 0)
    return plan_sweep(chosen, prepared, placement, rates, sizes, loops)


def _stand_ins(suggestions: Suggestions, begun: Sequence[Trial], say: Callable[[str], None]) -> list[Trial]:
    """Trials of the arms that were suggested so far, and of others that are as good as any while none has ended."""
    found = list(begun)
    while more := suggestions.more():
        found += more
    say("Which arms Optuna suggests depends on what earlier ones reach. Arms drawn at random stand for them here")
    return found


def _weight_bytes(prepared: Prepared) -> int:
    if prepared.dataset.kind == "features":
        return 0
    encoder = prepared.config.encoder
    return sum(path.stat().st_size for path in weight_files(encoder_folder(encoder), encoder.model))


def _placement(workers: WorkersConfig, address: str | None) -> Placement:
    if address is not None and address != "local":
        with cluster(address):
            return place(workers, nodes(), growing=True)
    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    return place(workers, [here])
