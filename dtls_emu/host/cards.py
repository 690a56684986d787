"""The cards of a lab: a certificate authority for each region, a certificate and a card for each host."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import AUTO, load, resolve
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.nic.card import Card, Engine
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.tunnel import Identity


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dtls_emu.lab.topology import Topology
    from dtls_emu.lab.vocabulary import DropReason
    from dtls_emu.tunnel.settings import TunnelSettings

    DropObserver = Callable[[str, DropReason, int, int], None]
    """``on_drop(host, reason, count, mark)``."""


__all__ = ["build_cards", "choose_engine"]


def build_cards(
    topology: Topology,
    *,
    engines: Mapping[str, Engine] | None = None,
    settings: TunnelSettings | None = None,
    on_drop: DropObserver | None = None,
    hosts: tuple[str, ...] = (),
) -> dict[str, Card]:
    """Make the cards of a lab, by host name, with fresh certificates of one CA for each region.

    Args:
        topology: the lab.
        engines: cipher engine of each host; what is missing is chosen by :func:`choose_engine`.
        settings: tunnels' knobs.
        on_drop: called with host, reason, count and mark for everything a card drops.
        hosts: only these; all of the lab when empty.
    """
    now = datetime.now(UTC)
    regions = {host.region for host in topology.hosts.values()}
    authorities = {region: RegionAuthority.create(region, now) for region in sorted(regions)}
    trusted = {region: authority.certificate for region, authority in authorities.items()}
    chosen = dict(engines or {})
    cards: dict[str, Card] = {}
    for name in hosts or tuple(topology.hosts):
        host = topology.hosts[name]
        credentials = authorities[host.region].issue(name, now)
        contexts = build_contexts(credentials, trusted.values(), secrets.token_bytes(32))
        identity = Identity(name, host.underlay, contexts, now, lambda seconds: timedelta(seconds=seconds))
        engine = chosen.get(name) or choose_engine(host.backend)
        observer = None if on_drop is None else _observe(on_drop, name)
        cards[name] = Card(topology, identity, trusted, engine, settings=settings, on_drop=observer)
    return cards


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


def _observe(on_drop: DropObserver, host: str) -> Callable[[DropReason, int, int], None]:
    return lambda reason, count, mark: on_drop(host, reason, count, mark)
