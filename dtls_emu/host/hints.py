"""What is not as it should be on a running host, in words, and what to do about it: for `status` and `doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.icmp import ERROR_BURST, ERRORS_PER_SECOND
from dtls_emu.wire.overhead import IPV6_MINIMUM_MTU, smallest_handshake_mtu


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.host.loop.agent import Agent
    from dtls_emu.lab.topology import Topology


__all__ = ["Hint", "hints_of"]


UNHEARD: Final = 1000
"""Errors that a VM was due and not sent, before anybody is told: a window of TCP that was in flight when a path became
smaller is no reason to worry, a program that does not listen is."""


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to know.

    Fields:
        about: what it is about: a host, or VMs.
        what: is so.
        remedy: what to do.
    """

    about: str
    what: str
    remedy: str


def hints_of(agent: Agent, topology: Topology) -> list[Hint]:
    """All that there is to know of a host with this loop, in this lab."""
    encrypted = any(network.encrypted for network in topology.networks.values())
    return [*_small_paths(agent, topology, encrypted), *_unanswered(agent, encrypted)]


def _small_paths(agent: Agent, topology: Topology, encrypted: bool) -> Iterator[Hint]:
    """Paths that carry less than the lab says."""
    card = agent.card
    version = ip_address(topology.hosts[card.host].underlay).version
    for peer, mtu in agent.paths.known.items():
        link = topology.link(card.host, peer).mtu
        if mtu is None or mtu >= link:
            continue
        inner = card.inner_mtu(peer, encrypted=encrypted)
        told = f"the path carries {mtu} bytes, the lab says {link}; VMs are told by ICMP that {inner} fit"
        if encrypted and mtu < smallest_handshake_mtu(version):
            told = f"the path carries {mtu} bytes, and a handshake needs {smallest_handshake_mtu(version)}"
        elif inner < IPV6_MINIMUM_MTU and _has_ipv6(topology, card.host) and _has_ipv6(topology, peer):
            told += f"; IPv6 does not work, since no VM need go below {IPV6_MINIMUM_MTU} (RFC 8200 5)"
        yield Hint(peer, told, f"give the path an MTU of {link}, or the link of the lab one of {mtu}")


def _unanswered(agent: Agent, encrypted: bool) -> Iterator[Hint]:
    """Packets whose senders do not know why they are dropped."""
    card = agent.card
    counters = card.egress.counters
    silent = counters.dropped[DropReason.TOO_BIG_NO_DF]
    if silent:
        fitting = [card.inner_mtu(peer, encrypted=encrypted) for peer in card.peers]
        yield Hint(
            "VMs",
            f"{silent} IPv4 packets without DF were too big; no fragments are made, and their senders may not be told",
            "have them set DF"
            + (f", or give the NICs of the VMs an MTU of {min(fitting)}" if fitting else ""),
        )
    if counters.icmp_limited > UNHEARD:
        yield Hint(
            "VMs",
            f"{counters.icmp_limited} ICMP errors about packets that were too big were not sent: a VM gets "
            f"{ERRORS_PER_SECOND} a second, {ERROR_BURST} at once (RFC 4443 2.4 f)",
            "find the program that goes on sending what does not fit",
        )


def _has_ipv6(topology: Topology, host: str) -> bool:
    return any(vm.address(6) is not None for vm in topology.vms_on(host))
