"""Compiled kernels as files: one for each function and signature, whole or not used.

Numba's own cache lets an exception through when a file is damaged, a disk is full or a folder is gone. Here a kernel
that cannot be loaded is compiled, and one that cannot be saved is compiled again by the next process. A file begins
with a digest of the rest: machine code with a wrong bit would be executed.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import pickle
import platform
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import llvmlite
import numba
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.ccallback import CFunc
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from dtls_emu.wire.kernel_cache import KERNEL_SUFFIX, choose_cache


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["compile_callback", "compile_kernel"]

Function = TypeVar("Function", bound="Callable[..., Any]")

logger = logging.getLogger(__name__)

CACHE: Final = choose_cache()

VERSIONS: Final = (numba.__version__, llvmlite.__version__, platform.python_version())

_OPTIONS: Final[dict[str, Any]] = {"nogil": True, "_nrt": False}
"""A mapping, because Numba's type hints do not know `_nrt`, which its documentation of extensions uses."""

_said: set[str] = set()


def compile_kernel(function: Function) -> Function:
    """``@njit``, GIL released, without Numba's run time, kept on disk; compiled at its first call."""
    dispatcher: Any = njit(**_OPTIONS)(function)
    if hasattr(dispatcher, "enable_caching"):  # else NUMBA_DISABLE_JIT has left it a function
        _keep(dispatcher, function)
    return dispatcher  # type: ignore[no-any-return]


def compile_callback(signature: Any, function: Callable[..., None]) -> Any:
    """``@cfunc``, kept on disk; compiled now. Its ``address`` is good as long as it lives."""
    types = normalize_signature(signature)  # type: ignore[no-untyped-call]
    callback: Any = CFunc(function, types, locals={}, options={})
    _keep(callback, function)
    callback.compile()
    return callback


def _keep(compiled: Any, function: Callable[..., Any]) -> None:
    """What Numba's ``enable_caching`` does, with files of our own."""
    if CACHE.folder is not None:
        compiled._cache = _Files(function)  # noqa: SLF001  # it can be given no other way


def _say_once(what: str, message: str) -> None:
    """On stderr, unless the program has its own way; a process that another has started for its work is silent."""
    if what not in _said and multiprocessing.parent_process() is None:
        _said.add(what)
        logger.warning(message)


class _Locator(UserProvidedCacheLocator):
    """Numba's, without its trial of the folder for each function: it is tried once."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: Any) -> _Locator:
        return cls(py_func, py_file)

    def ensure_cache_path(self) -> None:
        pass


class _Results(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012  # as Numba declares it


class _Files(FunctionCache):
    """What a dispatcher asks for a compiled function, and hands one to."""

    _impl_class = _Results

    def __init__(self, function: Any) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        self._cache_file: Any = _Folder(Path(self._cache_path).name, self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # whatever a damaged file makes of it
            _say_once(
                "load", f"a compiled kernel in {CACHE.folder} cannot be used and is compiled anew: {error}"
            )
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if not CACHE.is_writable:
            return
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError as error:
            _say_once(
                "save",
                f"compiled kernels cannot be kept in {CACHE.folder}: {error.strerror}; they are compiled anew at "
                "every start",
            )


class _Folder:
    """The files of one function."""

    def __init__(self, folder: str, name: str) -> None:
        assert CACHE.folder is not None
        self._folder = CACHE.folder / folder
        self._name = name

    def load(self, key: Any) -> Any:
        """What was saved under a key; None: nothing was.

        Raises:
            ValueError: the file is damaged.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        size = hashlib.sha256().digest_size
        if hashlib.sha256(content[size:]).digest() != content[:size]:
            raise ValueError(f"{path.name} is damaged")
        known, data = pickle.loads(content[size:])  # noqa: S301  # see `_refuse_foreign`
        return data if known == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write it under a key; the file is there whole or not at all."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(key)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        content = dumps((key, data))  # type: ignore[no-untyped-call]
        try:
            unfinished.write_bytes(hashlib.sha256(content).digest() + content)
            unfinished.replace(path)
        finally:
            with suppress(OSError):
                unfinished.unlink()

    def flush(self) -> None:
        """Forget what is saved: part of Numba's interface."""
        for path in self._folder.glob(f"{self._name}-*{KERNEL_SUFFIX}"):
            path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr((key, VERSIONS, os.environ.get("NUMBA_BOUNDSCHECK"))).encode())
        return self._folder / f"{self._name}-{digest.hexdigest()[:16]}{KERNEL_SUFFIX}"


if CACHE.trouble:
    _say_once(
        "place",
        f"compiled kernels cannot be kept in their usual place ({CACHE.trouble}); "
        + (f"they are in {CACHE.folder}" if CACHE.folder else "they are compiled anew at every start"),
    )
