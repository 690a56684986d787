"""What a host says of itself: JSON types only, and nothing that is secret."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.host.hints import hints_of
from dtls_emu.lab.topology import DEFAULT_DELAY


if TYPE_CHECKING:
    from collections.abc import Mapping

    from dtls_emu.fabric.offload import Offload
    from dtls_emu.host.config import HostConfig
    from dtls_emu.host.device.kernel_drops import KernelDrops
    from dtls_emu.host.loop.agent import Agent
    from dtls_emu.lab.topology import Link, Topology
    from dtls_emu.machine.privileges import Privileges


__all__ = ["STATUS_VERSION", "describe", "offloads_of"]

STATUS_VERSION: Final = 1

_CAPTURED: Final = "somebody captures: Python carries what is shown"

CIPHER: Final = "AES-256-GCM"
NO_CIPHER: Final = "none"


def describe(
    agent: Agent,
    config: HostConfig,
    topology: Topology,
    *,
    privileges: Privileges,
    super_packets: Mapping[str, str],
    kernel_drops: Mapping[str, KernelDrops],
    uptime: float,
) -> dict[str, Any]:
    """Everything that ``dtls-emu status`` prints of one host.

    Args:
        agent: its loop.
        config: what it was made from.
        topology: the lab as it is now.
        privileges: what is left of root's.
        super_packets: by VM, why the size of super-packets could not be set; "" where it could.
        kernel_drops: of the VMs' namespaces, by VM, and of the host's own, whose name is "".
        uptime: seconds since it was started.
    """
    agent.look_at_paths()
    times = os.times()
    fabric = agent.fabric.statistics()
    return {
        "version": STATUS_VERSION,
        "run": config.run,
        "host": config.host,
        "pid": os.getpid(),
        "uptime_seconds": uptime,
        "cpu_seconds": {"user": times.user, "system": times.system},
        "ready": not agent.trouble,
        "trouble": agent.trouble,
        "encryption": config.encryption,
        "io_path": _io_path(agent),
        "card": {
            **agent.card.status(),
            "offloads": {"fast_path": _fast_path(agent)},
            "tunnels": _tunnels(agent, topology, encrypts=config.encryption == "on"),
        },
        "devices": _devices(agent, config, super_packets, kernel_drops),
        "kernel": _kernel(agent, config, kernel_drops[""], fabric.kernel_drops),
        "fabric": {
            "address": topology.hosts[config.host].underlay,
            "offloads": agent.fabric.offloads(),
            **asdict(fabric),
            "balanced": fabric.balanced,
        },
        "left_for_internet": agent.edge.left,
        "too_late": agent.edge.late,
        "privileges": privileges.as_dict(),
        "hints": [asdict(hint) for hint in hints_of(agent, topology)],
    }


def offloads_of(agent: Agent) -> dict[str, dict[str, Offload]]:
    """Every offload of a host, by where it is: a VM's device, or the fabric."""
    places = {f"{device.name} of {vm}": device.offloads() for vm, device in agent.devices.items()}
    return {"card": {"fast_path": _fast_path(agent)}, "fabric": agent.fabric.offloads(), **places}


def _io_path(agent: Agent) -> str:
    """How packets get in and out, in a few words: two runs are comparable only when these are the same."""
    fabric = agent.fabric.offloads()
    merges = all(device.merges for device in agent.devices.values())
    on = [name for name, key in (("GSO", "udp_gso"), ("GRO", "udp_gro")) if fabric[key]["state"] == "on"]
    loop = "interpreted" if agent.interpreted or agent.shows_bytes else "compiled"
    return f"TUN {'super-packets' if merges else 'packets'}, UDP {'+'.join(on) or 'datagrams'}, {loop}"


def _fast_path(agent: Agent) -> Offload:
    """Whether compiled code carries the packets of known flows."""
    reason = agent.interpreted or (_CAPTURED if agent.shows_bytes else "")
    return {"state": "off" if reason else "on", "reason": reason}


def _tunnels(agent: Agent, topology: Topology, *, encrypts: bool) -> dict[str, Any]:
    card = agent.card
    counters = agent.links.statistics()
    tunnels: dict[str, Any] = card.status()["tunnels"]
    for peer, tunnel in tunnels.items():
        link = topology.link(card.host, peer)
        tunnel["cipher"] = CIPHER if encrypts and card.engine.backend.protects else NO_CIPHER
        tunnel["mtu"] = {
            "fabric": link.mtu,
            "path": agent.paths.known.get(peer),
            "inner_encrypted": card.inner_mtu(peer, encrypted=True),
            "inner_clear": card.inner_mtu(peer, encrypted=False),
        }
        active = card.tunnels[peer].active
        tunnel["keys_age_seconds"] = None if active is None else time.monotonic() - active.established_at
        tunnel["impairments"] = _impairments(link)
        tunnel["link"] = None
        if peer in counters:
            tunnel["link"] = {**asdict(counters[peer]), "balanced": counters[peer].balanced}
    return tunnels


def _impairments(link: Link) -> dict[str, float]:
    """What is done to the datagrams of a link, in seconds, shares and bit/s."""
    found = {
        name: getattr(link, name)
        for name in ("jitter", "loss", "reorder", "duplicate", "corrupt", "ecn_mark", "rate")
        if getattr(link, name)
    }
    return {"delay": link.delay, **found} if found or link.delay > DEFAULT_DELAY else {}


def _kernel(agent: Agent, config: HostConfig, drops: KernelDrops, counted: int) -> dict[str, Any]:
    """What the kernel has dropped in the host's own namespace, VMs' devices aside.

    What the buffers of the card's sockets had no room for is counted there.
    """
    sockets = drops.of_sockets()
    sockets["udp_receive_buffer"] = max(sockets["udp_receive_buffer"] - counted, 0)
    shared = [agent.devices[each.vm].name for each in config.vms if each.netns is None]
    return {"queues": drops.of_interfaces(but=shared), "sockets": sockets, "unknown": drops.unknown}


def _inside(device: str, own: KernelDrops, drops: KernelDrops | None) -> dict[str, Any]:
    """Likewise of a VM; one that shares the host's namespace has a device of its own there, and no sockets."""
    if drops is None:
        return {"queues": own.of_interface(device), "sockets": {}, "unknown": own.unknown}
    return {
        "queues": drops.of_interface(device),
        "sockets": drops.of_sockets(),
        "unknown": drops.unknown,
    }


def _devices(
    agent: Agent,
    config: HostConfig,
    super_packets: Mapping[str, str],
    kernel_drops: Mapping[str, KernelDrops],
) -> dict[str, Any]:
    places = {each.vm: each.netns for each in config.vms}
    return {
        vm: {
            "device": device.name,
            "netns": places[vm],
            "gone": device.gone,
            "offloads": device.offloads(),
            "super_packet_limit": super_packets[vm] or "set",
            "kernel": _inside(device.name, kernel_drops[""], kernel_drops.get(vm)),
            **asdict(device.statistics()),
            "balanced": device.statistics().balanced,
        }
        for vm, device in agent.devices.items()
    }
