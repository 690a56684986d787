"""What the system says of a file, as an error that says why a run cannot be made, changed or ended."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import RunError


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["explained", "refusal"]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system says while files are written or removed into an error that names the file.

    Args:
        path: named where the system names none.

    Raises:
        RunError: with the file, the reason, and what to do where that is known.
    """
    try:
        yield
    except OSError as error:
        raise refusal(error, path) from error


def refusal(error: OSError, path: Path) -> RunError:
    """What the system says of a file, with the file that it names, else ``path``."""
    return RunError(f"{error.filename or path}: {error.strerror or error}{_HINTS.get(error.errno or 0, '')}")


_HINTS: Final = {
    errno.ENOSPC: "; make room on its file system",
    errno.EDQUOT: "; make room on its file system",
    errno.EACCES: "; it needs root",
    errno.EPERM: "; it needs root",
}
