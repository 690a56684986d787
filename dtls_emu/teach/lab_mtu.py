"""Explain what fits in a lab: who may send how much to whom, and what becomes of a packet that is larger."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dtls_emu.overhead import IPV6_MINIMUM_MTU, path_overhead
from dtls_emu.policy import decide, flow_to
from dtls_emu.teach.blocks import Heading, Table, Text, Verdict
from dtls_emu.teach.document import Document
from dtls_emu.vocabulary import Verdict as Decided


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["explain_lab_mtu"]


def explain_lab_mtu(topology: Topology) -> Document:
    """What fits between the VMs of a lab; VMs of one host with the same MTU, going the same way, share a line."""
    document = Document("What fits, and what happens to what does not")
    rows = list(dict.fromkeys(_rows(topology)))
    document.add(
        Table(
            ("from", "to", "how", ">link MTU", ">fits", ">NIC MTU", "a full packet"),
            tuple(rows),
            "Largest IP packets of VMs, in bytes",
        )
    )
    misfits = [row for row in rows if row[-1] != "fits"]
    document.add(
        Verdict(
            good=not misfits,
            text="Every VM may send packets as large as its NIC's MTU."
            if not misfits
            else "Not every packet that a NIC takes fits the fabric; the tunnel's overhead is the difference.",
        ),
        Heading("What happens to a packet that does not fit"),
        Table(
            ("packet", "what the card does"),
            (
                (
                    "IPv4, whole, DF set",
                    "drops it (too_big) and answers ICMP type 3 code 4 with the MTU (RFC 1191)",
                ),
                (
                    "IPv4, whole, DF clear",
                    "drops it (too_big_no_df): no fragments are made, and no ICMP may be sent",
                ),
                ("IPv6, whole", "drops it (too_big) and answers ICMPv6 type 2 with the MTU (RFC 8201)"),
                ("a fragment, to be encrypted", _fragments(topology)),
                ("a super-packet (TSO)", "cuts it into segments first; each must fit"),
            ),
        ),
    )
    if any(int(row[4]) < IPV6_MINIMUM_MTU for row in rows):
        document.add(
            Text(
                f"Where less than {IPV6_MINIMUM_MTU} bytes fit, IPv6 does not work: a sender need not go lower (RFC 8200 5)."
            )
        )
    return document


def _fragments(topology: Topology) -> str:
    if topology.profile.fragments is Decided.CLEAR:
        return "goes in clear where neither network drops unencrypted, else is dropped (fragment)"
    return "drops it (fragment): it has no ports to find its flow by, and the card keeps nothing to put it together"


def _rows(topology: Topology) -> Iterator[tuple[str, ...]]:
    for source in topology.vms.values():
        for destination in topology.vms.values():
            row = _row(topology, source, destination)
            if row is not None:
                yield row


def _row(topology: Topology, source: Vm, destination: Vm) -> tuple[str, ...] | None:
    """None for VMs of one host, which no overhead is between, and where there is no way."""
    if source.host == destination.host:
        return None
    address = next((each for each in destination.addresses if source.address(each.version)), None)
    if address is None:
        return None
    decision = decide(flow_to(topology, source, address), topology.profile)
    if decision.verdict is Decided.DROP:
        return None
    encrypted = decision.verdict is Decided.ENCRYPT
    version = ip_address(topology.hosts[source.host].underlay).version
    link = topology.link(source.host, destination.host).mtu
    fits = path_overhead(encrypted=encrypted, underlay_version=version).inner_mtu(link)
    return (
        f"VMs of {source.host}",
        f"VMs of {destination.host}",
        "encrypted" if encrypted else "in clear",
        str(link),
        str(fits),
        str(source.mtu),
        "fits" if source.mtu <= fits else f"{source.mtu - fits} too long",
    )
