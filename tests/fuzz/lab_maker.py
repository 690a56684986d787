"""Labs drawn from a seed: whatever a lab file can say, in small, and mostly something that works.

The way down: networks, hosts, VMs, knobs and links, traffic. A lab is a document, as YAML reads it.
"""

from __future__ import annotations

from random import Random
from typing import Any

from dtls_emu.lab.loader import EXAMPLES
from dtls_emu.vocabulary import Enforcement, FirstPacket, FragmentShape, Keying


__all__ = ["random_lab"]


def random_lab(seed: str) -> dict[str, Any]:
    """The document of a lab; the same for the same seed, on every machine."""
    rng = Random(f"lab {seed}")
    networks = _networks(rng)
    hosts = _hosts(rng)
    vms = _vms(rng, networks, list(hosts))
    lab: dict[str, Any] = {
        "name": f"random-{seed}",
        "seed": rng.randrange(1 << 31),
        "virtual_networks": {name: network for name, (network, _) in networks.items()},
        "hosts": hosts,
        "vms": vms,
        "overrides": _overrides(rng),
        "link_defaults": _link(rng),
    }
    names = list(hosts)
    if rng.random() < 0.3:
        one, two = rng.sample(names, 2)
        ends = {"between": [one, two]} if rng.random() < 0.5 else {"from": one, "to": two}
        lab["links"] = [{**ends, **_link(rng)}]
    lab["traffic"] = [
        _item(rng, f"item-{number}", number, vms) for number in range(rng.choice((1, 1, 2, 3, 5)))
    ]
    if rng.random() < 0.2:
        _wear_keys(rng, lab)
    if lab["overrides"].get("keying") == Keying.BROKER:
        for host in hosts.values():
            host.get("smartnic", {}).pop("backend", None)
    return lab


def _networks(rng: Random) -> dict[str, tuple[dict[str, Any], int]]:
    """Each network's entry, and the number in its prefixes."""
    networks = {}
    count = rng.choice((1, 1, 2, 3))
    for number in range(count):
        entry: dict[str, Any] = {
            "address_prefixes": [f"10.{number}.0.0/24", f"fd00:{number}::/64"],
            "vni": 5000 + number,
        }
        if rng.random() < 0.85:
            entry["encryption"] = {
                "enabled": rng.random() < 0.9,
                "enforcement": str(rng.choice(tuple(Enforcement))),
            }
        others = [f"n{other}" for other in range(count) if other != number and rng.random() < 0.5]
        if others:
            entry["peerings"] = others
        networks[f"n{number}"] = (entry, number)
    return networks


def _hosts(rng: Random) -> dict[str, dict[str, Any]]:
    version = rng.choice((4, 4, 6))
    hosts: dict[str, dict[str, Any]] = {}
    for number in range(rng.choice((2, 2, 3, 4))):
        entry: dict[str, Any] = {
            "underlay": f"192.0.2.{number + 1}" if version == 4 else f"2001:db8::{number + 1}"
        }
        card: dict[str, Any] = {}
        if rng.random() < 0.3:
            card["backend"] = rng.choice(("cryptography", "openssl", "null"))
        if rng.random() < 0.05:
            card["present"] = False
        if card:
            entry["smartnic"] = card
        if rng.random() < 0.2:
            entry["region"] = "westeurope"
        hosts[f"h{number}"] = entry
    return hosts


def _vms(
    rng: Random, networks: dict[str, tuple[dict[str, Any], int]], hosts: list[str]
) -> dict[str, dict[str, Any]]:
    vms: dict[str, dict[str, Any]] = {}
    for number in range(rng.choice((2, 2, 3, 4, 6))):
        network = rng.choice(list(networks))
        entry: dict[str, Any] = {
            # The first two are apart: most labs are about what is between hosts.
            "host": hosts[number] if number < 2 else rng.choice(hosts),
            "virtual_network": network,
            "address": f"10.{networks[network][1]}.0.{number + 4}",
            "address_v6": f"fd00:{networks[network][1]}::{number + 4:x}",
            "mtu": rng.choice((1280, 1500, 1500, 1500, 1500, 4000, 8900)),
        }
        if rng.random() < 0.12:
            entry["size"] = rng.choice(("Standard_B2s", "Standard_D2_v2"))
        for flag in ("accelerated_networking", "restarted_since_encryption", "flow_table_ready", "discovery"):
            if rng.random() < 0.03:
                entry[flag] = False
        vms[f"v{number}"] = entry
    return vms


