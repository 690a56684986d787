"""Cards for a benchmark: real ones, with a real handshake between them, on this machine's clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from dtls_emu.assembly import cards
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import resolve
from dtls_emu.host.credentials import credential_paths, read_authorities, read_credentials, write_credentials
from dtls_emu.nic.card import Engine


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.lab.topology import Topology
    from dtls_emu.measure.arms import Pair
    from dtls_emu.nic.card import Card


__all__ = ["clock", "issue_both", "make_card", "read_card", "write_both"]

CA: Final = "benchmark"
"""Name of the one certificate authority, whatever regions the lab has."""

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
    authority = RegionAuthority.create(CA, now)
    return authority.issue(pair.sender.host, now), authority.issue(pair.receiver.host, now)


def write_both(pair: Pair, folder: Path) -> tuple[Path, Path]:
    """Write both hosts' credentials below ``folder``, for another process to read.

    Returns:
        The folders of the sender and the receiver.

    Raises:
        OSError: they cannot be written.
    """
    places = folder / "sender", folder / "receiver"
    for place, credentials in zip(places, issue_both(pair), strict=True):
        write_credentials(place, credentials, {CA: credentials.ca_certificate})
    return places


def read_card(topology: Topology, host: str, folder: Path) -> Card:
    """As :func:`make_card`, with credentials that :func:`write_both` wrote.

    Raises:
        BackendUnavailableError: the arm's backend cannot work here.
        CredentialError: they are not there, or not this host's.
    """
    paths = credential_paths([CA], folder)
    authority = read_authorities(paths)[CA]
    return make_card(topology, host, read_credentials(paths, host, authority, datetime.now(UTC)))
