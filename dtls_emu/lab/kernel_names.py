"""What Linux takes as names, and the names that a lab's hosts and VMs get there when it is brought up.

A host's or VM's name becomes part of names of namespaces, interfaces and sockets. That they fit and stay apart is
asked when a lab is validated, not when half of it has been made.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.problems import Problem, shown
from dtls_emu.paths import MAX_SOCKET_PATH, RUNS, control_socket_in


if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator
    from pathlib import Path


__all__ = [
    "MAX_DEVICE",
    "cable_device",
    "check_device",
    "name_clashes",
    "namespace_name",
    "socket_trouble",
]

MAX_DEVICE: Final = 15
"""Bytes of an interface's name (``IFNAMSIZ``, linux/if.h)."""


def namespace_name(run: str, host_or_vm: str) -> str:
    """The name of a namespace: of at most 127 letters, as both names have at most 63."""
    return f"{run}-{host_or_vm}"


def cable_device(peer: str) -> str:
    """The name of a host's interface towards another host: as it is where it fits, else shortened, and unique."""
    name = f"to-{peer}"
    if len(name) <= MAX_DEVICE:
        return name
    digest = sha256(peer.encode()).hexdigest()[:5]
    return f"{name[: MAX_DEVICE - len(digest) - 1]}.{digest}"


def check_device(name: str) -> str:
    """An interface's name as it is.

    Raises:
        ValueError: none that Linux takes (``dev_valid_name``, net/core/dev.c), or that a shell takes apart.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name in {".", ".."} or len(name) > MAX_DEVICE:
        raise ValueError(
            f"{shown(name)} is no name of an interface; write at most {MAX_DEVICE} letters, digits, dots, hyphens "
            "and underscores, such as tun0"
        )
    return name


def name_clashes(hosts: Iterable[str], vms: Container[str]) -> Iterator[Problem]:
    """Names that are right each, and would be one namespace or interface together."""
    devices: dict[str, str] = {}
    for host in hosts:
        if host in vms:
            yield Problem(
                ("vms", host),
                f"a host is called `{host}`, too, and each of them is a network namespace of its name; rename one of "
                "them",
            )
        other = devices.setdefault(cable_device(host), host)
        if other != host:
            yield Problem(
                ("hosts", host),
                f"too much like the host `{other}` for the {MAX_DEVICE} letters of an interface's name; rename one of "
                "them",
            )


def socket_trouble(run: str, hosts: Iterable[str], runs: Path = RUNS) -> str | None:
    """What keeps the hosts' control sockets from being made under a name of a run; None if nothing does."""
    for host in hosts:
        size = len(bytes(control_socket_in(runs / run, host)))
        if size > MAX_SOCKET_PATH:
            return (
                f"the path of the control socket of `{host}` has {size} bytes, {MAX_SOCKET_PATH} are possible; "
                "choose a shorter name with --name"
            )
    return None
