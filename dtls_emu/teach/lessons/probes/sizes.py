"""How many bytes: of packets, of what is added to them, and of what fits."""

from __future__ import annotations

from ipaddress import ip_address

from dtls_emu.events import Answered
from dtls_emu.overhead import (
    ENCAPSULATION,
    IPV4_HEADER,
    OUTER_HEADERS,
    UDP_HEADER,
    VXLAN_HEADER,
    path_overhead,
)
from dtls_emu.teach.lessons.expected import Expected
from dtls_emu.teach.lessons.lab_run import CannotAskError, LabRun
from dtls_emu.vocabulary import Verdict


__all__ = [
    "added_by_encryption",
    "added_to",
    "begins_at",
    "icmp_answers",
    "just_fits",
    "largest_packet",
    "link_mtu",
    "outer_packet",
    "seen_inside",
    "segment_payload",
    "sends_packets_of",
    "smallest_link_mtu",
    "told_by_icmp",
    "vni_bytes",
    "vxlan_port",
]

_TCP_HEADER = 20  # RFC 9293 3.1, without options


def begins_at(run: LabRun, *, item: str) -> Expected:
    """Where in the outer packet the VM's own packet begins, of the first packet of an item that is in clear."""
    packet = run.first(item).packets[0]
    outside = OUTER_HEADERS[_version(run, item)]
    inside = run.datagram(item).payload.find(packet)
    if inside < 0:
        raise CannotAskError(f"{item} is not in clear in your lab")
    return Expected(
        inside + outside,
        (
            (inside, "That is where it begins in the UDP payload. Count from the outer packet's first byte."),
            (outside, "There begins what the card has put around it: VXLAN."),
            (outside + VXLAN_HEADER, "There begins the inner Ethernet header."),
            (inside + outside + 1, "The first byte has the number 0."),
        ),
    )


def outer_packet(run: LabRun, *, item: str) -> Expected:
    """Length of the IP packet on the fabric that carries the first packet of an item."""
    inner, payload = _lengths(run, item)
    return Expected(
        payload + OUTER_HEADERS[_version(run, item)],
        (
            (inner, "That is the packet of the VM. What does its card put around it?"),
            (payload, "That is the payload of the UDP datagram. Outer IP and UDP are around it."),
            (payload + UDP_HEADER, "Outer IP is still around that."),
        ),
    )


def added_to(run: LabRun, *, item: str) -> Expected:
    """Bytes on the fabric that the VM has not sent, of each of its packets."""
    inner, payload = _lengths(run, item)
    plain = path_overhead(encrypted=False, underlay_version=_version(run, item))
    return Expected(
        payload + plain.outer_ip + plain.udp - inner,
        (
            (payload - inner, "The UDP datagram is in an IP packet. Its headers count as well."),
            (payload - inner - ENCAPSULATION, "That is what the record adds. VXLAN and more is added, too."),
            (plain.total, "That was all in clear."),
        ),
    )


def added_by_encryption(run: LabRun, *, item: str) -> Expected:
    """Bytes by which a packet on the fabric is longer than it would be in clear."""
    inner, payload = _lengths(run, item)
    plain = path_overhead(encrypted=False, underlay_version=_version(run, item))
    return Expected(
        payload - inner - plain.datagram,
        (
            (
                payload + plain.outer_ip + plain.udp - inner,
                "That is all that is added. Some of it was there in clear, too.",
            ),
            (path_overhead(encrypted=True).tag, "The tag is one part of it; look at what else a record has."),
        ),
    )


def seen_inside(run: LabRun, *, payload: int) -> Expected:
    """Length of the VM's packet that an eavesdropper finds from the payload of an encrypted datagram."""
    item = next((each for each in run.outcome.items if each.verdict is Verdict.ENCRYPT), None)
    if item is None:
        raise CannotAskError("no item of your lab is encrypted")
    inner, sent = _lengths(run, item.name)
    plain = path_overhead(encrypted=False)
    return Expected(
        payload - (sent - inner),
        (
            (
                payload - (sent - inner) - plain.outer_ip - plain.udp,
                "Outer IP and UDP are not in a UDP payload.",
            ),
            (payload - plain.datagram, "That would be VXLAN in clear; this is a record."),
            (payload - (sent - inner) + plain.datagram, "What is sealed is not the VM's packet alone."),
        ),
    )


def vxlan_port(run: LabRun, *, item: str) -> Expected:
    """UDP port that an item's packets are sent to, on the fabric."""
    sent = run.datagram(item)
    source, destination = sent.source[1], sent.destination[1]
    slips = ((source, "That is the port that it is sent from."),) if source != destination else ()
    return Expected(destination, slips)


def vni_bytes(run: LabRun, *, network: str) -> Expected:
    """The three bytes of a network's VNI (RFC 7348 5)."""
    if network not in run.lab.virtual_networks:
        raise CannotAskError(f"your lab has no virtual network {network}; put it back")
    vni = run.lab.virtual_networks[network].vni
    return Expected(
        vni.to_bytes(3),
        (
            (vni.to_bytes(3)[1:], "A VNI has 24 bits; leading zeros are sent, too."),
            (vni.to_bytes(4), "The byte behind it is another field."),
        ),
    )


