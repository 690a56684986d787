"""Root's capabilities, given up once devices and sockets are open (capabilities(7)).

A running host reads and writes what it has opened, and that needs nothing. One thing may be left over: a
tunnel's next association wants a new UDP socket, whose buffers may be larger than ``net.core.rmem_max`` only
with CAP_NET_ADMIN. Where the limit is too low, that one capability stays *permitted* and is in effect only
while such a socket is opened.

Capabilities belong to threads, so they are given up before there are others: this process has one.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.machine.linux import Capability


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["Privileges", "PrivilegesError", "buffers_need_net_admin", "drop_privileges"]

_VERSION_3: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23  # linux/prctl.h
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_MAX_CAPABILITIES: Final = 64  # bits of a set


class PrivilegesError(DtlsEmuError):
    """The kernel refuses to take capabilities away: nothing that should be trusted goes on like that."""


@dataclass(frozen=True, slots=True)
class Privileges:
    """What is left.

    Fields:
        kept: the capability that stays permitted, or None.
        reason: why.
        other_threads: of this process, that still have capabilities. 0 unless a library has started some.
    """

    kept: Capability | None
    reason: str
    other_threads: int

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Have what was kept in effect during the body; does nothing when nothing was kept."""
        if self.kept is None:
            yield
            return
        permitted = 1 << self.kept
        _capset(effective=permitted, permitted=permitted)
        try:
            yield
        finally:
            _capset(effective=0, permitted=permitted)

    def as_dict(self) -> dict[str, Any]:
        """For `status`."""
        kept = [] if self.kept is None else [f"{self.kept.name}, not in effect"]
        return {"capabilities": kept, "reason": self.reason, "other_threads": self.other_threads}


def buffers_need_net_admin(wanted: int) -> str:
    """Why CAP_NET_ADMIN is needed for socket buffers of so many bytes; "" when it is not.

    In a user namespace it is never: what a capability is good for there ends there, and the limit is the machine's
    (``sockopt_capable``, net/core/sock.c).
    """
    if _in_user_namespace():
        return ""
    for name in ("rmem_max", "wmem_max"):
        path = Path("/proc/sys/net/core") / name
        try:
            limit = int(path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return f"net.core.{name} cannot be read, and new sockets need {wanted} bytes"
        if limit < wanted:
            return f"net.core.{name} is {limit}, and new sockets need {wanted} bytes"
    return ""


def _in_user_namespace() -> bool:
    """Whether this is another user namespace than the machine's, which has all users (user_namespaces(7))."""
    try:
        text = Path("/proc/self/uid_map").read_text(encoding="ascii")
    except OSError:  # a kernel without user namespaces
        return False
    return text.split() != ["0", "0", str(2**32 - 1)]


def drop_privileges(keep_net_admin: str = "") -> Privileges:
    """Give up every capability of this thread, for good: for what it executes, too.

    Args:
        keep_net_admin: why CAP_NET_ADMIN is to stay permitted; "" when it is not.

    Raises:
        PrivilegesError: the kernel refuses.
    """
    effective, permitted = _capget()
    kept = Capability.CAP_NET_ADMIN if keep_net_admin and Capability.CAP_NET_ADMIN.is_in(permitted) else None
    _require(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _require(_LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "the ambient set")
    if Capability.CAP_SETPCAP.is_in(effective):
        for capability in range(_MAX_CAPABILITIES):
            if _LIBC.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1:
                _require(_LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "the bounding set")
    _capset(effective=0, permitted=0 if kept is None else 1 << kept)
    if kept is not None:
        reason = keep_net_admin
    elif keep_net_admin:
        reason = f"it has none to keep, although {keep_net_admin}"
    else:
        reason = "none is needed"
    return Privileges(kept, reason, _threads_with_capabilities())


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def _capget() -> tuple[int, int]:
    """Effective and permitted set of this thread."""
    data = (_Data * 2)()
    _require(_LIBC.capget(ctypes.byref(_Header(_VERSION_3, 0)), data), "capget")
    return data[0].effective | data[1].effective << 32, data[0].permitted | data[1].permitted << 32


def _capset(*, effective: int, permitted: int) -> None:
    low = 0xFFFFFFFF
    data = (_Data * 2)(_Data(effective & low, permitted & low, 0), _Data(effective >> 32, permitted >> 32, 0))
    _require(_LIBC.capset(ctypes.byref(_Header(_VERSION_3, 0)), data), "capset")


def _require(result: int, what: str) -> None:
    if result != 0:
        raise PrivilegesError(f"cannot give up capabilities: {what}: {os.strerror(ctypes.get_errno())}")


def _threads_with_capabilities() -> int:
    """How many other threads have some. Libraries start threads when they are imported."""
    count = 0
    for task in Path("/proc/self/task").iterdir():
        if task.name != str(threading.get_native_id()):
            status = (task / "status").read_text(encoding="ascii")
            permitted = next((line for line in status.splitlines() if line.startswith("CapPrm:")), "0")
            count += int(permitted.split()[-1], 16) != 0
    return count
