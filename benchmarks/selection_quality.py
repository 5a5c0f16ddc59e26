"""Proxy accuracy of every strategy on ready features: what a strategy buys, without fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from selection_data import Embedded

from asvp.config import ProxyConfig
from asvp.config.budget import parse_budget
from asvp.models.proxy import Proxy, fit_proxy
from asvp.selection import check_strategy, select

MEMBERS = 3


def quality(data: Embedded, file: Path, budget: str, seeds: int, rows: int | None, names: tuple[str, ...]) -> None:
    """Append one line a strategy and seed that the file does not hold yet."""
    rounds = parse_budget(budget)
    count = len(data.pool) if rows is None else rows
    done = set()
    if file.exists():
        done = {_key(json.loads(line)) for line in file.read_text().splitlines()}
    for seed in range(seeds):
        for name in names:
            record: dict[str, Any] = {"name": name, "seed": seed, "budget": budget, "rows": count}
            if _key(record) not in done:
                record["accuracy"] = learning_curve(data, name, rounds, seed, count)
                with file.open("a") as stream:
                    stream.write(json.dumps(record) + "\n")
                click.echo(json.dumps(record))


def learning_curve(data: Embedded, name: str, rounds: list[int], seed: int, rows: int) -> list[float]:
    """Test accuracy of the proxy after each round; the first round is the strategy's own if it needs no labels."""
    pool, labels = data.pool[:rows], data.pool_labels[:rows]
    labelled = np.empty(0, dtype=np.int64)
    accuracies: list[float] = []
    proxies: list[Proxy] = []
    for number, budget in enumerate(rounds):
        strategy = name if number or check_strategy(name).cold_start else "random"
        picks = select(
            strategy,
            budget=budget,
            seed=1000 * seed + number,
            labelled=labelled,
            size=rows,
            **_inputs(strategy, pool, labels[labelled], proxies),
        )
        labelled = np.concatenate([labelled, picks])
        members = MEMBERS if "members" in check_strategy(name).inputs else 1
        # Batches of one size: a last batch of a few rows would spoil the batch statistics at some label counts only.
        batch_size = -(-len(labelled) // -(-len(labelled) // ProxyConfig().batch_size))
        hidden = [] if name in ("alfa_mix", "drop_query") else ProxyConfig().hidden
        config = ProxyConfig(hidden=hidden, batch_size=batch_size)
        proxies = [
            fit_proxy(pool[labelled], labels[labelled], classes=data.classes, config=config, seed=100 * seed + member)
            for member in range(members)
        ]
        accuracies.append(float((proxies[0].probabilities(data.test).argmax(axis=1) == data.test_labels).mean()))
    return accuracies


def _inputs(name: str, pool: np.ndarray, labels: np.ndarray, proxies: list[Proxy]) -> dict[str, Any]:
    plan = check_strategy(name)
    inputs: dict[str, Any] = {}
    for key in plan.inputs:
        match key:
            case "features":
                # ALFA-Mix mixes what its linear head reads; a linear proxy reads the features themselves.
                hidden = plan.representation == "proxy" and name != "alfa_mix"
                inputs[key] = proxies[0].embed(pool) if hidden else pool
            case "probabilities":
                inputs[key] = proxies[0].probabilities(pool)
            case "members":
                inputs[key] = [proxy.probabilities(pool) for proxy in proxies]
            case "labels":
                inputs[key] = labels
            case "head":
                inputs[key] = proxies[0].head()
            case "scorer":
                inputs[key] = proxies[0]
            case "raw_features":
                inputs[key] = pool
    return inputs


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["name"], record["seed"], record["budget"], record["rows"]
