"""Small files: read with a bound on size and kind, and written so that the old content or the new one is there.

What is read may have been put there by anybody, so its kind is looked at before it is opened: to open a FIFO waits
for a writer, and to open a device may set it off. Errors are :class:`OSError` with a reason fit to be printed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["MAX_BYTES", "commit", "is_folder", "is_socket", "read_small", "replace_file", "stage"]

MAX_BYTES: Final = 16 << 20
"""Of a file that describes a lab. One with a thousand VMs is a hundredth of it."""

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_small(path: Path, limit: int = MAX_BYTES, *, follow: bool = True) -> bytes:
    """The content of a regular file.

    Args:
        path: of the file.
        limit: bytes that it may have.
        follow: whether the path may be a symbolic link.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger.
    """
    try:
        _check_kind(path, path.stat(follow_symlinks=follow))
        # What has taken its place meanwhile must not block either.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL, or what no encoding of file names has
        raise OSError(errno.EINVAL, "no file can have this name", str(path)) from None
    with os.fdopen(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        _check_kind(path, state)
        # Files of /proc say that they are empty, so what is read counts as well.
        data = b"" if state.st_size > limit else file.read(limit + 1)
    if state.st_size > limit or len(data) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", str(path))
    return data


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 as a whole, or leave what is there as it is.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    stage(new, data)
    commit(new, path)


def stage(new: Path, data: bytes) -> None:
    """Write a file that is to get its name by :func:`commit`. What it has already of room it keeps and uses again.

    Raises:
        OSError: it cannot be written; it is gone then.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(new, flags, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise
    finally:
        os.close(descriptor)


def commit(new: Path, path: Path) -> None:
    """Give a staged file its name; when this returns, that survives whatever happens.

    Raises:
        OSError: it cannot be.
    """
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def is_socket(path: Path) -> bool:
    """Whether a socket is there, and no symbolic link to one elsewhere."""
    return _has_kind(path, stat.S_IFSOCK)


def is_folder(path: Path) -> bool:
    """Whether a folder is there, and no symbolic link to one elsewhere."""
    return _has_kind(path, stat.S_IFDIR)


def _has_kind(path: Path, kind: int) -> bool:
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except (OSError, ValueError):
        return False


def _check_kind(path: Path, state: os.stat_result) -> None:
    kind = stat.S_IFMT(state.st_mode)
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"is {_KINDS.get(kind, 'something else')}, not a regular file", str(path))
