"""What attackers come to in a lab, and what an eavesdropper learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.events import Dropped, Refused, Sent
from dtls_emu.overhead import UDP_HEADER
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.vocabulary import Verdict


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = [
    "comes_to",
    "dropped_instead",
    "eavesdropper_learns",
    "is_closed",
    "is_stopped",
    "payload_is_read",
    "refused_as",
    "remembered_records",
    "working_attacks",
]

_HEADERS = 20 + UDP_HEADER
"""Bytes of a VM's packet before its payload: IPv4, and UDP or ICMP."""


def comes_to(run: LabRun, *, attack: str) -> str:
    """Whether an attack works or is stopped."""
    return "stopped" if run.attacked(attack).attempt.stopped else "works"


def is_closed(run: LabRun, *, attack: str, item: str) -> bool:
    """Whether an attack is stopped, and an item is encrypted and delivered while nobody attacks."""
    found = run.item(item)
    is_sealed = found.verdict is Verdict.ENCRYPT and found.delivered == found.offered
    return is_sealed and is_stopped(run, attack=attack)


def is_stopped(run: LabRun, *, attack: str) -> bool:
    """The same as a condition."""
    return run.attacked(attack).attempt.stopped


def working_attacks(run: LabRun, *, of: str) -> str:
    """Those of some attacks that work; "none" where all are stopped."""
    return ", ".join(sorted(name for name in of.split() if not is_stopped(run, attack=name))) or "none"


def refused_as(run: LabRun, *, attack: str) -> str:
    """As what a card counts the datagram of an attack that it refuses."""
    reasons = {event.reason for event in run.attacked(attack).trace.events if isinstance(event, Refused)}
    if len(reasons) != 1:
        raise CannotAskError(f"in your lab the attack {attack} is not refused for one reason")
    return str(reasons.pop())


def dropped_instead(run: LabRun, *, attack: str) -> str:
    """As what a card counts the VM's packet that an attack keeps from being sent."""
    reasons = {event.reason for event in run.attacked(attack).trace.events if isinstance(event, Dropped)}
    if len(reasons) != 1:
        raise CannotAskError(f"in your lab no packet is dropped because of the attack {attack}")
    return str(reasons.pop())


def remembered_records(run: LabRun) -> int:
    """How many records a replay window remembers."""
    return run.topology.profile.replay_window


def payload_is_read(run: LabRun, *, item: str) -> str:
    """Whether the payload of an item's first packet is on the fabric as the VM has written it."""
    packet = run.first(item).packets[0]
    return "yes" if any(packet[_HEADERS:] in sent.payload for sent in _carriers(run, item)) else "no"


def eavesdropper_learns(run: LabRun, *, item: str) -> Expected:
    """What of some things can be read from the datagrams of an item: payload, VMs, network, hosts, sizes, times."""
    carriers = list(_carriers(run, item))
    payloads = b"".join(each.payload for each in carriers)
    vms, topology = run.topology.vms, run.topology
    traffic = run.traffic(item)
    ends = [vms[name] for name in (traffic.source, str(traffic.destination)) if name in vms]
    found = {
        "payload": payload_is_read(run, item=item) == "yes",
        "vms": any(address.packed in payloads for vm in ends for address in vm.addresses),
        "network": any(
            run.lab.virtual_networks[vm.network].vni.to_bytes(3) + b"\0" in payloads for vm in ends
        ),
        "hosts": all(topology.host_by_underlay(each.source[0]) is not None for each in carriers),
        "sizes": len({each.length - size for each, size in zip(carriers, _sizes(run, item), strict=False)})
        == 1,
        "times": bool(carriers),
    }
    learnt = ", ".join(sorted(name for name, is_seen in found.items() if is_seen))
    everything = ", ".join(sorted(found))
    return Expected(learnt, ((everything, "Not all of that: what is inside the record is encrypted."),))


def _carriers(run: LabRun, item: str) -> Iterator[Sent]:
    """The datagrams with packets of an item, its answers left out."""
    mark = run.mark(item)
    return (event for event in run.events if isinstance(event, Sent) and event.mark == mark)


def _sizes(run: LabRun, item: str) -> list[int]:
    return [event.nbytes // event.count for event in run.offered(item) for _ in range(event.count)]
