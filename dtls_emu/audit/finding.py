"""One finding of an audit: traffic of one status between two ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from dtls_emu.audit.statuses import Kind


__all__ = ["Finding", "iso_time"]


@dataclass(slots=True)
class Finding:
    """Traffic of one status from one end to another.

    Fields:
        source, destination: addresses, or names of VMs where a template has them; who began is the source.
        kind, code: what became of it, and the status that says so.
        seen_by: whose log the counters are from: "source", "destination".
        services: protocols and ports of the destination, the busiest first.
        flows, denied: begun, and denied.
        packets, nbytes: both ways.
        first, last: milliseconds since 1970.
        promised: what the template says of it; "" without a template, or where it says nothing.
        is_unexpected: it is worse than promised.
    """

    source: str
    destination: str
    kind: Kind
    code: str
    seen_by: str
    services: list[str] = field(default_factory=list)
    flows: int = 0
    denied: int = 0
    packets: int = 0
    nbytes: int = 0
    first: int = 0
    last: int = 0
    promised: str = ""
    is_unexpected: bool = False

    def as_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "source": self.source,
            "destination": self.destination,
            "kind": str(self.kind),
            "status": self.code,
            "seen_by": self.seen_by,
            "services": self.services,
            "flows": self.flows,
            "denied": self.denied,
            "packets": self.packets,
            "bytes": self.nbytes,
            "first": iso_time(self.first),
            "last": iso_time(self.last),
            "promised": self.promised,
            "unexpected": self.is_unexpected,
        }


def iso_time(when: int) -> str:
    """Milliseconds since 1970 as ISO 8601."""
    moment = datetime.fromtimestamp(when // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{when % 1000:03d}Z"
