"""deploy/slurm.sh starts Ray on all nodes, runs the sweep and leaves nothing behind; Slurm's commands are faked."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_runs import tiny_settings, wait_until

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("deploy/slurm.sh", "deploy/sweep.sh")

SRUN = """#!/bin/bash
echo "srun $*" >> "$FAKES/log"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
echo "scontrol $*" >> "$FAKES/log"
[ "$1" = show ] && echo first && echo second || true
"""
RAY = f"""#!{sys.executable}
import os, signal, sys
def note(text):
    with open(os.environ["FAKES"] + "/log", "a") as log:
        print(text, file=log)
def end(*_):
    note("ray ended")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
note(f"ray {{' '.join(sys.argv[1:])}} with {{os.environ['RAY_AUTH_MODE']}} {{os.environ['RAY_AUTH_TOKEN']}}")
while True:
    signal.pause()
"""
ASVP = f"""#!{sys.executable}
import os, signal, sys
def end(*_):
    with open(os.environ["FAKES"] + "/log", "a") as log:
        print("asvp stopped", file=log)
    sys.exit(int(os.environ["STATUS"]))
signal.signal(signal.SIGTERM, end)
with open(os.environ["FAKES"] + "/log", "a") as log:
    print("asvp", *sys.argv[1:], "with", os.environ["RAY_AUTH_TOKEN"], file=log)
if os.environ["WAITS"] == "no":
    sys.exit(int(os.environ["STATUS"]))
while True:
    signal.pause()
