"""Writing what a user asked for: the place is tried before the work, so that nothing is lost when the work is done.

1. :class:`ResultFile` tries the place: is it a file that may be made or written over, in a folder that takes one?
2. The work is done.
3. :meth:`ResultFile.save` writes. What cannot be written where it was to go is kept in the temporary folder.

A regular file is replaced as a whole, with the mode and the owner it had. Symbolic links are followed. What is no
regular file (a device, a FIFO, ``/dev/stdout``) is written to, never replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from fcntl import F_GETFL, fcntl
from pathlib import Path
from typing import BinaryIO, Final

from dtls_emu.errors import DtlsEmuError


__all__ = ["READABLE", "SECRET", "ResultFile", "ResultFileError", "Saved", "why"]

READABLE: Final = 0o666
SECRET: Final = 0o600
"""Modes of a new file; the process's mask is applied."""

MAX_LINKS: Final = 40
"""Symbolic links that lead to one file, at most: what Linux itself follows (path_resolution(7))."""

STANDARD_STREAMS: Final = (1, 2)

CANNOT_REPLACE: Final = frozenset({errno.EACCES, errno.EPERM, errno.EBUSY, errno.EXDEV})
"""Why a file that may be written cannot be replaced: its folder takes no file, its owner cannot be kept, or it is
a mount point, as in a container."""


class ResultFileError(DtlsEmuError):
    """A result cannot be written to the place that was named. Says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a result is.

    Fields:
        path: of the file; None: it could not be written anywhere.
        trouble: why it is not where it was to go; empty when it is.
    """

    path: Path | None
    trouble: str = ""


