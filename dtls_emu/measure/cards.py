"""Cards for a benchmark: real ones, with a real handshake between them, on this machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dtls_emu.assembly import cards
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import resolve
from dtls_emu.host.credential_files import load_credentials, save_credentials
from dtls_emu.nic.card import Engine


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.nic.card import Card


__all__ = ["clock", "issue_both", "load_card", "make_card", "save_both"]

clock = time.monotonic
"""The seconds that cards are given. Of the whole machine, so two processes can tell each other."""


def make_card(topology: Topology, host: str, credentials: HostCredentials) -> Card:
    """The card of a host of an arm's topology.

    Raises:
        BackendUnavailableError: the arm's backend cannot work here.
    """
    choice = resolve(topology.hosts[host].backend)
    return cards.make_card(
        topology,
        host,
        credentials,
        {each.region: credentials.ca_certificate for each in topology.hosts.values()},
        engine=Engine(choice.backend, choice.reason),
        wall_start=datetime.now(UTC) - timedelta(seconds=clock()),
    )


def issue_both(pair: Pair) -> tuple[HostCredentials, HostCredentials]:
    """Credentials of the sender's and the receiver's host, from a CA that is forgotten at once."""
    now = datetime.now(UTC)
    authority = RegionAuthority.create("benchmark", now)
    return authority.issue(pair.sender.host, now), authority.issue(pair.receiver.host, now)


def save_both(pair: Pair, folder: Path) -> tuple[Path, Path]:
    """Write both hosts' credentials below ``folder``, for another process to load."""
    places = folder / "sender", folder / "receiver"
    for place, credentials in zip(places, issue_both(pair), strict=True):
        save_credentials(credentials, place)
    return places


def load_card(topology: Topology, host: str, folder: Path) -> Card:
    """As :func:`make_card`, with credentials that :func:`save_both` wrote."""
    return make_card(topology, host, load_credentials(folder))
