"""The section of the suite `handshake`."""

from typing import Literal

from pydantic import Field

from dtls_emu.measure.records.base import Count, Record, Seconds, Section
from dtls_emu.measure.statistics import Estimate


__all__ = ["HandshakeSection", "HandshakeTrial"]


class HandshakeTrial(Record):
    """CPU seconds of one handshake, both ends together: the mean of a batch of ours, and of pyOpenSSL alone."""

    round: Count
    ours_first: bool
    cpu_s: Seconds
    bare_cpu_s: Seconds
    bare_again_cpu_s: Seconds


class HandshakeSection(Section):
    """What new associations cost. CPU time is that of both ends together."""

    suite: Literal["handshake"] = "handshake"
    backend: str
    trials: list[HandshakeTrial]
    handshakes: Count = Field(description="How many were measured.")
    cpu_ms: Seconds = Field(description="CPU milliseconds of one, median.")
    per_second: Seconds = Field(description="On one core, both ends on it.")
    bare_cpu_ms: Seconds = Field(
        description="Of pyOpenSSL alone: the same contexts, cookie exchange, traffic keys derived."
    )
    ratio: Estimate = Field(description="Cost over that of pyOpenSSL alone, pair by pair.")
    noise: Estimate = Field(description="pyOpenSSL alone over itself, pair by pair.")
    idle_tunnel_bytes: Count | None = Field(
        description="Memory of one end of an idle tunnel; null when it could not be measured."
    )
