"""Reading a file that somebody else names: a regular one, no larger than its use needs, without waiting.

A path in a lab file, or on a command line, may lead to a device that never ends, a FIFO that nobody writes to or
a disk image. What it leads to is looked at before a byte is read, and again once it is open, so that nothing
put in its place in between is read either. How large a file may be is for its reader to say
(:mod:`dtls_emu.files.limits`).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from dtls_emu.files.limits import in_bytes


__all__ = ["read_file", "refuse_special"]

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_file(path: Path | str, limit: int, *, private: bool = False, follow: bool = True) -> bytes:
    """All of a regular file.

    Args:
        path: of the file.
        limit: most bytes it may have.
        private: only its owner may have any right to it, as befits a key.
        follow: whether the path may be a symbolic link.

    Raises:
        OSError: it cannot be opened, is no regular file, is larger, or is open to others. ``strerror`` says
            which, fit to stand behind the path and a colon.
    """
    try:
        found = Path(path).stat(follow_symlinks=follow)
        _check(found, path, limit, private=private)  # to open a device may already do something
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(path, flags | (0 if follow else os.O_NOFOLLOW))
    except ValueError:  # a NUL, or what this machine's encoding of file names lacks
        raise OSError(errno.EINVAL, "no file can have this name", path) from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        _check(os.fstat(descriptor), path, limit, private=private)
        parts: list[bytes] = []
        left = limit + 1  # a file may grow while it is read
        while left and (part := file.read(min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
    if not left:
        raise _too_large(path, limit)
    return b"".join(parts)


def refuse_special(found: os.stat_result, path: Path | str) -> None:
    """Refuse what is no regular file.

    Raises:
        OSError: as :func:`read_file` says.
    """
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(number, f"is {kind}, not a regular file", path)


def _check(found: os.stat_result, path: Path | str, limit: int, *, private: bool) -> None:
    refuse_special(found, path)
    if private and found.st_mode & _OTHERS:
        mode = stat.S_IMODE(found.st_mode)
        raise PermissionError(errno.EPERM, f"has mode {mode:04o}, so others may use it; chmod 600 it", path)
    if found.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: Path | str, limit: int) -> OSError:
    return OSError(
        errno.EFBIG, f"is larger than {in_bytes(limit)}, the most that is read of such a file", path
    )
