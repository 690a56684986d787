"""How a running host gets a socket of its own in the file system: for its owner only, and nobody else's."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

from dtls_emu.errors import DtlsEmuError
from dtls_emu.host.control.client import is_served


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["ControlSocketError", "identity", "listen"]


class ControlSocketError(DtlsEmuError):
    """The control socket cannot be had. Says why."""


def listen(path: Path, backlog: int) -> socket.socket:
    """A listening socket at a path, which only its owner can open.

    A folder that is not there is made, for its owner only, and the socket of a host that was killed removed.

    Raises:
        ControlSocketError: another host answers there, or it may not be made.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_stale(path)
        # The mode is the umask's business at the moment of bind, so that nobody can come in between.
        umask = os.umask(stat.S_IXUSR | stat.S_IRWXG | stat.S_IRWXO)
        try:
            listener.bind(str(path))
        finally:
            os.umask(umask)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ControlSocketError(f"control socket {path}: {error.strerror or error}") from error
    except ControlSocketError:
        listener.close()
        raise
    return listener


def identity(path: Path) -> tuple[int, int]:
    """Which file it is. Numbers of inodes are used again, so the moment belongs to it."""
    state = path.stat()
    return state.st_ino, state.st_ctime_ns


def _remove_stale(path: Path) -> None:
    """Remove the socket of a host that was killed."""
    if not path.is_socket():
        return
    if is_served(path):
        raise ControlSocketError(f"control socket {path}: a host answers there already")
    path.unlink()
