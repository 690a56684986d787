"""The section of the suite `latency`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.plan import BenchPath
from dtls_emu.measure.records.base import Count, Record, Seconds, Section, Share, TrialRecord
from dtls_emu.measure.statistics import Estimate, Verdict


__all__ = ["LatencyCell", "LatencySection", "LatencyTrial"]


class LatencyTrial(Record):
    """One trial, and the delays of its packets, in ns from when each was due."""

    load: Share = Field(description="Of the arm's own highest rate; 0: single packets, far apart.")
    trial: TrialRecord
    packets: Count
    least: Count
    median: Seconds
    p99: Seconds
    p999: Seconds
    most: Count


class LatencyCell(Record):
    """What the trials of one path, size, arm and load say; ns from when a packet was due to its delivery."""

    path: BenchPath
    size: int
    arm: str
    load: Share
    rate: Seconds = Field(description="Packets a second that were due.")
    packets: Count = Field(description="Timed, all trials together.")
    lost_share: Share
    median: Estimate
    p99: Estimate
    p999: Seconds = Field(description="99.9th percentile of all packets together.")
    variation: Seconds = Field(
        description="Packet delay variation: that less the shortest delay (RFC 8219 7.3.1)."
    )
    ratio: Estimate | None = Field(description="Median over that of plain at the same load, pair by pair.")
    verdict: Verdict | None
    histogram: dict[int, Count] = Field(
        description="Packets by the lower edge of their bucket, ns; a bucket is 1/128 of the delay wide at most."
    )


class LatencySection(Section):
    """How long packets take, at loads that a schedule sets."""

    suite: Literal["latency"] = "latency"
    highest: dict[str, float] = Field(
        description="Packets a second of each path, size and arm that loads are shares of."
    )
    trials: list[LatencyTrial]
    cells: list[LatencyCell]
