"""Processes by identity: a number alone is somebody else's tomorrow.

A process is known by its number and the moment of its start, and is signalled through a pidfd, which never
means another. Those of a network namespace are found by the namespace's inode, not by any name; those of a mount
namespace by the name of what is mounted in it, where that is like no other.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


__all__ = [
    "ProcessId",
    "end_processes",
    "has_mount",
    "identify",
    "is_alive",
    "processes_inside",
    "processes_with_mount",
]

GRACE: Final = 3.0
"""Seconds between the request to end and the end by force."""

KILLED_IN: Final = 5.0
"""Seconds that the kernel may take to end what is killed; more, and it hangs in a driver."""

_PROC: Final = Path("/proc")
_STATE, _PARENT, _STARTED = 0, 1, 19
"""Fields of ``/proc/PID/stat`` behind the name (proc_pid_stat(5): 3, 4 and 22)."""


class ProcessId(NamedTuple):
    """Which process.

    Fields:
        pid: its number.
        started: clock ticks from the machine's boot to its start.
    """

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """The process that has this number now; None when there is none, or it has ended and nobody asked how."""
    fields = _stat(pid)
    return None if fields is None or fields[_STATE] in {"Z", "X"} else ProcessId(pid, int(fields[_STARTED]))


def is_alive(process: ProcessId) -> bool:
    """Whether it runs."""
    return identify(process.pid) == process


def processes_inside(inodes: Collection[int]) -> list[ProcessId]:
    """The processes in network namespaces with these inodes, but for this one and those that it is a child of."""
    spared = set(_ancestry(os.getpid()))
    found: list[ProcessId] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        with suppress(OSError):  # ended meanwhile
            if (entry / "ns/net").stat().st_ino in inodes:
                found += filter(None, [identify(int(entry.name))])
    return sorted(found)


def processes_with_mount(source: str) -> list[ProcessId]:
    """The processes of this user that have a file system of this source mounted, but for this one and its ancestors.

    Another user may call one of his own the same; his processes are none of this user's business.
    """
    spared = set(_ancestry(os.getpid()))
    found: list[ProcessId] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        if has_mount(source, entry.name) and _user_of(entry) == os.getuid():
            found += filter(None, [identify(int(entry.name))])
    return sorted(found)


def has_mount(source: str, pid: str = "self") -> bool:
    """Whether a process has a file system of this source mounted; one that has ended has none."""
    try:
        text = (_PROC / pid / "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return f" {source} " in text  # between spaces (proc_pid_mountinfo(5): 10)


def end_processes(processes: Iterable[ProcessId], grace: float = GRACE) -> list[ProcessId]:
    """Ask processes to end, and end by force those that have not after ``grace`` seconds.

    Returns:
        Those that are still there: the kernel holds them.
    """
    with ExitStack() as stack:
        handles: dict[int, ProcessId] = {}
        for process in processes:
            with suppress(OSError):  # ended meanwhile; or the number is that of a thread
                handle = os.pidfd_open(process.pid)
                stack.callback(os.close, handle)
                if is_alive(process):  # the handle means what it meant a moment ago
                    handles[handle] = process
        for request, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, KILLED_IN)):
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, request)
            _await_end(handles, patience)
        return list(handles.values())


def _await_end(handles: dict[int, ProcessId], seconds: float) -> None:
    """Take those away that end in time."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + seconds
    while handles and (left := deadline - time.monotonic()) > 0:
        for handle, _ in poll.poll(left * 1000):
            poll.unregister(handle)
            del handles[handle]


def _user_of(entry: Path) -> int | None:
    """Whose a process is; its folder may belong to root all the same (proc(5): dumpable)."""
    try:
        lines = (entry / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)


def _ancestry(pid: int) -> Iterable[int]:
    while pid and (fields := _stat(pid)):
        yield pid
        pid = int(fields[_PARENT])


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()  # a name may hold anything, brackets too
