"""Where compiled kernels are kept between runs: one folder for each state of the package's sources.

Numba judges a cached kernel by its own file only. A kernel that inlines another, from another file, would stay
as it was when that one changes; after an upgrade of the package it would be wrong, silently. So the folder's
name is a digest of every source a kernel can come from, and a changed package finds an empty one.

What is kept is executed when it is loaded, so a folder that somebody else may have written to is not used. Where the
user's cache cannot be used, a folder of its own below the temporary one is, which later processes find again; where
that cannot be used either, nothing is kept. None of it ends a command.

A folder has a marker with the package it is of. Whoever uses the folder holds a lock on it, so that what an older state
of the package has left can be removed when a newer one makes its own, and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import re
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final


__all__ = ["KERNEL_SUFFIX", "KernelCache", "choose_cache", "has_kernel", "kernel_cache", "kernel_sources"]

_HAS_KERNELS: Final = b"\n@kernel", b"compile_callback(", b" intrinsic(", b"ExternalFunction("
"""In a source: it has kernels, or what is compiled into some."""

_IMPORT: Final = re.compile(rb"^from (dtls_emu[\w.]*) import ([^(\n]*|\([^)]*\))", re.MULTILINE)
"""At the top level: what only type checkers import is further inside."""

KERNEL_SUFFIX: Final = ".kernel"

TRIAL_BYTES: Final = 64 << 10
"""Written to tell whether there is room: about what a kernel takes."""

MARKER: Final = "dtls-emu-kernels"
MARKER_FORMAT: Final = "compiled kernels of dtls-emu, version 1; may be deleted\n"
MAX_MARKER: Final = 4 * 4096
"""Bytes of a marker: a line, and a path."""

UNUSED_FOR: Final = 30 * 24 * 3600.0
"""Seconds after which the folder of another package, elsewhere on this machine, is no longer wanted."""

MAX_LOOKED_AT: Final = 64
"""Folders that are looked at when old ones are removed."""

TEMPORARY: Final = "dtls-emu-kernels-"


@dataclass(frozen=True, slots=True)
class KernelCache:
    """Where compiled kernels are kept.

    Fields:
        folder: of this state of the sources; None: nowhere.
        is_writable: new ones can be added.
        trouble: why it is not the usual place; empty when it is.
    """

    folder: Path | None
    is_writable: bool
    trouble: str = ""


class _UnusableError(Exception):
    """A folder cannot be used. The message is the reason."""


def kernel_cache() -> Path:
    """The usual folder for this state of the sources, below the user's cache folder (XDG base directories).

    Raises:
        RuntimeError: the user has no home.
    """
    return _cache_home() / "dtls-emu" / "kernels" / _digest()


def choose_cache(*, make: bool = True) -> KernelCache:
    """Find the folder that kernels are kept in.

    Args:
        make: make it, hold a lock on it while this process lives, and remove what older states of the package have left.
            False: only look; what would have to be made has no folder.
    """
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = Path(chosen).absolute() / "dtls-emu" / _digest() if chosen else kernel_cache()
        return KernelCache(folder, is_writable=_use(folder, make=make, is_named=bool(chosen)))
    except (_UnusableError, RuntimeError) as error:
        trouble = f"NUMBA_CACHE_DIR: {error}" if chosen else str(error)
    try:
        parent = _temporary_folder(make=make)
        folder = parent / _digest()
        _use(folder, make=make, is_named=False)
    except (_UnusableError, OSError) as error:
        return KernelCache(None, is_writable=False, trouble=f"{trouble}; {error}")
    return KernelCache(folder, is_writable=True, trouble=trouble)


def has_kernel(name: str) -> bool:
    """Whether a function is compiled already for this state of the sources.

    Args:
        name: as Numba names it: the last part of its module, and the function, with a dot between.
    """
    folder = choose_cache(make=False).folder
    return folder is not None and any(folder.glob(f"*/{name}-*{KERNEL_SUFFIX}"))


def kernel_sources() -> list[Path]:
    """Every source that compiled code depends on: those with kernels, and whatever these import, a constant included."""
    package = _package()
    texts = {path: path.read_bytes() for path in package.rglob("*.py")}
    wanted = [path for path, text in texts.items() if any(word in text for word in _HAS_KERNELS)]
    found = set(wanted)
    while wanted:
        for module, names in _IMPORT.findall(texts[wanted.pop()]):
            place = package.joinpath(*os.fsdecode(module).split(".")[1:])
            inside = [place / f"{os.fsdecode(name)}.py" for name in re.findall(rb"\w+", names)]
            for each in (place.with_suffix(".py"), place / "__init__.py", *inside):
                if each in texts and each not in found:
                    found.add(each)
                    wanted.append(each)
    return sorted(found)


def _digest() -> str:
    package = _package()
    digest = hashlib.sha256(os.fsencode(package))
    for source in kernel_sources():
        state = source.stat()
        digest.update(f"{source.relative_to(package)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _package() -> Path:
    return Path(__file__).parent.parent


def _cache_home() -> Path:
    """As the XDG base directory specification has it: a relative path is ignored."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if chosen.is_absolute():
        return chosen
    home = os.environ.get("HOME")
    if home is None:
        with suppress(KeyError):  # no such user
            home = pwd.getpwuid(os.getuid()).pw_dir
    if not home or not Path(home).is_absolute():
        raise RuntimeError("there is no home folder: HOME is not set, or not to a folder")
    return Path(home) / ".cache"


