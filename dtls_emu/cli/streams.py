"""How the command line ends, whatever becomes of its streams: one line or silence, the right status, no traceback.

======================================  ================================================  ======
what happens                            what is said                                      status
======================================  ================================================  ======
an expected error                       its message                                       2
Ctrl-C; SIGTERM; SIGHUP                 "interrupted"; what was made is undone            130; 143; 129
nobody reads stdout any more            nothing, as with other tools                      141
stdout cannot be written (a full disk)  why, in one line                                  1
stdout or stderr closed from the start  nothing: what goes there is dropped               its own
stderr cannot be written                nothing                                           its own
======================================  ================================================  ======
"""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer as ReadableBuffer


__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_USAGE", "complain", "escaped", "run_command", "say"]

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_NO_READER: Final = 128 + signal.SIGPIPE
"""As a shell has it for a program that ended by the signal."""

USUAL_WIDTH: Final = "80"

ERRORS: Final = "dtls-emu-legible"
"""Name of what the streams do with characters that their encoding has not."""

IN_ASCII: Final = {"µ": "u", "±": "+-", "─": "-", "…": "...", "→": "->", "↑": "^", "↓": "v"}


def complain(message: str) -> None:
    """Print one error message to stderr."""
    say(f"dtls-emu: {message}", err=True)


def say(text: str, *, err: bool = False) -> None:
    """Print a line, in the stream's encoding: the library's own way takes another than some locales have."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def run_command(command: Callable[[], Any]) -> int:
    """Run a command line and return its exit status; see the table above."""
    _prepare_streams()
    with _ended_by_signals() as received:
        status = _status_of(command)
        try:
            sys.stdout.flush()
        except SystemExit as lost:
            status = status or _code(lost)
    if status == EXIT_INTERRUPTED and received:
        status = 128 + received[0]
    return status


def _status_of(command: Callable[[], Any]) -> int:
    try:
        command()
    except DtlsEmuError as error:
        complain(str(error))
        return EXIT_USAGE
    except KeyboardInterrupt:
        complain("interrupted")
        return EXIT_INTERRUPTED
    except SystemExit as ended:
        if _is_interrupt(ended):
            complain("interrupted")
        return _code(ended)
    return 0


def _is_interrupt(ended: SystemExit) -> bool:
    """Whether Ctrl-C is behind it that no command has dealt with: the library makes it an exit that says nothing."""
    error: BaseException | None = ended
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _code(ended: SystemExit) -> int:
    """The status that Python would end with; a text as the code is said."""
    if isinstance(ended.code, str):
        complain(ended.code)
        return EXIT_FAILED
    return int(ended.code or 0)


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """Have a request to end, and a terminal that goes away, undo what was made as Ctrl-C does.

    Yields:
        The signal, once one has come; later ones do not disturb what is undone.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        received.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup(1) means it
            before[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


# ---------------------------------------------------------------------------------------------- the streams


def _prepare_streams() -> None:
    codecs.register_error(ERRORS, _legible)
    _occupy_standard_descriptors()
    sys.stdout = _guard(sys.stdout, 1, _Stdout)
    sys.stderr = _guard(sys.stderr, 2, _Stderr)
    # Where it is no width, libraries print nothing at all.
    columns = os.environ.get("COLUMNS", "")
    if columns and not (columns.isascii() and columns.isdecimal() and columns.strip("0")):
        os.environ["COLUMNS"] = "" if sys.stdout.isatty() else USUAL_WIDTH


def _occupy_standard_descriptors() -> None:
    """Open /dev/null in the place of what is closed: else the next file opened gets its number, and what is printed."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return


def _guard(stream: TextIO | None, descriptor: int, kind: type[_Guarded]) -> TextIO:
    """The same stream, whose errors are seen to, whoever writes to it and by whatever layer."""
    if stream is None:
        raw: Any = io.FileIO(os.devnull, "w")
        return io.TextIOWrapper(kind(raw, descriptor), encoding="utf-8", errors=ERRORS)
    if stream not in {sys.__stdout__, sys.__stderr__}:
        return stream  # a notebook's, or a test's
    assert isinstance(stream, io.TextIOWrapper)
    with suppress(OSError):
        stream.flush()
    encoding, by_lines, at_once = stream.encoding, stream.line_buffering, stream.write_through
    buffer = stream.detach()
    raw = buffer.detach() if isinstance(buffer, io.BufferedWriter) else buffer
    return io.TextIOWrapper(
        kind(raw, descriptor, at_once=at_once),
        encoding=encoding,
        errors=ERRORS,
        line_buffering=by_lines,
        write_through=at_once,
    )


class _Guarded(io.BufferedWriter):
    """The bytes of a standard stream that may become impossible to write."""

    def __init__(self, raw: Any, descriptor: int, *, at_once: bool = False) -> None:
        super().__init__(raw)
        self._descriptor = descriptor
        self._at_once = at_once

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or do what :meth:`lost` says."""
        try:
            written = super().write(data)
            if self._at_once:
                super().flush()
            return written
        except OSError as error:
            self.lost(error)
            return memoryview(data).nbytes

    def flush(self) -> None:
        """Flush, or do what :meth:`lost` says."""
        try:
            super().flush()
        except OSError as error:
            self.lost(error)

    def lost(self, error: OSError) -> None:
        """From here on, what is written is dropped; else it would be tried again when the process ends."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._descriptor)
        os.close(null)


class _Stdout(_Guarded):
    """What a command prints is what it is for: without it, it ends."""

    def lost(self, error: OSError) -> None:
        """End the command."""
        super().lost(error)
        if isinstance(error, BrokenPipeError):
            raise SystemExit(EXIT_NO_READER)
        complain(f"cannot write to standard output: {error.strerror}")
        raise SystemExit(EXIT_FAILED)


class _Stderr(_Guarded):
    """What is said besides may be lost."""


def _legible(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding has not by what is like it in ASCII, and bytes of file names by their numbers."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(each) or escaped(each) for each in text), error.end


def escaped(character: str) -> str:
    """A character by its number, as Python writes it."""
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
