"""The section of the suite `scale`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dtls_emu.measure.records.base import Count, Record, Seconds, Section
from dtls_emu.measure.statistics import Estimate  # noqa: TC001  # pydantic reads it


__all__ = ["FlowPoint", "Need", "ScaleSection", "TunnelPoint"]


class TunnelPoint(Record):
    """So many tunnels of one card, used in turn."""

    arm: str
    tunnels: Count = Field(description="In clear: peers.")
    hub_ns: Estimate = Field(description="CPU nanoseconds of the card for a packet, either direction.")
    kept: Estimate = Field(description="Throughput of the card over that with one tunnel, round by round.")
    delay_us: Estimate = Field(
        description="CPU microseconds of both cards for one packet, median of a round."
    )
    delay_99_us: Estimate = Field(description="The same, 99th percentile of a round.")
    misses: Count = Field(description="Flows that were not found in the card's table while it was measured.")


class FlowPoint(Record):
    """So many flows of one tunnel, used in turn."""

    flows: Count
    hub_ns: Estimate
    kept: Estimate = Field(description="Throughput of the card over that with one flow, round by round.")
    delay_us: Estimate
    delay_99_us: Estimate
    misses: Count


class Need(Record):
    """What a cloud of a stated size would need."""

    what: str
    value: Seconds
    low: float | None = Field(description="End of the interval that the model gives; null: it has none.")
    high: float | None
    unit: str
    extrapolated: bool = Field(description="It lies beyond what was measured.")
    basis: str = Field(description="What it is computed from.")


class ScaleSection(Section):
    """How a card does with many tunnels and many flows, and what a large cloud would need."""

    suite: Literal["scale"] = "scale"
    backend: str
    tunnels: list[TunnelPoint]
    flows: list[FlowPoint]
    table_flows: Count = Field(description="In the card's table while flows were used.")
    set_up_ms: Estimate = Field(
        description="CPU milliseconds of both ends for a tunnel, first packet included."
    )
    tunnel_bytes: Count | None = Field(
        description="Memory of one end of an idle tunnel; null when it could not be measured."
    )
    new_flow_us: Estimate = Field(
        description="CPU microseconds of the sending card for the first packet of a flow."
    )
    flow_bytes: float = Field(description="Memory of a flow on one card, in bytes.")
    compile_s: Estimate = Field(description="CPU seconds to compile the cloud's topology.")
    hosts: Count = Field(description="Of the cloud that `needs` is about.")
    needs: list[Need]