"""
PYTHON = f"""#!/bin/bash
[ "$1" = -c ] && exec {sys.executable} "$@"
# A node is there once its Ray is, which then notes how it is ended.
until [ "$(grep -c '^ray start' "$FAKES/log")" -ge "$3" ]; do sleep 0.05; done
cat > /dev/null
"""
# Ports and folders follow from the job's number, and sessions run side by side.
NUMBER = os.getpid()
JOB = {
    "SLURM_JOB_ID": str(NUMBER),
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_CPUS_PER_TASK": "2",
    "HEAD_IP": "127.0.0.1",
}


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder of commands that write down how they were called, in `log`."""
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "asvp": ASVP, "python": PYTHON}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def job(fakes: Path, *, nodes: int = 2, status: int = 0, waits: bool = False) -> subprocess.Popen[str]:
    environment = {
        **JOB,
        "PATH": f"{fakes}:/usr/bin:/bin",
        "FAKES": str(fakes),
        "SLURM_JOB_NUM_NODES": str(nodes),
        "STATUS": str(status),
        "WAITS": "yes" if waits else "no",
    }
    return subprocess.Popen(
        ["bash", "deploy/slurm.sh", str(fakes / "sweep"), "budgets", "demo"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def log(fakes: Path) -> list[str]:
    file = fakes / "log"
    return file.read_text().splitlines() if file.exists() else []


def stopped(fakes: Path, with_signal: signal.Signals, status: int) -> tuple[int, list[str]]:
    """The script's status and what was called, where a signal reaches it while the sweep is at work."""
    running = job(fakes, status=status, waits=True)
    wait_until(lambda: running.poll() is not None or any(line.startswith("asvp sweep") for line in log(fakes)))
    running.send_signal(with_signal)
    output, _ = running.communicate(timeout=60)
    assert running.returncode is not None, output
    return running.returncode, log(fakes)


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_reads_the_script(script: str) -> None:
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_finds_nothing(script: str) -> None:
    ran = subprocess.run(["shellcheck", script], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == ""


@pytest.mark.parametrize("status", [0, 1])
def test_ray_runs_on_all_nodes_and_the_sweep_on_it_and_its_status_is_the_jobs(fakes: Path, status: int) -> None:
    running = job(fakes, status=status)
    running.communicate(timeout=60)
    assert running.returncode == status
    lines = log(fakes)
    steps = [line for line in lines if line.startswith("srun") and " ray start " in line]
    assert "--nodes=1 --ntasks=1 --nodelist=first ray start --head --block" in steps[0]
    assert "--dashboard-host=127.0.0.1" in steps[0].split()
    assert "--nodes=1 --ntasks=1 --ntasks-per-node=1 --exclude=first ray start --block" in steps[1]
    address = f"127.0.0.1:{20000 + 3 * (NUMBER % 4000)}"
    assert f"--address={address}" in steps[1].split()
    (asked,) = (line for line in lines if line.startswith("asvp sweep"))
    assert asked.split(" with ")[0] == f"asvp sweep budgets demo --address {address} --out {fakes / 'sweep'}"
    assert lines.count("ray ended") == 2
    assert not any("requeue" in line for line in lines)


def test_one_token_is_asked_for_on_every_node_and_is_in_no_command(fakes: Path) -> None:
    job(fakes).communicate(timeout=60)
    lines = log(fakes)
    tokens = {
        line.split(" with ")[1].removeprefix("token ") for line in lines if line.startswith(("ray start", "asvp"))
    }
    (token,) = tokens
    assert len(token) == 64
    assert not any(token in line for line in lines if line.startswith("srun"))


def test_a_job_of_one_node_has_no_step_for_others(fakes: Path) -> None:
    running = job(fakes, nodes=1)
    running.communicate(timeout=60)
    assert running.returncode == 0
    assert sum(" ray start " in line for line in log(fakes)) == 1


def test_before_its_time_is_over_the_sweep_is_stopped_and_then_ray_and_the_job_is_queued_again(fakes: Path) -> None:
    status, lines = stopped(fakes, signal.SIGUSR1, 143)
    assert status == 0
    assert lines.count("asvp stopped") == 1
    assert lines[-1] == f"scontrol requeue {NUMBER}"
    assert lines.index("asvp stopped") < lines.index("ray ended")
    assert lines.count("ray ended") == 2


@pytest.mark.parametrize("status", [0, 1])
def test_a_sweep_that_ends_of_itself_just_then_is_not_queued_again(fakes: Path, status: int) -> None:
    ended, lines = stopped(fakes, signal.SIGUSR1, status)
    assert ended == status
    assert not any("requeue" in line for line in lines)


def test_a_job_that_is_stopped_is_not_queued_again(fakes: Path) -> None:
    status, lines = stopped(fakes, signal.SIGTERM, 143)
    assert status == 143
    assert lines.count("ray ended") == 2
    assert not any("requeue" in line for line in lines)


def test_what_is_missing_is_named_before_anything_is_started(fakes: Path, tmp_path: Path) -> None:
    ran = subprocess.run(["bash", str(ROOT / "deploy/slurm.sh"), "x"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 2
    assert "submit from the root" in ran.stderr
    (fakes / "ray").unlink()
    running = job(fakes)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "activate the environment with ray" in output
    assert log(fakes) == []


@pytest.mark.slow
@pytest.mark.long
def test_a_real_ray_of_two_nodes_is_started_used_and_ended(fakes: Path, tmp_path: Path) -> None:
    for name in ("ray", "asvp", "python"):
        (fakes / name).unlink()
    (fakes / "config.yaml").write_text(yaml.safe_dump(tiny_settings(fakes / "tiny")))
    (fakes / "space.yaml").write_text(yaml.safe_dump({"arms": {"svp": {"mode": "svp"}}, "seeds": [0, 1]}))
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_AUTH", "RAY_TMPDIR"))}
    place = tmp_path / "sweep"
    command = ["bash", "deploy/slurm.sh", str(place), str(fakes / "space.yaml"), str(fakes / "config.yaml")]
    folders = [str(fakes), os.path.dirname(sys.executable), os.environ["PATH"]]
    here = {**JOB, "PATH": os.pathsep.join(folders), "FAKES": str(fakes), "SLURM_JOB_NUM_NODES": "2"}
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**mine, **here},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout
    assert len(list((place / "runs").glob("*/summary.json"))) == 2
    assert not Path(f"/tmp/asvp-{NUMBER}").exists()
