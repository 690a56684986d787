"""What was decided for the packets of a lab, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.vocabulary import Enforcement, FlowEncryption, Verdict


if TYPE_CHECKING:
    from dtls_emu.lab.schema import VirtualNetwork
    from dtls_emu.policy import Decision


__all__ = [
    "all_dropped",
    "arrives",
    "code_of",
    "crossing_in_clear",
    "dropped_as",
    "encrypted_items",
    "encrypted_packets",
    "fate_of",
    "is_encrypting",
    "is_enforced",
    "row_of",
]


def row_of(run: LabRun, *, item: str) -> int:
    """The row of the decision table for the packets of a traffic item."""
    return _decision(run, item).row.number


def code_of(run: LabRun, *, item: str) -> str:
    """Their flow-log code."""
    code = _decision(run, item).code
    if code is None:
        raise CannotAskError(f"the packets of {item} have no flow-log code in your lab")
    return str(code)


def encrypted_packets(run: LabRun, *, item: str) -> Expected:
    """How many packets of an item were sealed."""
    found = run.item(item)
    if found.encrypted == found.offered:
        return Expected(found.encrypted)
    return Expected(
        found.encrypted, ((found.offered, "Are you sure that they were sealed? Look at their verdict."),)
    )


def encrypted_items(run: LabRun) -> str:
    """Items all of whose packets were sealed."""
    return ", ".join(
        sorted(
            item.name for item in run.outcome.items if item.verdict is Verdict.ENCRYPT and item.encrypted > 0
        )
    )


def crossing_in_clear(run: LabRun) -> Expected:
    """How many packets are on the fabric, between two hosts, in clear."""
    items = run.outcome.items
    on_fabric = sum(item.in_clear for item in items)
    not_sealed = sum(item.offered for item in items if item.verdict is Verdict.CLEAR)
    local = sum(item.offered for item in items if item.encryption is FlowEncryption.NX_LOCAL_DST)
    return Expected(
        on_fabric,
        (
            (not_sealed, "Not all that is in clear crosses the fabric between two hosts."),
            (not_sealed - local, "One of these items does not go to another host of the lab."),
            (on_fabric + local, "One of these items never leaves its host."),
        ),
    )


def all_dropped(run: LabRun) -> str:
    """Items of whose packets none was delivered."""
    return ", ".join(sorted(item.name for item in run.outcome.items if not item.delivered))


def dropped_as(run: LabRun, *, item: str) -> str:
    """Why the packets of an item were dropped."""
    found = run.item(item).dropped
    if len(found) != 1:
        said = f"for {len(found)} reasons" if found else "not at all"
        raise CannotAskError(f"the packets of {item} are dropped {said} in your lab; the question needs one")
    return str(next(iter(found)))


def fate_of(run: LabRun, *, item: str) -> str:
    """What becomes of the packets of an item: delivered, lost or dropped."""
    found = run.item(item)
    return "delivered" if found.delivered == found.offered else "dropped"


def arrives(run: LabRun, *, items: str) -> bool:
    """Whether every packet of some items is sealed and delivered."""
    found = [run.item(name) for name in items.split()]
    return all(item.verdict is Verdict.ENCRYPT and item.delivered == item.offered for item in found)


def is_encrypting(run: LabRun, *, network: str) -> bool:
    """Whether a virtual network has encryption enabled."""
    return _network(run, network).encryption.enabled


def is_enforced(run: LabRun, *, network: str) -> bool:
    """Whether it also drops what cannot be encrypted."""
    encryption = _network(run, network).encryption
    return encryption.enabled and encryption.enforcement is Enforcement.DROP_UNENCRYPTED


def _decision(run: LabRun, item: str) -> Decision:
    handled = run.item(item).handled
    if not handled:
        raise CannotAskError(f"no packet of {item} was decided in a run of your lab")
    return handled[0].decision


def _network(run: LabRun, name: str) -> VirtualNetwork:
    if name not in run.lab.virtual_networks:
        raise CannotAskError(f"your lab has no virtual network {name}; put it back")
    return run.lab.virtual_networks[name]
