"""What a running host says of itself: JSON types only, and nothing that is secret."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.host.hints import hints_of
from dtls_emu.lab.topology import DEFAULT_DELAY


if TYPE_CHECKING:
    from dtls_emu.fabric.offload import Offload
    from dtls_emu.host.running_host import RunningHost
    from dtls_emu.lab.topology import Link


__all__ = ["STATUS_VERSION", "describe", "offloads_of"]

STATUS_VERSION: Final = 1

CIPHER: Final = "AES-256-GCM"
NO_CIPHER: Final = "none"


def describe(host: RunningHost) -> dict[str, Any]:
    """Everything that ``dtls-emu status`` prints of one host."""
    agent, config = host.agent, host.config
    agent.look_at_paths()
    times = os.times()
    fabric = agent.fabric.statistics()
    return {
        "version": STATUS_VERSION,
        "run": config.run,
        "host": config.host,
        "pid": os.getpid(),
        "uptime_seconds": time.monotonic() - host.started_at,
        "cpu_seconds": {"user": times.user, "system": times.system},
        "ready": not agent.trouble,
        "trouble": agent.trouble,
        "encryption": config.encryption,
        "io_path": _io_path(host),
        "card": {
            **agent.card.status(),
            "offloads": {"fast_path": _fast_path(host)},
            "tunnels": _tunnels(host),
        },
        "devices": _devices(host),
        "fabric": {
            "address": host.topology.hosts[config.host].underlay,
            "offloads": agent.fabric.offloads(),
            **asdict(fabric),
            "balanced": fabric.balanced,
        },
        "left_for_internet": agent.edge.left,
        "too_late": agent.edge.late,
        "privileges": host.privileges.as_dict(),
        "hints": [asdict(hint) for hint in hints_of(agent, host.topology)],
    }


def offloads_of(host: RunningHost) -> dict[str, dict[str, Offload]]:
    """Every offload, by where it is: a VM's device, or the fabric."""
    agent = host.agent
    places = {f"{device.name} of {vm}": device.offloads() for vm, device in agent.devices.items()}
    return {"card": {"fast_path": _fast_path(host)}, "fabric": agent.fabric.offloads(), **places}


def _io_path(host: RunningHost) -> str:
    """How packets get in and out, in a few words: two runs are comparable only when these are the same."""
    fabric = host.agent.fabric.offloads()
    merges = all(device.merges for device in host.agent.devices.values())
    on = [name for name, key in (("GSO", "udp_gso"), ("GRO", "udp_gro")) if fabric[key]["state"] == "on"]
    way = "interpreted" if host.agent.interpreted else "compiled"
    return f"TUN {'super-packets' if merges else 'packets'}, UDP {'+'.join(on) or 'datagrams'}, {way}"


def _fast_path(host: RunningHost) -> Offload:
    """Whether compiled code carries the packets of known flows."""
    reason = host.agent.interpreted
    return {"state": "off" if reason else "on", "reason": reason}


def _tunnels(host: RunningHost) -> dict[str, Any]:
    card = host.agent.card
    books = host.agent.links.statistics()
    tunnels: dict[str, Any] = card.status()["tunnels"]
    for peer, tunnel in tunnels.items():
        link = host.topology.link(card.host, peer)
        encrypts = host.config.encryption == "on" and card.engine.backend.protects
        tunnel["cipher"] = CIPHER if encrypts else NO_CIPHER
        tunnel["mtu"] = {
            "fabric": link.mtu,
            "path": host.agent.paths.known.get(peer),
            "inner_encrypted": card.inner_mtu(peer, encrypted=True),
            "inner_clear": card.inner_mtu(peer, encrypted=False),
        }
        tunnel["impairments"] = _impairments(link)
        tunnel["link"] = None
        if peer in books:
            tunnel["link"] = {**asdict(books[peer]), "balanced": books[peer].balanced}
    return tunnels


def _impairments(link: Link) -> dict[str, float]:
    """What is done to the datagrams of a link, in seconds, shares and bit/s."""
    found = {
        name: getattr(link, name)
        for name in ("jitter", "loss", "reorder", "duplicate", "corrupt", "ecn_mark", "rate")
        if getattr(link, name)
    }
    return {"delay": link.delay, **found} if found or link.delay > DEFAULT_DELAY else {}


def _devices(host: RunningHost) -> dict[str, Any]:
    places = {each.vm: each.netns for each in host.config.vms}
    return {
        vm: {
            "device": device.name,
            "netns": places[vm],
            "gone": device.gone,
            "offloads": device.offloads(),
            "super_packet_limit": host.super_packets[vm] or "set",
            **asdict(device.statistics()),
            "balanced": device.statistics().balanced,
        }
        for vm, device in host.agent.devices.items()
    }
