"""A lab as a Compose file: one service for each host, on one bridge whose MTU is the fabric's.

What is used of the Compose Specification is what both ``docker compose`` and ``podman-compose`` take, but for
the bridge's MTU: ``mtu`` is Podman's name of it, Docker's is ``com.docker.network.driver.mtu``.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.deploy.export.handout import (
    CONFIG_FOLDER,
    PING_GROUPS,
    SECRETS_FOLDER,
    check_image,
    lab_labels,
)
from dtls_emu.host.config import CONFIG
from dtls_emu.machine.linux import TUN_PATH
from dtls_emu.overhead import IPV6_MINIMUM_MTU


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.deploy.export.handout import Handout
    from dtls_emu.lab import Topology


__all__ = ["HOSTS_FOLDER", "compose_document"]

HOSTS_FOLDER: Final = "hosts"
"""Beside the Compose file: a folder for each host, with all that it is handed."""

_NETWORK: Final = "underlay"

_WITH_IPV6: Final = "net.ipv6.conf.all.disable_ipv6", "0"
"""Runtimes may switch IPv6 off where their own network has none; VMs have addresses all the same."""


def compose_document(
    topology: Topology, handouts: Iterable[Handout], *, image: str, user: str
) -> dict[str, Any]:
    """The Compose file.

    Args:
        topology: the compiled lab.
        handouts: of its hosts. Of credentials only the names of files are used.
        image: name of the container image.
        user: ``uid:gid`` that containers run as, and that owns the credentials' files.
    """
    handed = list(handouts)
    return {
        "name": topology.name,
        "services": {each.host: _service(topology.name, each, image, user) for each in handed},
        "networks": {
            _NETWORK: {
                "driver": "bridge",
                "driver_opts": {"mtu": str(_fabric_mtu(topology))},
                "labels": lab_labels(topology.name),
            }
        },
        "secrets": {
            _secret(each.host, file): {"file": f"./{HOSTS_FOLDER}/{each.host}/{file}"}
            for each in handed
            for file in each.credentials
        },
    }


def _service(lab: str, handout: Handout, image: str, user: str) -> dict[str, Any]:
    host = handout.host
    return {
        "image": check_image(image),
        "hostname": host,
        "user": f"${{DTLS_EMU_USER:-{user}}}",
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "cap_add": ["NET_ADMIN"],
        "devices": [f"{TUN_PATH}:{TUN_PATH}"],
        "sysctls": dict((PING_GROUPS, _WITH_IPV6)),
        "networks": {_NETWORK: {"aliases": [host]}},
        "extra_hosts": [f"{vm}:{address}" for vm, address in handout.vms.items()],
        "volumes": [f"./{HOSTS_FOLDER}/{host}/{CONFIG}:{CONFIG_FOLDER}/{CONFIG}:ro"],
        "secrets": [
            {"source": _secret(host, file), "target": f"{SECRETS_FOLDER}/{file}"}
            for file in handout.credentials
        ],
        "healthcheck": {
            "test": ["CMD", "probe", "ready"],
            "interval": "10s",
            "timeout": "5s",
            "retries": 3,
            "start_period": "300s",
        },
        "labels": lab_labels(lab, host),
    }


def _fabric_mtu(topology: Topology) -> int:
    """What every link of the lab fits into; cards see to those that carry less."""
    mtus = [topology.link(*pair).mtu for pair in permutations(topology.hosts, 2)]
    return max([IPV6_MINIMUM_MTU, *mtus])  # with less Linux has no IPv6 on a device


def _secret(host: str, file: str) -> str:
    return f"{host}.{file}"
