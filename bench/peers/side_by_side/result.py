"""The result file: ``start`` says what was measured and on what, ``intervals`` every trial, ``end`` what follows.

Laid out as the package's own benchmark results are (:mod:`dtls_emu.measure.result`). Version 1.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dtls_emu.measure.statistics import Estimate, median_estimate, median_ratio
from side_by_side.metrics import FIGURES
from side_by_side.plan import Plan


__all__ = ["End", "FigureSummary", "Interval", "PeerState", "Result", "Start", "summarise"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PeerState(_Record):
    """A peer as this run found it."""

    name: str
    version: str | None
    cipher: str | None = Field(description="As the running peer reported it; null: it did not run.")
    missing: str = Field(description="Why it was not measured; empty when it was.")
    degraded: str = Field(description="Why it is not what should be compared; empty when it is.")
    gave_up: str = Field(description="Why it was left out from some point on; empty when it was not.")


class Start(_Record):
    """What was about to be measured, and on what."""

    started: datetime
    plan: Plan
    reference: str = Field(description="The peer whose figures are divided by the others'.")
    inside_mtu: int
    tun_queue: int = Field(description="Packets that a peer's TUN device holds.")
    iperf3: str
    load_average: float
    environment: dict[str, Any] = Field(description="Versions, CPU and kernel.")


class Interval(_Record):
    """One measurement of one metric of one arm."""

    round: int
    metric: str
    arm: str = Field(description="A peer's name; the reference has a second arm, `again`.")
    figures: dict[str, float]
    error: str = ""


class FigureSummary(_Record):
    """What all rounds say of one figure of one arm."""

    arm: str
    metric: str
    key: str
    rounds: int
    median: Estimate
    ratio: Estimate | None = Field(description="The reference over this arm, round by round; null: no pairs.")


class End(_Record):
    """What was concluded."""

    finished: datetime
    stopped: Literal["complete", "interrupted"]
    load_average: float
    peers: list[PeerState]
    summary: list[FigureSummary]


class Result(_Record):
    """A comparison's result file."""

    format: Literal[2] = 2
    start: Start
    intervals: list[Interval]
    end: End

    def encode(self) -> bytes:
        """The file's content: JSON, in UTF-8 whatever the locale."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def now() -> datetime:
    """The time, as result files have it."""
    return datetime.now(UTC)


def summarise(intervals: list[Interval], reference: str) -> list[FigureSummary]:
    """The medians of all arms, and the reference's ratio to each of the others.

    A ratio is taken of values of the same round; a round in which either is missing does not count.
    """
    found = []
    for arm in dict.fromkeys(interval.arm for interval in intervals):
        for figure in FIGURES:
            values = _by_round(intervals, arm, figure.metric, figure.key)
            if not values:
                continue
            theirs = {} if arm == reference else _by_round(intervals, reference, figure.metric, figure.key)
            # CPU time comes in ticks: a short trial may have none, and has no ratio then.
            pairs = [(theirs[number], value) for number, value in values.items() if number in theirs]
            pairs = [pair for pair in pairs if min(pair) > 0]
            found.append(
                FigureSummary(
                    arm=arm,
                    metric=figure.metric,
                    key=figure.key,
                    rounds=len(values),
                    median=median_estimate(list(values.values())),
                    ratio=median_ratio(*zip(*pairs, strict=True)) if pairs else None,
                )
            )
    return found


def _by_round(intervals: list[Interval], arm: str, metric: str, key: str) -> dict[int, float]:
    return {
        interval.round: interval.figures[key]
        for interval in intervals
        if (interval.arm, interval.metric) == (arm, metric) and key in interval.figures
    }
