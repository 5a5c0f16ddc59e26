"""How a command ends: its exit status, and one line for a person; never a traceback for what can be foreseen."""

from __future__ import annotations

import atexit
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import click

from asvp.errors import AsvpError, HeadLostError, PoolLostError, StorageError, one_line
from asvp.redaction import redact
from asvp.stuck import ending_stuck

CLEAN_SECONDS = 9.0
"""How long a command that was told to end may take to end in order."""

# Click before 8.2 has none, and shows help by itself.
_HELP: type[click.ClickException] | tuple[()] = getattr(click.exceptions, "NoArgsIsHelpError", ())
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NOTHING_LOST = "nothing is lost that was finished; start again"
_how_to_go_on: list[Callable[[], str]] = []
"""What the command under way would say, the innermost last."""


class Stopped(KeyboardInterrupt):
    """The process was told to end by a signal other than Ctrl-C; whatever ends in order at Ctrl-C does so here."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def run_command(command: Callable[[], Any]) -> None:
    """Call a command and end the process as its outcome asks: 0, 1, 2, or 128 and the signal's number."""
    _open_standard_streams()
    # Hooks run in the reverse of their order, and none is registered yet but those of Python's own modules.
    atexit.register(_hear_no_more)
    signals = _Signals()
    try:
        with signals, ending_stuck(_end_stuck):
            command()
    except HeadLostError as error:
        # Threads that wait inside Ray end no more, and would hold up Python's end.
        _print_line(str(error))
        _leave(error.exit_code)
    except AsvpError as error:
        fail(str(error), error.exit_code)
    except click.ClickException as error:
        if isinstance(error, _HELP):
            # A command without arguments: what it shows has lines of its own.
            error.show()
            sys.exit(2)
        context = getattr(error, "ctx", None)
        fail(f"{error.format_message()}{f' See {context.command_path} --help' if context else ''}", 2)
    except (click.Abort, KeyboardInterrupt) as end:
        # Click raises its own Abort from the interruption.
        interrupt = end.__cause__ if isinstance(end, click.Abort) else end
        # Ray raises a plain KeyboardInterrupt in place of what a signal's handler raised while it was waiting.
        number = interrupt.number if isinstance(interrupt, Stopped) else next(iter(signals.arrived), signal.SIGINT)
        signals.told = True
        _print_line(f"interrupted; {getattr(interrupt, 'how_to_go_on', _NOTHING_LOST)}")
        _leave(128 + number)
    except BrokenPipeError:
        # Who reads has seen enough: `asvp strategies | head -1`.
        pass
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        fail("Ray is not installed here, and this needs it: pip install 'ray[default,tune]', or add --in-process", 2)
    except MemoryError:
        fail("memory ran out; what was finished is kept", 1)
    except Exception:
        # What nobody foresaw is told in full, but for the secrets that other libraries put into their messages.
        with suppress(OSError, ValueError):
            print(redact(traceback.format_exc()), end="", file=sys.stderr, flush=True)
        sys.exit(1)
    finally:
        _let_broken_streams_go()


def fail(message: str, code: int) -> NoReturn:
    """Print one line on standard error and end the process."""
    _print_line(message)
    sys.exit(code)


def _print_line(message: str) -> None:
    with suppress(OSError, ValueError):
        print(f"asvp: {one_line(redact(message))}", file=sys.stderr, flush=True)


def _leave(code: int) -> NoReturn:
    """End the process with what is registered for its end, and without waiting for threads that are still at work.

    Whatever had to end in order has done so. A thread that was interrupted where it began, or a library that waits for
    its own threads as it is unloaded, would hold up Python's end for ever.
    """
    _let_broken_streams_go()
    with suppress(Exception):
        atexit._run_exitfuncs()
    os._exit(code)


def _hear_no_more() -> None:
    """Let signals change nothing any more: Python gives them back to the system before its end is over."""
    with suppress(ValueError):
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def told_how_to_go_on(how: Callable[[], str]) -> Iterator[None]:
    """Have an interruption of the block, or a disk that is full in it, say how to go on."""
    _how_to_go_on.append(how)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.how_to_go_on = how()  # type: ignore[attr-defined]
        raise
    except (StorageError, PoolLostError) as error:
        raise _going_on(error, how) from error
    finally:
        _how_to_go_on.pop()


def _going_on(error: AsvpError, how: Callable[[], str]) -> AsvpError:
    """An error that says how to go on."""
    mend = f"{(error.mend or 'Mend that').partition(' and go on')[0]}; {how()}"
    return type(error)(error.message, key=error.key, value=error.value, mend=mend)


def command_line(*words: str) -> str:
    """A command as it can be typed."""
    return shlex.join(["asvp", *words])


class _Signals:
    """Let SIGTERM and SIGHUP raise in a block, as Ctrl-C does, unless they are ignored (nohup).

    The second ends the process at once, and so does time: what holds up an end in order is not waited for, until the
    process is gone.

    Attributes
    ----------
    arrived : list of int
        Numbers of the signals that came.
    told : bool
        Whether the user has read how the command ended.
    """

    def __init__(self) -> None:
        self.arrived: list[int] = []
        self.told = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        with suppress(ValueError):
            # Only the main thread can be told; elsewhere signals do as they did.
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._stop)

    def __exit__(self, *raised: object) -> None:
        if not self.arrived:
            for changed, handler in self._before.items():
                signal.signal(changed, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.arrived.append(number)
        if len(self.arrived) > 1:
            _end_at_once("" if self.told else "ended at once; what was finished is kept", 128 + number)
        how = _how_to_go_on[-1] if _how_to_go_on else None
        late = threading.Timer(CLEAN_SECONDS, self._end_late, [number, how])
        late.daemon = True
        late.start()
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    def _end_late(self, number: int, how: Callable[[], str] | None) -> None:
        told = _NOTHING_LOST
        with suppress(Exception):
            told = how() if how else told
        _end_at_once("" if self.told else f"interrupted; {told}", 128 + number)


def _end_stuck(error: AsvpError) -> NoReturn:
    """End the process though its work has not: it waits for what comes no more."""
    told = str(error)
    with suppress(Exception):
        told = str(_going_on(error, _how_to_go_on[-1])) if _how_to_go_on else told
    _end_at_once(told, error.exit_code)


def _end_at_once(message: str, code: int) -> NoReturn:
    """End the process, whatever it is doing; a message is written past Python's streams, which may be in use."""
    if message:
        with suppress(OSError):
            os.write(2, f"\nasvp: {one_line(redact(message))}\n".encode(errors="backslashreplace"))
    # A Ray of this process's own would outlive it for a minute.
    for process in _descendants(os.getpid()):
        with suppress(OSError):
            os.kill(process, signal.SIGKILL)
    os._exit(code)


def _descendants(process: int) -> list[int]:
    """What a process has started, and what that has, as far as this system tells."""
    found = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError), open(f"/proc/{process}/task/{thread}/children", encoding="ascii") as file:
                for child in map(int, file.read().split()):
                    found += [child, *_descendants(child)]
    return found


def _open_standard_streams() -> None:
    """See to it that the three streams are there (`>&-` closes them), so that no file of a run takes their place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        # Names of files and classes may hold what the stream's encoding has no letters for.
        with suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _let_broken_streams_go() -> None:
    """Give what is left to print, and cannot be, to nobody, so that the interpreter's end does not complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                nobody = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nobody, stream.fileno())
                os.close(nobody)
