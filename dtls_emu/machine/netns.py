"""Network namespaces by name or path, and how a thread goes into one and comes back.

What is opened inside (a device, a socket) stays there for good, so one process serves devices of many
namespaces without living in any of them.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.machine.linux import CLONE_NEWNET


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["NETNS_FOLDER", "NamespaceError", "entered", "namespace_path"]

NETNS_FOLDER: Final = Path("/run/netns")
"""Where ``ip netns add`` and pyroute2 keep named namespaces."""


class NamespaceError(DtlsEmuError):
    """A network namespace is not there, or may not be entered."""


def namespace_path(name_or_path: str) -> Path:
    """The file of a namespace: what holds a slash is a path, anything else a name."""
    return Path(name_or_path) if "/" in name_or_path else NETNS_FOLDER / name_or_path


@contextmanager
def entered(name_or_path: str | None) -> Iterator[None]:
    """Run the body in a network namespace; None stays in this one.

    Only the calling thread goes there: another one that works meanwhile stays where it is, and a thread that
    is started inside begins inside.

    Raises:
        NamespaceError: no such namespace, or not allowed.
    """
    if name_or_path is None:
        yield
        return
    path = namespace_path(name_or_path)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NamespaceError(f"network namespace {path}: {error.strerror}") from error
        try:
            _enter(there, str(path))
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(home, "the namespace it came from")
    finally:
        os.close(home)


def _enter(descriptor: int, what: str) -> None:
    # os.setns came with Python 3.12.
    if _LIBC.setns(descriptor, CLONE_NEWNET) != 0:
        raise NamespaceError(f"cannot enter {what}: {os.strerror(ctypes.get_errno())}; it needs root")


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
