"""How commands end: exit statuses, one line, and nothing lost, whatever becomes of the terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from forked import Forked
from tiny_runs import picks, tiny_settings, wait_until

from asvp.config.text import merge

pytestmark = pytest.mark.long

MAIN = "from asvp.cli.app import main; main()"
NO_RAY = f"import sys; sys.modules['ray'] = None; {MAIN}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    settings = merge(tiny_settings(made), {"extraction": {"cache": str(made / "cache")}, "training": {"method": "lp"}})
    (made / "config.yaml").write_text(yaml.safe_dump(settings))
    return made


def asvp(*arguments: str, cwd: Path, program: list[str] | None = None, **options: Any) -> Forked:
    return Forked(*(program or ["-m", "asvp"]), *arguments, cwd=cwd, **options)


def ended(process: Forked, code: int) -> tuple[str, str]:
    """What a command printed, once it has ended with a status and without a traceback."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    return out, err


def stop_after_a_round(process: Forked, out: Path, number: int, mark: str | None = None) -> None:
    """Send a signal when a run has one more round than it had, and processes with its mark, if it has one."""
    before = rounds(out)
    wait_until(lambda: rounds(out) > before or process.poll() is not None, 240)
    assert process.poll() is None, process.communicate(1)
    assert mark is None or processes_with(mark)
    process.send_signal(number)


def rounds(out: Path) -> int:
    """Rounds that a resume goes on from."""
    try:
        return int(json.loads((out / "checkpoint" / "state.json").read_text())["rounds"])
    except FileNotFoundError:
        return 0


MARK = "ASVP_TESTS_MARK"
"""A variable by which all that a command starts is known: Ray hands it on to every process."""


def processes_with(mark: str) -> list[psutil.Process]:
    """Living processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


LONG = ["-s", "budget=20+10x5", "-s", "training.evaluate_at=every", "-s", "training.method=ft"]
LONG += ["-s", "workers.count=1"]


@pytest.mark.parametrize(
    ("number", "code", "where"),
    [
        (signal.SIGINT, 130, ["--in-process"]),
        pytest.param(signal.SIGINT, 130, ["--address", "local"], marks=pytest.mark.slow),
        # The sweep below ends on Ray too.
        pytest.param(signal.SIGTERM, 143, ["--address", "local"], marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_leaves_no_process_says_how_to_go_on_and_goes_on_so(
    number: int, code: int, where: list[str], folder: Path, tmp_path: Path
) -> None:
    words, mark = ["run", str(folder / "config.yaml"), *LONG, *where, "--out", "a run"], uuid.uuid4().hex
    process = asvp(*words, cwd=tmp_path, environment={MARK: mark})
    # Final models are on their way then, beside the loop.
    stop_after_a_round(process, tmp_path / "a run", number, None if "--in-process" in where else mark)
    out, err = ended(process, code)
    wait_until(lambda: not processes_with(mark))
    assert out == ""
    assert "***" not in err
    said = err.strip().splitlines()[-1]
    command = f"asvp run --resume '{tmp_path / 'a run'}' {' '.join(where)}"
    assert said == f"asvp: interrupted; finished rounds are kept, and this goes on: {command}"
    assert not (tmp_path / "a run" / "summary.json").exists()
    bought = picks(tmp_path / "a run")
    ended(asvp("run", "--resume", str(tmp_path / "a run"), "--in-process", cwd=tmp_path), 0)
    assert picks(tmp_path / "a run")[: len(bought)] == bought
    assert json.loads((tmp_path / "a run" / "summary.json").read_text())["labels"] == 70


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_an_interrupted_sweep_leaves_no_process_gives_no_verdict_keeps_its_results_and_goes_on(
    number: signal.Signals, code: int, folder: Path, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("arms: {svp: {}}\nseeds: [0]\n")
    # More rounds than are done by the time that its processes are looked for.
    words = ["sweep", str(space), str(folder / "config.yaml"), *LONG, "-s", "budget=20+4x12", "--out", "out"]
    run = tmp_path / "out" / "runs" / "svp-seed0"
    mark = uuid.uuid4().hex
    process = asvp(*words, cwd=tmp_path, start_new_session=True, environment={MARK: mark})
    stop_after_a_round(process, run, number, mark)
    out, err = ended(process, code)
    wait_until(lambda: not processes_with(mark))
    assert out == ""
    assert "***" not in err
    said = err.strip().splitlines()[-1]
    assert said.startswith("asvp: interrupted; finished rounds are kept, and this goes on: asvp sweep")
    assert said.endswith(f"--out {tmp_path / 'out'} --resume")
    assert (tmp_path / "out" / "results.parquet").exists()
    bought = picks(run)
    # Ended here, which is cheaper: the sweep's own tests have one that goes on and ends.
    ended(asvp("run", "--resume", str(run), "--in-process", cwd=tmp_path), 0)
    assert picks(run)[: len(bought)] == bought
    out, _ = ended(asvp("report", "out", "--json", cwd=tmp_path), 0)
    assert [(arm["labels"], arm["finished"]) for arm in json.loads(out)["arms"]] == [(68, 1)]


SWALLOWED = """
import os, signal
from asvp.cli.ending import run_command

