"""The underlay addresses of a lab's hosts where names stand for them: containers and pods find each other by name.

A name is looked up once, when a host is brought up, and again and again until it is there: hosts of a cluster
start in any order. A host whose address changes later is not found any more: its peers have to be restarted.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Lookup = Callable[[str], str]
    """From a DNS name to an IP address; raises OSError while there is none."""


__all__ = ["UnderlayError", "look_up", "with_underlays"]

logger = logging.getLogger(__name__)

PATIENCE: Final = 120.0
"""Seconds that all names together may take: pulling an image onto another node may take a minute."""

PAUSE: Final = 0.5
"""Seconds between two tries."""


class UnderlayError(DtlsEmuError):
    """A host's name leads to no address."""


def look_up(name: str) -> str:
    """The first address of a DNS name, IPv4 before IPv6.

    Raises:
        OSError: there is none.
    """
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except UnicodeError as error:  # no name that DNS could have
        raise OSError(errno.EINVAL, str(error)) from error
    addresses = sorted({str(each[4][0]) for each in found}, key=lambda text: ip_address(text).version)
    return addresses[0]


def with_underlays(
    document: dict[str, Any],
    underlays: Mapping[str, str],
    *,
    look_up: Lookup = look_up,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """A lab document whose hosts have the addresses that belong to these names.

    Args:
        document: of the lab.
        underlays: address or DNS name, by host.
        look_up: from a name to an address.
        clock, sleep: of the retries, in seconds.
        patience: seconds until giving up.

    Raises:
        UnderlayError: a name has no address after ``patience`` seconds.
    """
    deadline = clock() + patience
    hosts = dict(document["hosts"])
    for host, name in underlays.items():
        hosts[host] = hosts[host] | {"underlay": _patiently(name, look_up, clock, sleep, deadline)}
    return document | {"hosts": hosts}


def _patiently(
    name: str,
    look_up: Lookup,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
    deadline: float,
) -> str:
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    is_said = False
    while True:
        try:
            return look_up(name)
        except OSError as error:
            if clock() >= deadline:
                raise UnderlayError(f"no address for {name}: {error.strerror or error}") from error
        if not is_said:
            logger.info("waiting for an address of %s", name)
            is_said = True
        sleep(PAUSE)
