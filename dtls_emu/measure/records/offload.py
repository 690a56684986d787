"""The section of the suite `offload`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.records.base import Count, Record, Seconds, Section
from dtls_emu.measure.statistics import Estimate  # pydantic reads it


__all__ = ["OffloadRow", "OffloadSection"]


class OffloadRow(Record):
    """Who does the work of a sending host, and what that takes. CPU time is that of a core of this machine."""

    arm: str
    modelled: bool = Field(
        description="From published figures, with their source: nothing of the card was measured."
    )
    host_ns: Estimate | None = Field(description="CPU nanoseconds of the host for a packet; null: not known.")
    card_ns: Estimate | None = Field(
        description="CPU nanoseconds of the card for a packet; null: there is no card, or it is hardware."
    )
    gbit_per_s: Seconds | None = Field(
        description="What the busier of both carries on one core; of a modelled card, as published."
    )
    ping_us: tuple[float, float, float] | None = Field(
        description="Mean, 99th and 99.9th percentile of a ping between two VMs, as published; null: not measured here."
    )
    source: str = Field(description="Where it comes from.")


class OffloadSection(Section):
    """The vendor's claim as a table: does encryption on a card leave the host what it had?"""

    suite: Literal["offload"] = "offload"
    backend: str
    size: Count = Field(description="Inner IP packet size, bytes.")
    burst: Count = Field(description="Packets that the host hands over at once.")
    rows: list[OffloadRow]
    host_ratio: Estimate = Field(
        description="Host's CPU for a packet with encryption on a card over that without encryption and without a card, "
        "round by round."
    )
    own_ratio: Estimate = Field(description="The same with encryption on the host's own thread.")
