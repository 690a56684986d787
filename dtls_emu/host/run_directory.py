"""Where a run keeps its sockets and its state: ``/run/dtls-emu/<run>/`` for root, else below the user's own.

A run is one lab that is up: one folder, with a control socket for each of its hosts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dtls_emu.errors import DtlsEmuError


__all__ = ["SOCKET_SUFFIX", "control_socket", "control_sockets", "run_directory", "runs_directory"]

SOCKET_SUFFIX: Final = ".sock"

_ROOT: Final = Path("/run/dtls-emu")


def runs_directory() -> Path:
    """The folder of all runs: of root, or of this user.

    Raises:
        DtlsEmuError: not root, and no ``XDG_RUNTIME_DIR``, whose folder only its user can read.
    """
    if os.geteuid() == 0:
        return _ROOT
    own = os.environ.get("XDG_RUNTIME_DIR")
    if not own:
        raise DtlsEmuError("XDG_RUNTIME_DIR is not set, so there is no place for sockets; name one")
    return Path(own) / "dtls-emu"


def run_directory(run: str) -> Path:
    """The folder of one run."""
    return runs_directory() / run


def control_socket(run: str, host: str) -> Path:
    """The control socket of a host of a run."""
    return run_directory(run) / f"{host}{SOCKET_SUFFIX}"


def control_sockets(run: str = "*") -> list[Path]:
    """The control sockets that are there: of one run, or of all."""
    return sorted(runs_directory().glob(f"{run}/*{SOCKET_SUFFIX}"))
