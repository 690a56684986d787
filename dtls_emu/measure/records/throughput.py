"""The section of the suite `throughput`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.plan import BenchPath
from dtls_emu.measure.records.base import Count, Record, Seconds, Section, Share, TrialRecord
from dtls_emu.measure.statistics import Estimate, Verdict


__all__ = ["ThroughputCell", "ThroughputSection"]


class ThroughputCell(Record):
    """What the trials of one path, size and arm say. Figures without an interval are medians over the trials."""

    path: BenchPath
    size: int
    arm: str
    trials: Count
    us_per_packet: Seconds = Field(description="Elapsed, not CPU, microseconds per delivered packet.")
    gbit_per_s: Seconds = Field(description="Of inner packets.")
    packets_per_s: Seconds
    cpu_ns_per_packet: Seconds = Field(description="CPU nanoseconds of both ends for each delivered packet.")
    sender_cpu_s_per_gb: Seconds = Field(description="CPU seconds per 10^9 inner bytes.")
    receiver_cpu_s_per_gb: Seconds
    lost_share: Share = Field(
        description="Packets that did not arrive over offered ones, all trials together."
    )
    variation: Seconds = Field(description="Coefficient of variation of the packet rate over the trials.")
    ratio: Estimate | None = Field(
        description="Packet rate over that of plain, pair by pair; null for plain."
    )
    verdict: Verdict | None = Field(description="On that ratio, corrected for the number of cells.")
    cpu_ratio: Estimate | None = Field(description="CPU time a packet over that of plain, pair by pair.")
    cpu_verdict: Verdict | None
    noise_floor: Seconds | None = Field(
        description="A ratio no farther from 1 than this is noise, by plain against plain; null: not known."
    )
    cpu_noise_floor: Seconds | None
    spoilt: Count = Field(description="Trials that something else on the machine disturbed.")


class ThroughputSection(Section):
    """How fast packets are carried when the sender never waits for a schedule."""

    suite: Literal["throughput"] = "throughput"
    trials: list[TrialRecord]
    cells: list[ThroughputCell]
