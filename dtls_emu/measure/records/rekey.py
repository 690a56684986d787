"""The section of the suite `rekey`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.records.base import Count, Record, Seconds, Section
from dtls_emu.measure.statistics import Estimate


__all__ = ["RekeySection", "RekeyTrial"]


class RekeyTrial(Record):
    """Two runs of one length beside each other: with one key, and with a key that is renewed in the middle."""

    round: Count
    packets_per_s: Seconds
    renewed_packets_per_s: Seconds
    again_packets_per_s: Seconds = Field(
        description="With one key once more: what the machine does by itself."
    )
    longest_gap_us: Seconds = Field(description="Longest time between two bursts that were delivered.")
    renewed_longest_gap_us: Seconds
    handshakes: Count = Field(description="Associations that came up in the renewed run.")


class RekeySection(Section):
    """What a new key costs those packets that are on their way meanwhile."""

    suite: Literal["rekey"] = "rekey"
    backend: str
    size: int
    trials: list[RekeyTrial]
    dip: Estimate = Field(description="Packet rate with a renewal over that without, pair by pair.")
    noise: Estimate = Field(description="Without over without.")
    gap_us: Estimate = Field(description="Longest gap between bursts without a renewal, microseconds.")
    renewed_gap_us: Estimate
    lost: Count = Field(description="Packets that were lost.")
