"""What each status of a flow log means for whoever asks whether traffic was encrypted, and what can be done about it.

Definitions are those of "Virtual network flow logs", Flow encryption; the rows that give a status are those of the
decision table (:mod:`dtls_emu.policy.table`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dtls_emu.policy import rows
from dtls_emu.vocabulary import FlowEncryption, Verdict


__all__ = ["BY_CODE", "KINDS", "Kind", "Status", "kind_of", "rows_of", "service_name"]


class Kind(StrEnum):
    """What became of traffic, as an audit counts it; in the order in which it is told."""

    CLEAR = "clear"
    DROPPED = "dropped"
    UNKNOWN = "unknown"
    ENCRYPTED = "encrypted"
    LOCAL = "local"
    PUBLIC = "public"
    DENIED = "denied"


KINDS: Final = {
    Kind.CLEAR: "In clear between private addresses",
    Kind.DROPPED: "Dropped because of encryption",
    Kind.UNKNOWN: "With a status that this version does not know",
    Kind.ENCRYPTED: "Encrypted",
    Kind.LOCAL: "In clear by design: both VMs on one host",
    Kind.PUBLIC: "In clear by design: an end is a public address",
    Kind.DENIED: "Denied by a security rule",
}


@dataclass(frozen=True, slots=True)
class Status:
    """One status.

    Fields:
        short: in a few words.
        meaning: in a sentence.
        remedy: what to do; "" where nothing needs to be done.
    """

    short: str
    meaning: str
    remedy: str = ""


BY_CODE: Final[dict[str, Status]] = {
    FlowEncryption.X: Status(
        "encrypted", "Encryption is configured, and the platform encrypted the connection."
    ),
    FlowEncryption.NX: Status(
        "not encrypted",
        "Encryption is not configured, or an end of the connection has none: a public address, a network without "
        "encryption, a gateway, a private endpoint.",
        "Enable encryption in the virtual networks of both ends; traffic to gateways, private endpoints and the "
        "internet needs TLS or IPsec of its own.",
    ),
    FlowEncryption.NX_HW_NOT_SUPPORTED: Status(
        "host cannot encrypt",
        "Encryption is configured, but the VM runs on a host whose card cannot encrypt: it is absent or faulty.",
        "Redeploy the VM to another host, and report it to the vendor.",
    ),
    FlowEncryption.NX_SW_NOT_READY: Status(
        "host not ready, dropped",
        "The flow table (GFT) of the host is not ready: the VM has just started or was moved, or the host is "
        "serviced. The packets are dropped.",
        "Nothing if it lasts minutes: clients try again. Otherwise stop and start the VM, and report it to the vendor.",
    ),
    FlowEncryption.NX_NOT_ACCEPTED: Status(
        "cannot be encrypted, dropped",
        "A network drops what is not encrypted, and this connection could not be.",
        "Give both VMs a size that can encrypt, and accelerated networking; stop and start VMs that have run since "
        "before encryption was enabled.",
    ),
    FlowEncryption.NX_NOT_SUPPORTED: Status(
        "no discovery, dropped",
        "The networking stack of a host does not support discovery, so no session was established. The packets are "
        "dropped.",
        "Report it to the vendor; a redeployed VM may land on another host.",
    ),
    FlowEncryption.NX_LOCAL_DST: Status(
        "same host",
        "Both VMs are on one host: the packets never leave it, and are not encrypted by design.",
    ),
    FlowEncryption.NX_FALLBACK: Status(
        "fell back to clear",
        "Both networks allow unencrypted traffic; encryption was attempted and had a problem, or an end cannot encrypt.",
        "Check size and accelerated networking of both VMs, and stop and start those that have run since before "
        "encryption was enabled.",
    ),
}
"""By status."""

_ALWAYS: Final = {
    FlowEncryption.X: Kind.ENCRYPTED,
    FlowEncryption.NX_LOCAL_DST: Kind.LOCAL,
    FlowEncryption.NX_FALLBACK: Kind.CLEAR,
    FlowEncryption.NX_HW_NOT_SUPPORTED: Kind.CLEAR,
    FlowEncryption.NX_SW_NOT_READY: Kind.DROPPED,
    FlowEncryption.NX_NOT_ACCEPTED: Kind.DROPPED,
    FlowEncryption.NX_NOT_SUPPORTED: Kind.DROPPED,
}

_VERDICTS: Final[dict[Kind | None, Verdict]] = {Kind.CLEAR: Verdict.CLEAR, Kind.DROPPED: Verdict.DROP}

_SERVICES: Final = {1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 51: "AH", 58: "ICMPv6"}


def kind_of(code: str, *, is_public: bool, is_denied: bool) -> Kind:
    """What became of the traffic of a status.

    Args:
        code: the status.
        is_public: an end is a public address.
        is_denied: nothing of it ever passed.
    """
    if code == FlowEncryption.NX:
        if is_denied:
            return Kind.DENIED
        return Kind.PUBLIC if is_public else Kind.CLEAR
    if code not in BY_CODE:
        return Kind.UNKNOWN
    kind = _ALWAYS[FlowEncryption(code)]
    return Kind.DROPPED if is_denied and kind is Kind.CLEAR else kind


def rows_of(code: str, kind: Kind | None = None) -> list[str]:
    """The rows of the decision table that give a status: number and name.

    Args:
        code: the status.
        kind: only rows that lead to this; None: all of them.
    """
    found = [row for row in rows() if row.code == code]
    if kind in _VERDICTS:
        found = [row for row in found if row.verdict is _VERDICTS[kind]]
    return list(dict.fromkeys(f"{row.number} {row.name}" for row in found))


def service_name(protocol: int, port: int) -> str:
    """Protocol and port in words."""
    if protocol < 0:
        return "any"
    name = _SERVICES.get(protocol, f"protocol {protocol}")
    return f"{name} {port}" if port > 0 else name
