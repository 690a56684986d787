"""The cards of a lab: a certificate authority for each region, a certificate and a card for each host."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import AUTO, load, resolve
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.nic.card import Card, Engine
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity
from dtls_emu.tunnel.ports import DYNAMIC_PORTS


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cryptography import x509

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.events import Observer
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.counters import PacketObserver
    from dtls_emu.tunnel.settings import TunnelSettings
    from dtls_emu.vocabulary import DropReason

    DropObserver = Callable[[str, DropReason, int, int], None]
    """``on_drop(host, reason, count, mark)``."""


__all__ = ["build_cards", "choose_engine", "issue_credentials", "make_card"]


def build_cards(
    topology: Topology,
    *,
    engines: Mapping[str, Engine] | None = None,
    credentials: Mapping[str, HostCredentials] | None = None,
    settings: TunnelSettings | None = None,
    on_drop: DropObserver | None = None,
    on_packets: PacketObserver | None = None,
    observer: Observer | None = None,
    key_log: Callable[[bytes], None] | None = None,
    hosts: Iterable[str] | None = None,
    first_port: int = DYNAMIC_PORTS.start,
) -> dict[str, Card]:
    """Make all cards of a lab, by host name, with fresh certificates of one CA for each region.

    Args:
        topology: the lab.
        engines: cipher engine of each host; what is missing is chosen by :func:`choose_engine`.
        credentials: certificate, key and CA of each host, instead of fresh ones.
        settings: tunnels' knobs.
        on_drop: called with host, reason, count and mark for everything a card drops.
        on_packets, observer: as in :class:`~dtls_emu.nic.card.Card`, of every card.
        key_log: as in :func:`~dtls_emu.tunnel.context.build_contexts`.
        hosts: make the cards of these only.
        first_port: as in :class:`~dtls_emu.nic.card.Card`, of every card.
    """
    now = datetime.now(UTC)
    credentials = credentials or issue_credentials(topology, now)
    authorities = {topology.hosts[name].region: each.ca_certificate for name, each in credentials.items()}
    return {
        name: make_card(
            topology,
            name,
            credentials[name],
            authorities,
            engine=(engines or {}).get(name),
            wall_start=now,
            settings=settings,
            on_drop=None if on_drop is None else partial(on_drop, name),
            on_packets=on_packets,
            observer=observer,
            key_log=key_log,
            first_port=first_port,
        )
        for name in hosts or topology.hosts
    }


def issue_credentials(topology: Topology, now: datetime) -> dict[str, HostCredentials]:
    """Make a CA for each region, and a certificate for each host; the CAs' keys are forgotten at once."""
    regions = sorted({host.region for host in topology.hosts.values()})
    authorities = {region: RegionAuthority.create(region, now) for region in regions}
    return {host.name: authorities[host.region].issue(host.name, now) for host in topology.hosts.values()}


def make_card(
    topology: Topology,
    host: str,
    credentials: HostCredentials,
    authorities: Mapping[str, x509.Certificate],
    *,
    engine: Engine | None = None,
    wall_start: datetime,
    settings: TunnelSettings | None = None,
    on_drop: Callable[[DropReason, int, int], None] | None = None,
    on_packets: PacketObserver | None = None,
    observer: Observer | None = None,
    key_log: Callable[[bytes], None] | None = None,
    first_port: int = DYNAMIC_PORTS.start,
) -> Card:
    """Make the card of one host.

    Args:
        topology: the lab.
        host: its name.
        credentials: its certificate and key.
        authorities: the CA certificate of each region.
        engine: cipher engine; :func:`choose_engine` by the lab's wish when there is none.
        wall_start: date and time that belong to second 0 of the card's clock.
        settings, on_drop, on_packets, observer, first_port: as in :class:`~dtls_emu.nic.card.Card`.
        key_log: as in :func:`~dtls_emu.tunnel.context.build_contexts`.
    """
    identity = Identity(
        host,
        topology.hosts[host].underlay,
        build_contexts(credentials, authorities.values(), key_log),
        CookieJar(secrets.token_bytes(32)),
        wall_start,
    )
    chosen = engine or choose_engine(topology.hosts[host].backend)
    return Card(
        topology,
        identity,
        authorities,
        chosen,
        settings=settings,
        on_drop=on_drop,
        on_packets=on_packets,
        observer=observer,
        first_port=first_port,
    )


def choose_engine(wanted: str) -> Engine:
    """The backend a lab asks for; software in its stead, with the reason, where it cannot work."""
    if wanted != AUTO:
        try:
            return Engine(load(wanted), "as the lab says")
        except BackendUnavailableError as error:
            choice = resolve(AUTO)
            return Engine(choice.backend, f"fell back from {wanted}: {error}")
    choice = resolve(AUTO)
    return Engine(choice.backend, choice.reason)
