"""Where a run keeps its sockets and its state: ``/run/dtls-emu/<run>/`` for root, else below ``XDG_RUNTIME_DIR``.

A run is one lab that is up: one folder, with a control socket for each of its hosts.

Root is who is root of the machine. Who is root of a user namespace only is an ordinary user outside of it, and has
his runs where that user has them.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from dtls_emu.errors import RunError
from dtls_emu.files.writing import is_folder


__all__ = [
    "EVENTS_SUFFIX",
    "MAX_SOCKET_PATH",
    "RUNS",
    "SOCKET_SUFFIX",
    "as_given",
    "control_socket",
    "control_socket_in",
    "control_sockets",
    "event_socket",
    "hidden_runs",
    "is_root",
    "run_directory",
    "runs_directory",
    "usable_runs_directory",
]

RUNS: Final = Path("/run/dtls-emu")
"""The folders of root's runs."""

MAX_SOCKET_PATH: Final = 107
"""Bytes of the path of a UNIX socket (unix(7): ``sun_path``)."""

SOCKET_SUFFIX: Final = ".sock"

EVENTS_SUFFIX: Final = ".evt"
"""Of a host's event socket, beside its control socket. It is no longer than the other's: so there is room for it, too."""


def is_root() -> bool:
    """Whether this process is root of the machine, or of a container that has a range of users."""
    return os.geteuid() == 0 and not _is_alone()


def as_given(command: str) -> str:
    """A command as this user gives it: with sudo, where this is root.

    Args:
        command: what stands behind `dtls-emu`.
    """
    return f"{'sudo ' if is_root() else ''}dtls-emu {command}"


def runs_directory() -> Path:
    """The folder of all runs: of root, or of this user. It need not be there.

    Raises:
        RunError: not root, and no ``XDG_RUNTIME_DIR``, whose folder only its user can read.
    """
    if is_root():
        return RUNS
    own = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if own.is_absolute():  # another is to be ignored (XDG base directory specification)
        return own / RUNS.name
    if os.geteuid() == 0:
        return RUNS
    raise RunError(
        "XDG_RUNTIME_DIR is not set, so there is no place for runs: log in on a console or by ssh (su and sudo -u make "
        "no session), or set it to a folder of mode 0700 that is yours; or be root"
    )


def usable_runs_directory() -> Path:
    """The folder of all runs, in a place where nobody else can write.

    Raises:
        RunError: there is none.
    """
    runs = runs_directory()
    if is_root() or runs == RUNS:
        return runs
    try:
        found = runs.parent.stat()
    except OSError as error:
        raise RunError(f"XDG_RUNTIME_DIR: {runs.parent}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RunError(f"XDG_RUNTIME_DIR: {runs.parent} is no folder of yours; name one with mode 0700")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RunError(f"XDG_RUNTIME_DIR: others may write to {runs.parent}; chmod 700 it")
    return runs


def _is_alone() -> bool:
    """Whether this is a user namespace with a single user, as one makes it for oneself (proc_pid_uid_map(5))."""
    try:
        lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
        (line,) = lines
        inside, outside, count = map(int, line.split())
    except (OSError, ValueError):
        return False
    return (inside, count) == (0, 1) and outside != 0


def hidden_runs() -> bool:
    """Whether root has runs that this user cannot see: their folder is there as long as there is one."""
    return not is_root() and is_folder(RUNS) and not os.access(RUNS, os.R_OK | os.X_OK)


def run_directory(run: str) -> Path:
    """The folder of one run."""
    return runs_directory() / run


def control_socket(run: str, host: str) -> Path:
    """The control socket of a host of a run."""
    return control_socket_in(run_directory(run), host)


def control_socket_in(folder: Path, host: str) -> Path:
    """The control socket of a host of the run whose folder this is."""
    return folder / f"{host}{SOCKET_SUFFIX}"


def event_socket(control: Path) -> Path:
    """The event socket of the host that has a control socket."""
    return control.with_name(control.name.removesuffix(SOCKET_SUFFIX) + EVENTS_SUFFIX)


def control_sockets(run: str = "*") -> list[Path]:
    """The control sockets that are there: of one run, or of all. What a symbolic link leads to is none."""
    folder = runs_directory()
    folders = [folder / run] if run != "*" and "/" not in run and run not in {".", ".."} else []
    try:
        folders = list(folder.iterdir()) if run == "*" else folders
    except OSError:  # none was made yet
        folders = []
    return sorted(
        path
        for each in folders
        if is_folder(each)
        for path in each.glob(f"*{SOCKET_SUFFIX}")
        if not path.is_symlink()
    )
