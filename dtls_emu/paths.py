"""Where a run keeps its sockets and its state: ``/run/dtls-emu/<run>/`` for root, else below the user's own.

A run is one lab that is up: one folder, with a control socket for each of its hosts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.writing import is_folder


__all__ = [
    "EVENTS_SUFFIX",
    "MAX_SOCKET_PATH",
    "RUNS",
    "SOCKET_SUFFIX",
    "control_socket",
    "control_socket_in",
    "control_sockets",
    "event_socket",
    "hidden_runs",
    "run_directory",
    "runs_directory",
]

RUNS: Final = Path("/run/dtls-emu")
"""The folders of root's runs."""

MAX_SOCKET_PATH: Final = 107
"""Bytes of the path of a UNIX socket (unix(7): ``sun_path``)."""

SOCKET_SUFFIX: Final = ".sock"

EVENTS_SUFFIX: Final = ".evt"
"""Of a host's event socket, beside its control socket. It is no longer than the other's: so there is room for it, too."""


def runs_directory() -> Path:
    """The folder of all runs: of root, or of this user.

    Raises:
        DtlsEmuError: not root, and no ``XDG_RUNTIME_DIR``, whose folder only its user can read.
    """
    if os.geteuid() == 0:
        return RUNS
    own = os.environ.get("XDG_RUNTIME_DIR")
    if not own:
        raise DtlsEmuError("XDG_RUNTIME_DIR is not set, so there is no place for sockets; name one")
    return Path(own) / RUNS.name


def hidden_runs() -> bool:
    """Whether root has runs that this user cannot see: their folder is there as long as there is one."""
    return os.geteuid() != 0 and is_folder(RUNS) and not os.access(RUNS, os.R_OK | os.X_OK)


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
