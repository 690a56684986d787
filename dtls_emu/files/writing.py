"""Small files of ours: written so that the old content or the new one is there, and told from what others put there.

They are read by :func:`dtls_emu.files.reading.read_file`.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["MAX_BYTES", "commit", "is_folder", "is_socket", "replace_file", "stage"]

MAX_BYTES: Final = 16 << 20
"""Of a file that describes a lab. One with a thousand VMs is a hundredth of it."""


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