# ----------------------------------------------------------------------------------------------- one folder


def _use(folder: Path, *, make: bool, is_named: bool) -> bool:
    """Take a folder into use. Whether it can be written to; it may hold what is needed without.

    Raises:
        _UnusableError: it cannot be used.
    """
    try:
        if not is_named:  # the user's word is taken for what he has named
            _refuse_foreign(folder)
        _try(folder, make=make)
    except OSError as error:
        if any(folder.glob(f"*/*{KERNEL_SUFFIX}")):
            return False
        raise _UnusableError(f"{folder}: {error.strerror}") from error
    if make:
        is_new = not (folder / MARKER).exists()
        with suppress(OSError):
            _hold(folder)
            if is_new:
                _remove_old(folder)
    return True


def _try(folder: Path, *, make: bool) -> None:
    """Write something to a folder, or to the nearest one above it that exists."""
    if make:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(TRIAL_BYTES))


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that another user could write to, or exchange.

    Trusted are the user, root, and who owns ``/`` (root, as a user namespace shows it). A container whose user is
    chosen when it starts shares the cache of its image through a group; root takes nothing from a group.

    Raises:
        _UnusableError: it is one.
    """
    user = os.geteuid()
    trusted = {0, user, Path("/").stat().st_uid}
    here = folder.absolute()
    for each in (here, *here.parents):
        try:
            found = each.stat()
        except FileNotFoundError:
            continue
        through_group = user != 0 and found.st_gid in {os.getegid(), *os.getgroups()}
        if found.st_uid not in trusted and not (through_group and found.st_mode & stat.S_IWGRP):
            raise _UnusableError(f"{each} belongs to another user")
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise _UnusableError(f"anybody may write to {each}")


def _temporary_folder(*, make: bool) -> Path:
    """A folder below the temporary one whose name nobody can tell beforehand; the one that is there, if it is ours."""
    base = Path(tempfile.gettempdir())
    with os.scandir(base) as entries:
        for entry in entries:
            if not entry.name.startswith(TEMPORARY) or not entry.is_dir(follow_symlinks=False):
                continue
            found = entry.stat(follow_symlinks=False)
            if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU:
                return Path(entry.path)
    return Path(tempfile.mkdtemp(prefix=TEMPORARY)) if make else base / f"{TEMPORARY}..."


# ---------------------------------------------------------------------------------------------- old folders

_held: list[int] = []
"""Open markers of the folders in use, each with a shared lock."""


def _hold(folder: Path) -> None:
    """Mark a folder as ours and as used now, and hold a shared lock on its marker while this process lives."""
    path = folder / MARKER
    if not path.exists():
        unfinished = folder / f".{MARKER}-{os.getpid()}"
        unfinished.write_bytes(MARKER_FORMAT.encode() + os.fsencode(_package()))
        unfinished.replace(path)
    marker = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    _held.append(marker)
    os.utime(path)
    fcntl.flock(marker, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _remove_old(folder: Path) -> None:
    """Remove what is beside a new folder, is marked, used by nobody, and of an older state of a package."""
    for number, each in enumerate(sorted(folder.parent.iterdir())):
        if number >= MAX_LOOKED_AT:
            return
        if each != folder:
            with suppress(OSError):
                _remove_if_old(each)


def _remove_if_old(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    marker = os.open(folder / MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(marker)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return
        text = os.read(marker, MAX_MARKER)
        if not text.startswith(MARKER_FORMAT.encode()):
            return
        package = Path(os.fsdecode(text[len(MARKER_FORMAT) :]))
        is_wanted = package != _package() and package.is_dir() and time.time() - found.st_mtime < UNUSED_FOR
        if not is_wanted:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not while somebody uses it
            shutil.rmtree(folder)
    finally:
        os.close(marker)