def largest_packet(run: LabRun, *, item: str) -> Expected:
    """The longest packet of its VM that fits the path of an item."""
    link, version = link_mtu(run, item=item), _version(run, item)
    sealed, plain = (path_overhead(encrypted=each, underlay_version=version) for each in (True, False))
    return Expected(
        sealed.inner_mtu(link),
        (
            (link, "That is the outer packet. Everything that the card adds must fit into it, too."),
            (plain.inner_mtu(link), "So much would fit in clear."),
            (
                sealed.inner_mtu(link) + sealed.outer_ip + sealed.udp,
                "Outer IP and UDP are part of the outer packet.",
            ),
        ),
    )


def segment_payload(run: LabRun, *, item: str) -> Expected:
    """Most payload of a TCP segment over IPv4, without options, on the path of an item."""
    sealed = path_overhead(encrypted=True, underlay_version=_version(run, item))
    fits = sealed.inner_mtu(link_mtu(run, item=item))
    return Expected(
        fits - IPV4_HEADER - _TCP_HEADER,
        (
            (fits, "That is the whole IP packet."),
            (fits - IPV4_HEADER, "A segment has a TCP header."),
            (fits - _TCP_HEADER, "A segment is in an IP packet."),
        ),
    )


def told_by_icmp(run: LabRun, *, item: str) -> Expected:
    """The MTU that a VM is told when a packet of an item does not fit."""
    mtus = {event.mtu for event in _answers(run, item)}
    if len(mtus) != 1:
        raise CannotAskError(f"nobody is told an MTU because of {item} in your lab")
    return Expected(
        mtus.pop(),
        ((link_mtu(run, item=item), "The VM has to be told what it may send, not what the link takes."),),
    )


def icmp_answers(run: LabRun, *, item: str) -> Expected:
    """How many ICMP messages tell a VM that packets of an item do not fit."""
    count = len(_answers(run, item))
    offered = run.item(item).offered
    return Expected(
        count, ((offered, "Is the sender of such a packet told at all?"),) if count != offered else ()
    )


def link_mtu(run: LabRun, *, item: str) -> int:
    """MTU of the link that an item's packets cross: largest outer IP packet."""
    traffic = run.traffic(item)
    topology = run.topology
    destination = topology.vms.get(str(traffic.destination))
    if destination is None:
        raise CannotAskError(f"item {item} of your lab does not go to a VM")
    return topology.link(topology.vms[traffic.source].host, destination.host).mtu


def smallest_link_mtu(run: LabRun, *, item: str) -> Expected:
    """The smallest MTU of a link with which the packets of an item arrive, encrypted."""
    run.first(item)
    largest = max(event.nbytes // event.count for event in run.offered(item))
    version = _version(run, item)
    sealed, plain, other = (
        path_overhead(encrypted=is_sealed, underlay_version=each)
        for is_sealed, each in ((True, version), (False, version), (True, 10 - version))
    )
    return Expected(
        largest + sealed.total,
        (
            (largest + plain.total, "So much would do in clear."),
            (largest + other.total, f"The fabric of this lab is IPv{version}."),
            (largest + sealed.datagram, "Outer IP and UDP are part of the packet on the link."),
            (largest, "That is what the VM sends. Its card adds to it."),
        ),
    )


def just_fits(run: LabRun, *, item: str) -> bool:
    """Whether an item arrives, encrypted, and would not if the link's MTU were one byte less."""
    found = run.item(item)
    sealed = path_overhead(encrypted=True, underlay_version=_version(run, item))
    fits = sealed.inner_mtu(link_mtu(run, item=item))
    largest = max((event.nbytes // event.count for event in run.offered(item)), default=0)
    return found.verdict is Verdict.ENCRYPT and found.delivered == found.offered and fits == largest


def sends_packets_of(run: LabRun, *, item: str, size: int) -> bool:
    """Whether the packets of an item have so many bytes."""
    offered = run.offered(item)
    return bool(offered) and all(event.nbytes == size * event.count for event in offered)


def _version(run: LabRun, item: str) -> int:
    """IP version of the fabric that an item's packets are sent over."""
    source = run.topology.vms[run.traffic(item).source]
    return ip_address(run.topology.hosts[source.host].underlay).version


def _lengths(run: LabRun, item: str) -> tuple[int, int]:
    """Of the first packet of an item: its own bytes, and those of the UDP payload that carries it."""
    first = run.first(item)
    return first.nbytes // first.count, run.datagram(item).length


def _answers(run: LabRun, item: str) -> list[Answered]:
    numbers = {event.packet for event in run.offered(item)}
    return [event for event in run.events if isinstance(event, Answered) and event.packet in numbers]
