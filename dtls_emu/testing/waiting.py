"""Loops that end: waiting for other processes and the kernel, and turns on a virtual clock that must come to rest.

No limit here says how fast anything has to be, which is a question for a benchmark: each is far beyond what a busy
machine needs, and turns a test that would hang into one that says what did not happen.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, AnyStr, Final, TypeVar


if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator


__all__ = ["PATIENCE", "await_line", "eventually", "killed_after", "rounds"]

_Answer = TypeVar("_Answer")

PATIENCE: Final = 300.0
"""Seconds: a process that compiles kernels on a busy machine is silent for many of them."""

_PAUSES: Final = 0.005, 0.25
"""Seconds between two looks: at first, and at most, since some looks start a process."""


def eventually(condition: Callable[[], _Answer], what: str, *, seconds: float = PATIENCE) -> _Answer:
    """Ask until the answer is true, and return it. For what happens in real time, outside of the test's thread.

    Args:
        condition: asked once more at the end of the time, however late that is: who waits may have been stalled
            himself.
        what: the condition in words, for the message.
        seconds: of the machine's monotonic clock.

    Raises:
        AssertionError: it did not happen.
    """
    pause, longest = _PAUSES
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline
        if answer := condition():
            return answer
        if is_last:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
        pause = min(2 * pause, longest)


def rounds(limit: int, what: str) -> Iterator[int]:
    """Numbers for a loop that leaves by itself, unless a mistake keeps it going. For time that the test itself makes.

    Args:
        limit: many times what the loop needs.
        what: it leaves for, for the message.

    Raises:
        AssertionError: it is still there after so many rounds.
    """
    yield from range(limit)
    raise AssertionError(f"not within {limit} rounds: {what}")


@contextmanager
def killed_after(process: subprocess.Popen[AnyStr], *, seconds: float = PATIENCE) -> Iterator[None]:
    """Kill a process that has not ended by then, so that reading from its pipes or waiting for it in the body ends."""
    alarm = threading.Timer(seconds, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()


def await_line(
    process: subprocess.Popen[AnyStr], stream: IO[AnyStr] | None, text: AnyStr, *, seconds: float = PATIENCE
) -> AnyStr:
    """Read what a process says until a line holds a text, and return that line.

    Args:
        process: killed when the time is over.
        stream: its standard output or standard error, a pipe.
        text: looked for.
        seconds: of the machine's monotonic clock.

    Raises:
        AssertionError: the process closed the stream or was killed before it said so; with what it did say.
    """
    assert stream is not None, "the stream is no pipe"
    said: list[AnyStr] = []
    with killed_after(process, seconds=seconds):
        while line := stream.readline():
            if text in line:
                return line
            said.append(line)
    raise AssertionError(f"ended, or was killed after {seconds:g} s, without {text!r}; said: {said}")
