"""What models take of the disk."""

from __future__ import annotations

from typing import Any

import pytest

from asvp.config import build_config, merge
from asvp.driver.model_disk import ModelDisk, model_disk
from asvp.driver.modes import plan_mode


@pytest.mark.parametrize(
    ("changes", "cache", "checkpoint", "final"),
    [
        ({"mode": "svp"}, 1, 0, 1),
        ({"mode": "svp", "training": {"method": "lp"}}, 0, 0, 1),
        ({"mode": "svp", "training": {"evaluate_at": "every"}}, 5, 0, 1),
        ({"mode": "svp", "training": {"evaluate_at": [20, 40], "keep": "none"}}, 3, 0, 0),
        ({"mode": "standard"}, 5, 0, 1),
        ({"mode": "standard", "extraction": {"cache": None}}, 0, 1, 1),
        ({"mode": "asvp", "refresh": {"policy": "at", "at": [20]}}, 2, 0, 1),
        ({"mode": "asvp", "refresh": {"policy": "logme"}}, 5, 0, 1),
    ],
)
def test_every_training_is_in_the_cache_and_one_model_in_the_run_directory(
    changes: dict[str, Any], cache: int, checkpoint: int, final: int
) -> None:
    config = build_config(merge({"budget": "20+20x4", "extraction": {"cache": "cache"}}, changes))
    assert model_disk(config, plan_mode(config), 7) == ModelDisk(7 * cache, 7 * checkpoint, 7 * final)
