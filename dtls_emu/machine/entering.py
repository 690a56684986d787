"""Into the namespaces of another process of this user, to be another program there.

``python -P -m dtls_emu.machine.entering PID STARTED FOLDER NETWORK PROGRAM [ARGUMENT ...]``

The program has this process's number, terminal, signals, environment and exit status. PID and STARTED are those of a
:class:`~dtls_emu.machine.processes.ProcessId`; FOLDER is where the program runs, if it is there; NETWORK is a named
network namespace inside, or empty.

To go into a user namespace a process must have one thread (setns(2)), so it is done here, and not where numeric
libraries have been loaded.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.netns import NamespaceError, namespace_path
from dtls_emu.machine.processes import ProcessId, is_alive


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["EXIT_CANNOT_ENTER", "EXIT_CANNOT_RUN", "EXIT_NOT_FOUND", "entering_command", "main"]

EXIT_CANNOT_ENTER: Final = 125
EXIT_CANNOT_RUN: Final = 126
EXIT_NOT_FOUND: Final = 127
"""As shells have it, and env(1)."""

_KINDS: Final = "user", "mnt", "net"
"""In this order: the user namespace gives the right to enter the others."""


def entering_command(door: ProcessId, network: str, program: Sequence[str]) -> list[str]:
    """The command that runs a program in the namespaces of a process.

    Args:
        door: a process in them.
        network: a named network namespace there; empty for that of the process.
        program: with its arguments.
    """
    try:
        here = str(Path.cwd())
    except OSError:  # it is gone
        here = "/"
    identity = str(door.pid), str(door.started)
    return [sys.executable, "-P", "-m", "dtls_emu.machine.entering", *identity, here, network, *program]


def main(arguments: Sequence[str]) -> int:
    """Become the program. Returns only when that cannot be."""
    pid, started, here, network, *program = arguments
    try:
        _enter(ProcessId(int(pid), int(started)))
        if network:
            _enter_network(network)
    except NamespaceError as error:
        return _complain(str(error), EXIT_CANNOT_ENTER)
    with suppress(OSError):  # not there, or not for this user: then /
        os.chdir(here)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program would inherit that
    if not program or not program[0]:
        return _complain("the name of the program is empty", EXIT_NOT_FOUND)
    try:
        os.execvp(program[0], program)  # noqa: S606 (what the user said)
    except FileNotFoundError as error:
        return _complain(f"{program[0]}: {error.strerror}", EXIT_NOT_FOUND)
    except OSError as error:
        return _complain(f"{program[0]}: {error.strerror}", EXIT_CANNOT_RUN)


def _enter(door: ProcessId) -> None:
    """Go into the namespaces of a process, if it is still the one that is meant."""
    files: list[int] = []
    try:
        try:
            for kind in _KINDS:  # not all at once: those that are open are to be closed
                files += [os.open(f"/proc/{door.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)]
        except OSError as error:
            raise NamespaceError(f"cannot enter the namespaces of the run: {error.strerror}") from error
        if not is_alive(door):  # alive now, it was so a moment ago: these namespaces are its own
            raise NamespaceError("the process that keeps the namespaces of the run has ended")
        for kind, file in zip(_KINDS, files, strict=True):
            _set_namespace(file, f"the {kind} namespace of the run")
    finally:
        for file in files:
            os.close(file)


def _enter_network(name: str) -> None:
    path = namespace_path(name)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"network namespace {path}: {error.strerror}") from error
    try:
        _set_namespace(file, f"the network namespace {name}")
    finally:
        os.close(file)


def _set_namespace(file: int, what: str) -> None:
    if _LIBC.setns(file, 0) != 0:  # os.setns came with Python 3.12
        raise NamespaceError(f"cannot enter {what}: {os.strerror(ctypes.get_errno())}")


def _complain(message: str, status: int) -> int:
    print(f"dtls-emu: {message}", file=sys.stderr)  # noqa: T201 (a program of its own)
    return status


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
