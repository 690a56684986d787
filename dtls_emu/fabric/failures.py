"""System calls that failed, counted by their error where they are made: in kernels."""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from dtls_emu.wire.memory import kernel


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray


__all__ = ["FAILURES", "count_failure", "drops_by_reason", "errors_by_name"]

ERRORS: Final = 256
"""Linux has about 133 numbers of errors."""

ITEMS: Final = 0
CALLS: Final = 1

FAILURES: Final = np.dtype((np.int64, (ERRORS, 2)))
"""By error number: packets, or datagrams, that were dropped with it, and calls that gave it."""

Reason = TypeVar("Reason")


@kernel
def count_failure(failures: NDArray[np.int64], error: int, items: int) -> None:
    """A call has given an error, and so many packets of it are dropped."""
    failures[error % ERRORS, ITEMS] += items
    failures[error % ERRORS, CALLS] += 1


def errors_by_name(tables: Iterable[NDArray[np.int64]]) -> dict[str, int]:
    """Calls that failed, by the name of the error."""
    calls: Counter[str] = Counter()
    for error, _, count in _entries(tables):
        calls[errno.errorcode.get(error, "unknown")] += count
    return dict(calls)


def drops_by_reason(failures: NDArray[np.int64], reason_of: Callable[[int], Reason]) -> dict[Reason, int]:
    """What was dropped, by the reason that an error number stands for."""
    drops: Counter[Reason] = Counter()
    for error, items, _ in _entries([failures]):
        if items:
            drops[reason_of(error)] += items
    return dict(drops)


def _entries(tables: Iterable[NDArray[np.int64]]) -> Iterable[tuple[int, Any, Any]]:
    for table in tables:
        for error in np.flatnonzero(table.any(axis=1)).tolist():
            yield error, *table[error].tolist()
