"""Files of JSON that grow a record at a time, and are whole JSON documents in between.

A file is ``{"records":[``, records with commas in between, and ``]}``: as Azure keeps flow logs in block blobs, whose last
block is written anew with each. One write puts a record and the end over the old end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from dtls_emu.errors import DtlsEmuError


__all__ = ["BlobFolder", "BlobFolderError"]

HEAD: Final = b'{"records":['
TAIL: Final = b"]}"


class BlobFolderError(DtlsEmuError):
    """A folder of blobs cannot be used, or a blob not be written. Says which, why and what to do."""


class BlobFolder:
    """A folder that blobs are made in.

    Fields:
        path: of the folder.
        written: records so far.
    """

    def __init__(self, path: Path | str, *, force: bool = False) -> None:
        """
        Args:
            path: of the folder, which is made; the one above it must be there.
            force: the folder may have something in it already; blobs of the same name go on.

        Raises:
            BlobFolderError: it cannot be made or written to, or has something in it.
        """
        self.path = Path(path)
        self.written = 0
        try:
            self.path.mkdir(exist_ok=True)
            if not force and any(self.path.iterdir()):
                raise BlobFolderError(
                    f"{path} has something in it already; name a new folder, or --force adds to it"
                )
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise BlobFolderError(f"{path}: Permission denied; name a folder of your own")
        except FileExistsError:
            raise BlobFolderError(f"{path} is a file; name a folder") from None
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else "no file can have this name"
            raise BlobFolderError(f"{path}: {said}; name a folder that can be made") from None

    def append(self, blob: str, record: bytes) -> None:
        """Add a record to a blob, which is made where it is not there.

        Args:
            blob: its path below the folder.
            record: JSON.

        Raises:
            BlobFolderError: it cannot be written, or is no blob of this kind.
        """
        path = self.path / blob
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o644)
            try:
                _append(descriptor, record, path)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise BlobFolderError(f"{path}: {error.strerror}") from None
        self.written += 1


def _append(descriptor: int, record: bytes, path: Path) -> None:
    size = os.fstat(descriptor).st_size
    if not size:
        _write(descriptor, HEAD + record + TAIL, 0)
        return
    end = size - len(TAIL)
    if end < len(HEAD) or os.pread(descriptor, len(TAIL), end) != TAIL:
        raise BlobFolderError(f"{path} is no blob of records that was written here; name another folder")
    _write(descriptor, b"," + record + TAIL, end)


def _write(descriptor: int, content: bytes, position: int) -> None:
    rest = memoryview(content)
    while rest:
        done = os.pwrite(descriptor, rest, position)
        rest, position = rest[done:], position + done