def _link(rng: Random) -> dict[str, Any]:
    """Mostly good in most respects; sometimes dreadful."""
    badness = rng.choice((0.0, 0.2, 0.6))
    drawn = {
        "delay": rng.choice(("20us", "1ms", "5ms", "40ms", "300ms", "2s")),
        "jitter": rng.choice(("1ms", "30ms")),
        "loss": rng.choice(("0.5%", "5%", "20%", "60%", "100%")),
        "reorder": rng.choice(("1%", "10%", "50%")),
        "duplicate": rng.choice(("1%", "10%", "100%")),
        "corrupt": rng.choice(("1%", "10%", "50%")),
        "rate": rng.choice(("256kbit/s", "2Mbit/s", "100Mbit/s", "10Gbit/s")),
        "mtu": rng.choice((1400, 1500, 1587, 1650, 1650, 4000, 9216, 65_535)),
    }
    return {key: value for key, value in drawn.items() if rng.random() < badness}


def _wear_keys(rng: Random, lab: dict[str, Any]) -> None:
    """More packets than a key has records, over links on which making the next one may fail."""
    lab["overrides"]["rekey_records"] = rng.choice((16, 32, 64))
    lab["link_defaults"] |= {"loss": rng.choice(("20%", "40%", "60%")), "delay": rng.choice(("20us", "5ms"))}
    for item in lab["traffic"]:
        if item["kind"] == "udp":
            item |= {"count": rng.choice((150, 300)), "interval": rng.choice(("1us", "1ms", "20ms"))}


def _overrides(rng: Random) -> dict[str, Any]:
    drawn = {
        "first_packet": str(rng.choice(tuple(FirstPacket))),
        "icmp_too_big": rng.random() < 0.5,
        "replay_window": rng.choice((64, 128, 4096)),
        "waiting_packets": rng.choice((0, 1, 10, 100)),
        "link_queue": rng.choice((1, 10, 100)),
        "flow_table": rng.choice((1, 4, 50)),
        "keying": str(rng.choice(tuple(Keying))),
        "rekey_records": rng.choice((16, 32, 64, 500)),
        "rekey_seconds": rng.choice(("500ms", "2s", "20s")),
    }
    return {key: value for key, value in drawn.items() if rng.random() < 0.25}


def _item(rng: Random, name: str, number: int, vms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    source = rng.choice(list(vms))
    near = vms[source]
    other = rng.choice([vm for vm in vms if vm != source])
    kind = rng.choice(("ping", "udp", "udp", "udp", "bulk", "bulk", "pcap", "fragments"))
    version = rng.choice((4, 4, 6))
    item: dict[str, Any] = {"name": name, "kind": kind, "from": source}
    if rng.random() < 0.5:
        item["start"] = rng.choice(("1ms", "20ms", "1s", "3s", "20s"))
    if kind == "pcap":
        files = ["http.pcap", "dns.pcap", "icmp.pcap", "ipv6.pcap"]
        if min(near["mtu"], vms[other]["mtu"]) < 1500:
            files = ["dns.pcap", "icmp.pcap"]
        item["file"] = str(EXAMPLES / rng.choice(files))
        item |= {"rewrite": "none"} if rng.random() < 0.15 else {"to": other}
        return item
    # Nobody's, and the internet's.
    stray = {4: ["203.0.113.7", "10.0.0.200"], 6: ["2001:db8:7::7", "fd00:0::200"]}[version]
    item["to"] = rng.choice(stray) if rng.random() < 0.12 else other
    sizes = [size for size in (64, 100, 576, 1280, 1400, 1413, 1500, 4000, 8900) if size <= near["mtu"]]
    if kind == "fragments":
        shapes = [str(shape) for shape in FragmentShape if str(shape)[1] == str(version)]
        item |= {
            "shapes": rng.sample(shapes, rng.randrange(1, len(shapes) + 1)),
            "count": rng.choice((1, 5)),
            "size": rng.choice(sizes),
            "interval": rng.choice(("1us", "1ms", "1s")),
        }
        return item
    item["ip_version"] = version
    if kind == "bulk":
        item |= {"bytes": rng.choice((1, 2000, 50_000, 300_000)), "source_port": 41_000 + number}
        if rng.random() < 0.2:
            item["mss"] = rng.choice((64, 536, 1200))
        return item
    item |= {"size": rng.choice(sizes), "df": rng.random() < 0.7}
    item["interval"] = rng.choice(("1us", "100us", "1ms", "20ms", "100ms", "1s"))
    most = 40 if item["interval"] == "1s" else 400
    item["count"] = rng.choice((1, 3, 10) if kind == "ping" else (1, 10, min(60, most), min(150, most), most))
    if kind == "udp":
        item["flows"] = rng.choice((1, 1, 3, 40))
    return item
