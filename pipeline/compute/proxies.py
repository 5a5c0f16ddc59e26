"""Proxies fitted where the features lie."""

from __future__ import annotations

import numpy as np

from asvp.alignment.verification import Judgement, judge
from asvp.compute.jobs import ProxyJob, VerifyJob
from asvp.config import ProxyConfig
from asvp.models.proxy import Proxy, fit_proxy


def fit(job: ProxyJob, device: str) -> Proxy:
    """The proxy on all labels, standardised with the moments of the pool."""
    features = job.features
    return fit_proxy(
        features.gather(job.rows),
        job.labels,
        classes=job.classes,
        config=with_widths(job.config, features.parts[-1].dim),
        seed=job.seed,
        mean=features.mean,
        std=features.std,
        device=device,
    )


def verify(job: VerifyJob, device: str) -> Judgement:
    """Compare proxies on the present and on the new features, fitted on the same rows, on those held out."""
    made = job.new.gather(np.arange(len(job.rows)))
    new = made if job.first is None else np.concatenate([job.first.gather(job.rows), made], axis=1)
    scored = []
    for features in (job.present.gather(job.rows), new):
        proxy = fit_proxy(
            features[~job.held],
            job.labels[~job.held],
            classes=job.classes,
            config=with_widths(job.config, job.present.parts[-1].dim),
            seed=job.seed,
            device=device,
        )
        scored.append(proxy.probabilities(features[job.held]))
    return judge(scored[0], scored[1], job.labels[job.held])


def with_widths(config: ProxyConfig, width: int) -> ProxyConfig:
    """The same with `auto` as the width of one feature version, also where two lie side by side."""
    return config.model_copy(update={"hidden": [width if one == "auto" else one for one in config.hidden]})
