"""Delays of very many packets in little memory: a log-linear histogram, as HdrHistogram is one.

A bucket is at most 1/128 of the delay wide, so a percentile is right to 0.8 %, from a nanosecond to hours. Histograms of
several trials are added up; percentiles are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np


if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


__all__ = ["PRECISION", "Delays"]

SUB_BITS: Final = 7
PRECISION: Final = 2.0**-SUB_BITS
"""Width of a bucket, as a share of the delay."""

BUCKETS: Final = 48 << SUB_BITS
"""Up to 2^54 ns, which is half a year; and float64 is exact up to 2^53."""

LONGEST: Final = (1 << 53) - 1


@dataclass(slots=True)
class Delays:
    """A histogram.

    Fields:
        counts: by bucket, shape ``(BUCKETS,)``.
        least, most: the shortest and the longest delay, in ns; 0 when there is none.
        early: packets that arrived before they were due, which a clock of one machine does not allow.
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    least: int = 0
    most: int = 0
    early: int = 0

    @property
    def count(self) -> int:
        """How many delays there are."""
        return int(self.counts.sum())

    def add(self, delays_ns: NDArray[np.int64]) -> None:
        """Take in delays, in ns. Negative ones are counted as early, and as 0."""
        if not len(delays_ns):
            return
        self.early += int((delays_ns < 0).sum())
        values = np.clip(delays_ns, 0, LONGEST)
        low, high = int(values.min()), int(values.max())
        self.least = low if not self.most and not self.least else min(self.least, low)
        self.most = max(self.most, high)
        np.add.at(self.counts, _bucket(values), 1)

    def merge(self, other: Delays) -> None:
        """Take in another histogram."""
        if other.count:
            self.least = min(self.least, other.least) if self.count else other.least
            self.most = max(self.most, other.most)
            self.counts += other.counts
        self.early += other.early

    def percentile(self, share: float) -> float:
        """The delay, in ns, that the given share (0 to 1) of the packets did not exceed: the middle of its bucket.

        Raises:
            ValueError: there are no delays.
        """
        total = self.count
        if not total:
            raise ValueError("there are no delays")
        rank = max(1, int(np.ceil(share * total)))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        low, width = _edge(bucket)
        return float(min(max(low + (width - 1) / 2, self.least), self.most))

    def sparse(self) -> dict[int, int]:
        """Buckets that are not empty, by their lower edge in ns."""
        return {_edge(int(bucket))[0]: int(self.counts[bucket]) for bucket in np.flatnonzero(self.counts)}

    @classmethod
    def of(cls, several: Iterable[Delays]) -> Delays:
        """All of them together."""
        total = cls()
        for each in several:
            total.merge(each)
        return total


def _bucket(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Below 256 ns a bucket a nanosecond; above, 128 buckets for each doubling."""
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    shift = np.maximum(bits - SUB_BITS - 1, 0)
    found: NDArray[np.int64] = (shift << SUB_BITS) + (values >> shift)
    return found


def _edge(bucket: int) -> tuple[int, int]:
    """Lower edge and width of a bucket, in ns."""
    shift = max((bucket >> SUB_BITS) - 1, 0)
    return (bucket - (shift << SUB_BITS)) << shift, 1 << shift