def waits():
    # As Ray does where it waits.
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None

run_command(waits)
"""


def test_ctrl_c_is_heard_while_the_command_is_imported(tmp_path: Path) -> None:
    # Click is what the command imports first.
    (tmp_path / "click.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    pass\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = subprocess.run(
        [sys.executable, "-m", "asvp", "strategies"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "asvp: interrupted; nothing was begun yet\n"


def test_a_signal_that_a_library_takes_for_ctrl_c_keeps_its_exit_status(tmp_path: Path) -> None:
    _, err = ended(asvp(cwd=tmp_path, program=["-c", SWALLOWED]), 143)
    assert err.startswith("asvp: interrupted")


SLOW_TO_END = """
import os, signal, subprocess, sys, threading
import asvp.cli.ending as ending

subprocess.Popen(["sh", "-c", "sleep 600; true"], start_new_session=True)

def slow():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    finally:
        if sys.argv[1] == "again":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            # What never ends, and can be interrupted by nobody.
            threading.Event().wait()

ending.CLEAN_SECONDS = 600.0 if sys.argv[1] == "again" else 0.05
def command():
    with ending.told_how_to_go_on(lambda: "this goes on: asvp more"):
        slow()
ending.run_command(command)
"""


def test_a_second_ctrl_c_ends_at_once_with_all_that_was_started(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    process = asvp(cwd=tmp_path, program=["-c", SLOW_TO_END, "again"], environment={MARK: mark})
    _, err = ended(process, 130)
    assert err.strip() == "asvp: ended at once; what was finished is kept"
    wait_until(lambda: not processes_with(mark))


def test_an_end_in_order_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    _, err = ended(asvp(cwd=tmp_path, program=["-c", SLOW_TO_END, "late"]), 130)
    assert err.strip() == "asvp: interrupted; this goes on: asvp more"


NEVER_GONE = """
import atexit, os, signal, sys, threading
import asvp.cli.ending as ending

def waits():
    threading.Event().wait()

def command():
    if sys.argv[1] == "thread":
        threading.Thread(target=waits).start()
    else:
        atexit.register(waits)
        ending.CLEAN_SECONDS = 0.5
    with ending.told_how_to_go_on(lambda: "this goes on: asvp more"):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()

ending.run_command(command)
"""


@pytest.mark.parametrize("held", ["thread", "hook"])
def test_nothing_holds_up_the_end_of_a_process_that_was_interrupted(held: str, tmp_path: Path) -> None:
    """A thread that nobody waits for any more, or what a library has registered for Python's end."""
    _, err = ended(asvp(cwd=tmp_path, program=["-c", NEVER_GONE, held]), 130)
    assert err.strip() == "asvp: interrupted; this goes on: asvp more"


FULL = """
import asvp.cli.ending as ending
from asvp.errors import StorageError

def command():
    with ending.told_how_to_go_on(lambda: "this goes on: asvp more"):
        raise StorageError("the disk is full", key="/x", mend="Free space and go on with --resume")
ending.run_command(command)
"""


LATE = """
import os, signal
from asvp.cli.ending import run_command

class Late:
    def __del__(self, kill=os.kill, me=os.getpid(), number=signal.SIGINT):
        kill(me, number)

late = Late()
run_command(lambda: print("done"))
"""


def test_ctrl_c_after_all_is_done_changes_nothing(tmp_path: Path) -> None:
    out, err = ended(Forked("-c", LATE, cwd=tmp_path), 0)
    assert (out, err) == ("done\n", "")


def test_a_full_disk_says_how_to_go_on(tmp_path: Path) -> None:
    _, err = ended(asvp(cwd=tmp_path, program=["-c", FULL]), 1)
    assert err == "asvp: /x: the disk is full. Free space; this goes on: asvp more\n"


