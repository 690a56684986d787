"""The highest rate that is carried with no more loss than a goal, by trials at chosen rates (RFC 2544 26.1).

Binary search on a logarithmic scale. The interface is narrow so that another method can take its place: MLRsearch
(RFC 9971) needs the same measurement, and no more of the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["NO_LOSS", "PARTIAL_LOSS", "WIDTH", "Found", "search"]

NO_LOSS: Final = 0.0
PARTIAL_LOSS: Final = 0.005
"""Goals: none (RFC 2544), and what FD.io CSIT takes for its partial drop rate."""

WIDTH: Final = 0.05
"""The search ends when the rates that passed and failed are this close, as a share."""

MOST_TRIALS: Final = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has found.

    Fields:
        rate: the highest that passed; 0 when none did.
        failed: the lowest that failed above it; None when the highest rate asked for passed.
        trials: rate and loss ratio of each trial, in their order.
    """

    rate: float
    failed: float | None
    trials: list[tuple[float, float]]


def search(
    loss_at: Callable[[float], float],
    highest: float,
    goal: float = NO_LOSS,
    *,
    width: float = WIDTH,
    trials: int = MOST_TRIALS,
) -> Found:
    """Find it.

    Args:
        loss_at: makes a trial at a rate, and tells the loss ratio: what did not arrive of what was due.
        highest: rate to begin with; more is never tried.
        goal: loss ratio that is allowed.
        width: see :data:`WIDTH`.
        trials: at most so many.
    """
    passed, failed = 0.0, None
    seen: list[tuple[float, float]] = []
    rate = highest
    for _ in range(trials):
        loss = loss_at(rate)
        seen.append((rate, loss))
        if loss <= goal:
            passed = max(passed, rate)
        else:
            failed = rate if failed is None else min(failed, rate)
        if failed is None or (passed and failed / passed - 1 <= width):
            break
        rate = math.sqrt(passed * failed) if passed else failed / 2
    return Found(passed, failed, seen)
