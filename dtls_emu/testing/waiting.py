"""Waiting, with an end, for what other processes, threads and the kernel do in a time of their own.

Only where there is no virtual clock. The limits guard against waiting for ever; how fast something is, is a
question for a benchmark.
"""

from __future__ import annotations

import threading
import time
from typing import IO, TYPE_CHECKING, AnyStr, Final, TypeVar


if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable


__all__ = ["PATIENCE", "await_line", "eventually"]

_Answer = TypeVar("_Answer")

PATIENCE: Final = 60.0
"""Seconds: a busy machine may stall a process for several of them, and compiling kernels takes tens."""

_PAUSE: Final = 0.01
"""Seconds between two looks."""


def eventually(condition: Callable[[], _Answer], what: str, *, seconds: float = PATIENCE) -> _Answer:
    """Ask until the answer is true, and return it.

    Args:
        condition: asked at least twice, the last time after the end, so that a process which was stalled for long
            is not told that it was too late.
        what: should have happened, for the message: "the card has ended".
        seconds: of the machine's monotonic clock.

    Raises:
        AssertionError: it did not happen.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline
        if answer := condition():
            return answer
        if is_last:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(_PAUSE)


def await_line(
    process: subprocess.Popen[AnyStr], stream: IO[AnyStr] | None, text: AnyStr, *, seconds: float = PATIENCE
) -> AnyStr:
    """Read what a process says until a line holds a text, and return that line.

    Args:
        process: killed at the end of the time, which is what ends the reading.
        stream: its standard output or standard error, a pipe.
        text: looked for.
        seconds: of the machine's monotonic clock.

    Raises:
        AssertionError: the process closed the stream, or was killed, before it said so; with what it said.
    """
    assert stream is not None, "the stream of the process is not a pipe"
    heard: list[AnyStr] = []
    alarm = threading.Timer(seconds, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        while line := stream.readline():
            if text in line:
                return line
            heard.append(line)
    finally:
        alarm.cancel()
    raise AssertionError(f"not said within {seconds:g} s: {text!r}; said was {heard}")