LOST = """
import sys, threading
import asvp.cli.ending as ending
from asvp.errors import HeadLostError
from asvp.stuck import end_stuck

lost = HeadLostError("Ray's head is gone", mend="Use another")

def command():
    with ending.told_how_to_go_on(lambda: "this goes on: asvp more"):
        if sys.argv[1] == "heard":
            # A thread that nobody waits for any more.
            threading.Thread(target=threading.Event().wait).start()
            raise lost
        threading.Timer(0.05, end_stuck, [lost]).start()
        threading.Event().wait()
ending.run_command(command)
"""


@pytest.mark.parametrize("waiting", ["heard", "stuck"])
def test_a_lost_head_says_how_to_go_on_also_where_nothing_else_ends_any_more(waiting: str, tmp_path: Path) -> None:
    _, err = ended(asvp(cwd=tmp_path, program=["-c", LOST, waiting]), 1)
    assert err.strip() == "asvp: Ray's head is gone. Use another; this goes on: asvp more"


def test_a_reader_that_goes_away_ends_a_command_quietly(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = asvp("strategies", cwd=tmp_path, stdout=writing)
    os.close(writing)
    os.close(reading)
    assert ended(process, 0)[1] == ""


def test_a_run_goes_on_when_nobody_listens_any_more(folder: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    config = str(folder / "config.yaml")
    process = asvp("run", config, "--in-process", "--out", "run", cwd=tmp_path, stdout=writing, stderr=writing)
    os.close(writing)
    os.close(reading)
    ended(process, 0)
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_under_standard_output_is_told_and_the_run_is_kept(
    options: list[str], folder: Path, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as full:
        ran = asvp(
            "run",
            str(folder / "config.yaml"),
            "--in-process",
            "--out",
            "run",
            *options,
            cwd=tmp_path,
            stdout=full.fileno(),
        )
        _, err = ended(ran, 1)
    assert err.strip().splitlines()[-1].startswith("asvp: standard output cannot be written: No space left")
    assert (tmp_path / "run" / "summary.json").exists()


def test_closed_streams_cost_nothing(folder: Path, tmp_path: Path) -> None:
    """`<&- >&- 2>&-`: Python then begins without streams, and the next files that are opened get their numbers."""
    closed = "import os, sys; os.closerange(0, 3); sys.stdin = sys.stdout = sys.stderr = None"
    words = ["run", str(folder / "config.yaml"), "--in-process", "--out", "run"]
    ended(asvp(*words, cwd=tmp_path, program=["-c", f"{closed}; {MAIN}"]), 0)
    assert (tmp_path / "run" / "summary.json").exists()


def test_names_from_outside_are_printed_as_they_are(folder: Path, tmp_path: Path) -> None:
    out, _ = ended(
        asvp("run", str(folder / "config.yaml"), "--in-process", "--out", "exp [/x] :smile:", cwd=tmp_path), 0
    )
    assert out.strip().endswith(f"Run directory: {tmp_path / 'exp [/x] :smile:'}")
    arm = tmp_path / "exp [/x] :smile:" / "arm.json"
    arm.write_text(json.dumps({"arm": "[/INST] [bold]x\x1b[31m", "place": 0}))
    out, _ = ended(asvp("report", "exp [/x] :smile:", cwd=tmp_path), 0)
    assert r"[/INST] [bold]x\x1b[31m" in out


def test_without_ray_everything_but_ray_itself_works(folder: Path, tmp_path: Path) -> None:
    config = str(folder / "config.yaml")
    without: dict[str, Any] = {"cwd": tmp_path, "program": ["-c", NO_RAY]}
    ended(asvp("run", config, "--in-process", "--out", "run", **without), 0)
    for words in (
        ["report", "run"],
        ["strategies"],
        ["spaces"],
        ["check", config],
        ["extract", config, "--in-process"],
    ):
        ended(asvp(*words, **without), 0)
    for words in (["run", config, "--out", "other"], ["sweep", "svp_vs_asvp", config, "--out", "other"]):
        _, err = ended(asvp(*words, **without), 2)
        *said, last = err.strip().splitlines()
        assert last.startswith("asvp: Ray is not installed here")
        assert not [line for line in said if "Ray is not" in line or line.startswith(" ")]
    assert not (tmp_path / "other").exists()


def test_a_folder_for_rays_sockets_that_is_too_long_is_told_before_ray_starts(folder: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    words = ["run", str(folder / "config.yaml"), "--address", "local", "--out", "run"]
    process = asvp(*words, cwd=tmp_path, program=["-c", f"import os; os.environ['RAY_TMPDIR'] = {str(long)!r}; {MAIN}"])
    _, err = ended(process, 2)
    assert "RAY_TMPDIR: is too long" in err
    assert list(long.iterdir()) == []
