"""A user, mount and network namespace of one's own: how an ordinary user gets one, step by step, with what may refuse it.

In it this user is root, and nobody else is there (user_namespaces(7)): user 0 inside is the user outside, so files
belong to whom they should. Named network namespaces get a folder of their own there, on a file system whose name tells
which namespaces these are: a process that has it mounted is one of them, whatever numbers are used again.

Only a process with one thread may do this, so it is done in processes that do nothing else before.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.linux import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUSER
from dtls_emu.machine.netns import NETNS_FOLDER
from dtls_emu.machine.tun import TunUnavailableError, try_tun


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Step", "UnshareError", "mount_source", "unshare"]


_MS_NOSUID: Final = 0x2  # linux/mount.h
_MS_NODEV: Final = 0x4
_MS_NOEXEC: Final = 0x8
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 0x80000

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h

_FOLDER_OPTIONS: Final = b"mode=0755,size=1m"


class Step(StrEnum):
    """What is done, in this order."""

    USER = "user namespace"
    MAP = "user map"
    MOUNT = "mount namespace"
    NETWORK = "network namespace"
    FOLDER = "folder of named namespaces"
    SETTINGS = "settings of a network namespace"
    TUN = "TUN device"


class UnshareError(Exception):
    """A step was refused.

    Fields:
        step: which.
        number: of the error (errno(3)).
    """

    def __init__(self, step: Step, error: OSError) -> None:
        super().__init__(f"{step}: {error.strerror}")
        self.step = step
        self.number = error.errno or 0


def mount_source(token: str) -> str:
    """What ``/proc/PID/mountinfo`` tells of a process in the namespaces with this token."""
    return f"dtls-emu-{token}"


def unshare(token: str) -> None:
    """Put this process, which has one thread, into namespaces of its own; then see that a TUN device can be had there.

    Args:
        token: tells these namespaces from all others; letters and digits.

    Raises:
        UnshareError: with the step that was refused.
    """
    user, group = os.geteuid(), os.getegid()
    # After another user's program has become this one, /proc/self would belong to root.
    _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    _step(Step.USER, lambda: _call(_LIBC.unshare(CLONE_NEWUSER)))
    _step(Step.MAP, lambda: _map(user, group))
    _step(Step.MOUNT, lambda: _call(_LIBC.unshare(CLONE_NEWNS)))
    _step(Step.NETWORK, lambda: _call(_LIBC.unshare(CLONE_NEWNET)))
    _step(Step.FOLDER, lambda: _make_folder(mount_source(token)))
    _step(Step.SETTINGS, _see_settings)
    try:
        try_tun()
    except TunUnavailableError as error:
        raise UnshareError(Step.TUN, OSError(error.number, str(error))) from error


def _step(step: Step, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        raise UnshareError(step, error) from error


def _map(user: int, group: int) -> None:
    """Root inside is this user; a group may be mapped once no further ones can be taken (user_namespaces(7))."""
    with suppress(FileNotFoundError):  # before Linux 3.19
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def _make_folder(source: str) -> None:
    """Mount an empty folder where named network namespaces are; what is unmounted outside goes inside, too."""
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    if not NETNS_FOLDER.is_dir():
        _renew(NETNS_FOLDER.parent)
        NETNS_FOLDER.mkdir(mode=0o755)
    _mount(source, NETNS_FOLDER, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, _FOLDER_OPTIONS)


def _renew(folder: Path) -> None:
    """Put a folder of our own in the place of one that belongs to root, with everything in it that was there."""
    before = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        entries = [(entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in os.scandir(before)]
        _mount("dtls-emu", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, _FOLDER_OPTIONS)
        for name, mode in entries:
            old, new = Path(f"/proc/self/fd/{before}/{name}"), folder / name
            if stat.S_ISLNK(mode):
                new.symlink_to(os.readlink(name, dir_fd=before))
                continue
            if stat.S_ISDIR(mode):
                new.mkdir()
            else:
                new.touch()
            with suppress(PermissionError):
                _mount(old, new, None, _MS_BIND | _MS_REC)
    finally:
        os.close(before)


def _see_settings() -> None:
    """See that network namespaces can be told how IPv6 is to behave in them."""
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _mount(
    source: Path | str | None, target: Path | str, kind: str | None, flags: int, options: bytes | None = None
) -> None:
    words = (
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
    )
    _call(_LIBC.mount(*words, ctypes.c_ulong(flags), options))


def _call(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC: Final = ctypes.CDLL(None, use_errno=True)