class ResultFile:
    """A place for a result, tried when this is made.

    Args:
        path: as the user wrote it.
        force: a regular file that is there may be replaced.
        make_folders: make the folders above it.
        avoid_others: take another name (``-2``, ``-3``) where a file of this one is there already.
        mode: of a new file.

    Raises:
        ResultFileError: nothing can be written there, or a file is there and ``force`` is not given.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        force: bool = False,
        make_folders: bool = False,
        avoid_others: bool = False,
        mode: int = READABLE,
    ) -> None:
        self.path = Path(path)
        self._mode = mode
        self._force = force
        self._avoid_others = avoid_others
        self._old: os.stat_result | None = None
        self._target = self.path
        self._descriptor: int | None = None
        self._is_regular = True
        if os.fspath(path).endswith("/"):
            raise ResultFileError(f"{path} names a folder; name a file in it")
        try:
            self._try(make_folders=make_folders)
        except OSError as error:
            raise ResultFileError(f"cannot write {self.path}: {why(error)}") from error

    @property
    def is_regular(self) -> bool:
        """Whether it is a file that keeps what is written; another may block until somebody reads."""
        return self._is_regular

    def is_same_as(self, other: ResultFile) -> bool:
        """Whether both are one file, of which the last one written would be left."""
        return self._is_regular and other._is_regular and self._target == other._target

    def write(self, content: bytes) -> Path:
        """Write the result. A file is there as a whole or not at all, where it can be replaced.

        Returns:
            The path of the file.

        Raises:
            ResultFileError: it cannot be written.
        """
        try:
            return self._write(content)
        except FileExistsError as error:
            raise ResultFileError(
                f"cannot write {self.path}: somebody has made it meanwhile; --force writes over it"
            ) from error
        except OSError as error:
            raise ResultFileError(f"cannot write {self.path}: {why(error)}") from error

    def begin(self) -> BinaryIO:
        """Open the place for a result that grows: what was flushed is there, whatever happens later.

        Raises:
            ResultFileError: it cannot be written.
        """
        try:
            return os.fdopen(self._open_to_grow(), "wb")
        except FileExistsError as error:
            raise ResultFileError(
                f"cannot write {self.path}: somebody has made it meanwhile; --force writes over it"
            ) from error
        except OSError as error:
            raise ResultFileError(f"cannot write {self.path}: {why(error)}") from error

    def save(self, content: bytes) -> Saved:
        """Write the result; where that fails, keep it in the temporary folder. Raises nothing of its own."""
        try:
            return Saved(self.write(content))
        except ResultFileError as error:
            trouble = str(error)
        try:
            descriptor, name = tempfile.mkstemp(self.path.suffix, "dtls-emu-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                _keep(file.fileno())
        except OSError as error:
            return Saved(None, f"{trouble}; nor can it be kept in the temporary folder: {why(error)}")
        return Saved(Path(name), f"{trouble}; it is kept in {name}")

    # ------------------------------------------------------------------------------------------- the trial

    def _try(self, *, make_folders: bool) -> None:
        self._descriptor = _own_descriptor(self.path)
        if self._descriptor is not None:
            self._is_regular = False
            if fcntl(self._descriptor, F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise ResultFileError(f"cannot write {self.path}: it is open for reading only")
            return
        found = _status(self.path)
        self._target = Path(os.path.realpath(self.path))
        if found is None:
            if make_folders:
                self._target.parent.mkdir(parents=True, exist_ok=True)
            _try_folder(self._target.parent)
        elif stat.S_ISREG(found.st_mode):
            self._try_regular(found)
        else:
            self._is_regular = False
            _try_special(self.path, found)

    def _try_regular(self, found: os.stat_result) -> None:
        if self._avoid_others:
            _try_folder(self._target.parent)
            return
        if not self._force:
            raise ResultFileError(f"{self.path} is there already; --force writes over it")
        os.close(os.open(self._target, os.O_WRONLY | os.O_CLOEXEC))
        self._old = found

    # ----------------------------------------------------------------------------------------- the writing

    def _write(self, content: bytes) -> Path:
        if self._descriptor is not None:
            _write_to(os.dup(self._descriptor), content)
            return self.path
        if not self._is_regular:
            _write_to(os.open(self.path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC), content)
            return self.path
        if self._old is not None and self._old.st_nlink > 1:  # other names are to see it as well
            return self._write_in_place(content)
        try:
            return self._replace(content)
        except OSError as error:
            if self._old is None or error.errno not in CANNOT_REPLACE:
                raise
            return self._write_in_place(content)

    def _open_to_grow(self) -> int:
        if self._descriptor is not None:
            return os.dup(self._descriptor)
        if not self._is_regular:
            return os.open(self.path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT
        if self._old is None and not self._force:
            return os.open(self._target, flags | os.O_EXCL, self._mode)
        descriptor = os.open(self._target, flags, self._mode)
        if self._old is not None:  # nobody may read on who could read what was there
            os.fchmod(descriptor, self._mode_to_keep(self._old))
        os.ftruncate(descriptor, 0)
        return descriptor

    def _replace(self, content: bytes) -> Path:
        """Write beside the target, then give it the target's name."""
        unfinished = self._target.with_name(f".dtls-emu-{secrets.token_hex(8)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(unfinished, flags, self._mode), "wb") as file:
                if self._old is not None:
                    own = os.fstat(file.fileno())
                    if (own.st_uid, own.st_gid) != (self._old.st_uid, self._old.st_gid):
                        os.fchown(file.fileno(), self._old.st_uid, self._old.st_gid)
                    os.fchmod(file.fileno(), self._mode_to_keep(self._old))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if self._force or self._old is not None:
                unfinished.replace(self._target)
                return self.path
            return self._link(unfinished)
        finally:
            with suppress(OSError):
                unfinished.unlink()

    def _mode_to_keep(self, old: os.stat_result) -> int:
        """Of the file that is replaced; what is secret is not for more people than that."""
        kept = stat.S_IMODE(old.st_mode)
        return kept & SECRET if self._mode == SECRET else kept

    def _link(self, unfinished: Path) -> Path:
        """Give the file its name, unless another has it: also one that has come since the trial."""
        number = 1
        while True:
            name = self._target.name if number == 1 else f"{self._target.stem}-{number}{self._target.suffix}"
            try:
                _name_new(unfinished, self._target.with_name(name))
            except FileExistsError:
                if not self._avoid_others:
                    raise
                number += 1
                continue
            return self.path if number == 1 else self.path.with_name(name)

    def _write_in_place(self, content: bytes) -> Path:
        descriptor = os.open(self._target, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        _write_to(descriptor, content)
        return self.path


def why(error: OSError) -> str:
    """The system's words for an error, without its number; never empty."""
    return error.strerror or str(error) or type(error).__name__


def _status(path: Path) -> os.stat_result | None:
    """Of what a path leads to; None when nothing is there."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _own_descriptor(path: Path) -> int | None:
    """The number of an open file of this process that a path means, if it means one.

    That is what ``/dev/stdout`` and ``/dev/fd/3`` do, and a file that a standard stream is redirected to: to replace
    that would lose what is printed.
    """
    own = f"/proc/{os.getpid()}/fd"
    for _ in range(MAX_LINKS):
        folder = os.path.realpath(path.parent)
        if folder == own and path.name.isdecimal():
            return int(path.name)
        here = Path(folder, path.name)
        if not here.is_symlink():
            return next((each for each in STANDARD_STREAMS if _is_open_as(each, here)), None)
        path = Path(folder, here.readlink())
    return None


def _is_open_as(descriptor: int, path: Path) -> bool:
    """Whether a stream is redirected to this very file."""
    try:
        found = path.stat()
        return stat.S_ISREG(found.st_mode) and os.path.samestat(os.fstat(descriptor), found)
    except OSError:
        return False


def _try_folder(folder: Path) -> None:
    """Make a file in a folder, and remove it."""
    if not folder.is_dir():
        raise ResultFileError(f"there is no folder {folder}; make it first")
    with tempfile.TemporaryFile(dir=folder, prefix=".dtls-emu-") as file:
        file.write(b"\n")


def _try_special(path: Path, found: os.stat_result) -> None:
    """What is no regular file: one that can be written to without harm."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISBLK, "a block device"), (stat.S_ISSOCK, "a socket"))
    for is_kind, name in kinds:
        if is_kind(found.st_mode):
            raise ResultFileError(f"cannot write {path}: it is {name}; name a file")
    if not os.access(path, os.W_OK):
        raise ResultFileError(f"cannot write {path}: {os.strerror(errno.EACCES)}")


def _name_new(unfinished: Path, target: Path) -> None:
    """Rename, unless something of that name is there."""
    try:
        target.hardlink_to(unfinished)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        unfinished.replace(target)


def _write_to(descriptor: int, content: bytes) -> None:
    """Write everything, and close."""
    try:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                select.select([], [descriptor], [])
        _keep(descriptor)
    finally:
        os.close(descriptor)


def _keep(descriptor: int) -> None:
    """Have the disk take what was written: only then a full one says so."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fsync(descriptor)
