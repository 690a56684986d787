"""Writing the small files that the product keeps for itself: state, configuration, keys.

Afterwards the old content is there or the new one, never a part, and only the owner can use it. What others put in
the place of a folder or socket is told from it. Files that a user asks for are :mod:`dtls_emu.files.results`.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["commit", "is_folder", "is_socket", "replace_file", "stage"]


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 as a whole, or leave what is there as it is.

    Whoever has the old one open does not see what is written, nor does whoever has made a file beside it.

    Raises:
        OSError: it cannot be written. ``filename`` is the path.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        stage(new, data, exclusive=True)
        commit(new, path)
    except OSError as error:
        error.filename, error.filename2 = (
            os.fspath(path),
            None,
        )  # a failed write or rename names others, or none
        raise


def stage(new: Path, data: bytes, *, exclusive: bool = False) -> None:
    """Write a file of mode 0600 that is to get its name by :func:`commit`.

    Args:
        new: path of the file. One that is there already keeps its room on the disk, and its mode.
        data: all of it.
        exclusive: no file may be there.

    Raises:
        OSError: it cannot be written; it is gone then.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(new, flags | (os.O_EXCL if exclusive else 0), 0o600)
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
