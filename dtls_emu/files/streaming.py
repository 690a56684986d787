"""Reading files too large to be held, one piece after the other, and finding them below a folder.

As :mod:`dtls_emu.files.reading` does: only regular files, without waiting, and nothing through symbolic links below the
folder that was named.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.files.reading import refuse_special


if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


__all__ = ["MAX_FILES", "find_files", "stream_file"]

PIECE: Final = 1 << 20
"""Bytes."""

MAX_FILES: Final = 1_000_000
"""Below one folder. A blob an hour of a thousand interfaces: six weeks."""

MAX_DEPTH: Final = 64


def stream_file(path: Path | str) -> Iterator[bytes]:
    """The bytes of a regular file, in pieces; what is appended while it is read may be among them.

    Raises:
        OSError: it cannot be read, or is no regular file. ``strerror`` says which.
    """
    try:
        refuse_special(Path(path).stat(), path)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have this name", path) from None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        refuse_special(os.fstat(descriptor), path)
        left = os.fstat(descriptor).st_size + PIECE  # no file that grows for ever is read for ever
        while left > 0 and (piece := file.read(PIECE)):
            yield piece
            left -= len(piece)


def find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The regular files below a folder whose names end so, in the order of their paths.

    Args:
        folder: where to look; symbolic links below it are left out.
        suffixes: in small letters, with their points.

    Raises:
        OSError: a folder cannot be read, there are too many files, or folders are too deep.
    """
    found: list[Path] = []
    folders = [(folder, 0)]
    while folders:
        here, depth = folders.pop()
        if depth > MAX_DEPTH:
            raise OSError(errno.ELOOP, f"folders more than {MAX_DEPTH} deep", here)
        with os.scandir(here) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append((Path(entry.path), depth + 1))
                elif entry.is_file(follow_symlinks=False) and Path(entry.name).suffix.lower() in suffixes:
                    found.append(Path(entry.path))
                    if len(found) > MAX_FILES:
                        raise OSError(
                            errno.EFBIG, f"more than {MAX_FILES:,} files; name a folder in it", folder
                        )
    return sorted(found)
