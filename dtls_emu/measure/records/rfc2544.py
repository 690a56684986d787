"""The sections of the suites `zero-loss`, `loss` and `back-to-back`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.plan import BenchPath
from dtls_emu.measure.records.base import Count, Record, Seconds, Section, Share, TrialRecord
from dtls_emu.measure.statistics import Estimate


__all__ = [
    "BackToBackCell",
    "BackToBackSection",
    "LossSection",
    "LossStep",
    "RateFound",
    "ZeroLossCell",
    "ZeroLossSection",
]


class RateFound(Record):
    """What one search has found, in packets a second."""

    round: Count
    goal: Share = Field(description="Loss ratio that was allowed.")
    rate: Seconds = Field(description="The highest that passed; 0: none did.")
    failed: float | None = Field(
        description="The lowest that failed; null: the highest that was tried passed."
    )
    trials: list[tuple[float, float]] = Field(description="Rate and loss ratio of each trial.")


class ZeroLossCell(Record):
    """Of one path, size, arm and goal."""

    path: BenchPath
    size: int
    arm: str
    goal: Share
    packets_per_s: Estimate
    gbit_per_s: Seconds = Field(description="Of inner packets, at that rate.")
    ratio: Estimate | None = Field(description="Over plain, search by search; null for plain.")
    searches: list[RateFound]


class ZeroLossSection(Section):
    """The highest offered rate of which nothing, or hardly anything, is lost."""

    suite: Literal["zero-loss"] = "zero-loss"
    cells: list[ZeroLossCell]


class LossStep(Record):
    """Loss at one offered rate."""

    path: BenchPath
    size: int
    arm: str
    share: Seconds = Field(description="Of plain's highest rate.")
    rate: Seconds = Field(description="Packets a second that were due.")
    lost: Estimate = Field(description="Share of them that did not arrive, the median over rounds.")


class LossSection(Section):
    """How much is lost of each offered rate."""

    suite: Literal["loss"] = "loss"
    trials: list[TrialRecord]
    steps: list[LossStep]


class BackToBackCell(Record):
    """Of one path, size and arm."""

    path: BenchPath
    size: int
    arm: str
    packets: Estimate = Field(
        description="The longest row of packets, as fast as they go, of which none is lost."
    )
    lengths: list[Count] = Field(description="Of each search.")
    at_most: bool = Field(description="The longest that was tried passed, so there may be more.")


class BackToBackSection(Section):
    """How long a row of packets without a gap is carried whole."""

    suite: Literal["back-to-back"] = "back-to-back"
    cells: list[BackToBackCell]
