"""A run whose disk is full ends with an error that says so, whichever file it was, and goes on when there is room."""

from __future__ import annotations

from pathlib import Path

import pytest
from forked import Forked
from tiny_runs import picks, tiny_config

from asvp.driver.loop import run

# No file may have more than some bytes from a moment on: what stands in buffers then cannot be written either.
FILLING = """
import resource, sys
from asvp.config import load_config
from asvp.driver.loop import run
from asvp.models.classifier import Classifier

config, out, moment = sys.argv[1:]
infinite = resource.RLIM_INFINITY

def fill(*_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, infinite))

def save_on_a_full_disk(*given, save=Classifier.save):
    fill()
    save(*given)

if moment == "start":
    fill()
if moment == "model":
    Classifier.save = save_on_a_full_disk
try:
    run(load_config(config), out=out, in_process=True, on_round=fill if moment == "round" else None)
except Exception as error:
    found = error
resource.setrlimit(resource.RLIMIT_FSIZE, (infinite, infinite))
print(type(found).__name__, found)
"""


@pytest.mark.parametrize("moment", ["start", "round", "model"])
def test_a_full_disk_is_told_as_such_and_nothing_done_is_lost(moment: str, tmp_path: Path) -> None:
    config, out = tmp_path / "config.yaml", tmp_path / "out"
    base = tiny_config(tmp_path, budget="20+10x2")
    config.write_text(base.to_yaml())
    process = Forked("-c", FILLING, str(config), str(out), moment, cwd=tmp_path)
    said, errors = process.communicate(120)
    assert process.returncode == 0, errors
    assert said.startswith("StorageError ")
    assert "no file may be so large" in said or "the disk is full" in said
    # At the start there is no file yet that a resume would read.
    run(base, out=out, resume=moment != "start", in_process=True)
    run(base, out=tmp_path / "alone", in_process=True)
    assert picks(out) == picks(tmp_path / "alone")
