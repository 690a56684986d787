"""How far one card and one lab go: ``python bench/scale.py [--tunnels N] [--flows N] [--hosts N] [--json]``.

Figures of this process alone, in CPU time, so that a busy machine spoils them least:

- a lab of 5,000 hosts and 20,000 VMs, compiled: seconds, and the most memory that it takes on the way;
- a million flows between two VMs: what the first packet of each takes on either card, and the memory of both;
- the same for flows to addresses that were never asked about, which the policy must decide each by itself;
- tunnels of one card: what a packet takes of its card when they are used in turn, beside one tunnel used all the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from statistics import median

from dtls_emu.cli.output import print_table
from dtls_emu.cli.streams import run_command
from dtls_emu.lab.compiling import compile_lab
from dtls_emu.measure.clouds import VMS_OF_A_HOST, cloud
from dtls_emu.measure.hub import HUB, Hub, Stream
from dtls_emu.measure.machine import one_core
from dtls_emu.measure.scaling import open_flows, open_tunnels, use_flows, use_tunnels


SIZE = 1_400
ROUNDS = 5


def main(arguments: list[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tunnels", type=int, default=4096)
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--addresses", type=int, default=20_000)
    parser.add_argument("--hosts", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    found = {
        "lab": compiled(chosen.hosts),
        "flows": many_flows(chosen.flows),
        "addresses": many_addresses(chosen.addresses),
        "tunnels": many_tunnels(chosen.tunnels),
    }
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        for name, figures in found.items():
            rows = [(key.replace("_", " "), f"{value:,.4g}") for key, value in figures.items()]
            print_table(name, ("figure", ">value"), rows)
    return 0


def compiled(hosts: int) -> dict[str, float]:
    """A hub-and-spoke cloud: every network is peered with the first."""
    lab = cloud(hosts)
    times = []
    for _ in range(3):
        started = time.thread_time()
        topology = compile_lab(lab)
        times.append(time.thread_time() - started)
    tracemalloc.start()
    kept = compile_lab(lab)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept.vms) == len(topology.vms) == hosts * VMS_OF_A_HOST
    return {
        "hosts": hosts,
        "vms": len(topology.vms),
        "networks": len(topology.networks),
        "compile_s": min(times),
        "held_mb": held / 1e6,
        "peak_mb": peak / 1e6,
    }


def many_flows(count: int) -> dict[str, float]:
    """Flows of one tunnel, between two VMs; then traffic in one of them, and in all in turn."""
    hub = Hub(1)
    hub.connect(1)
    open_flows(hub, 0, 1_000)
    opened = open_flows(hub, 1_000, count)
    loads = _in_turn([1, count], lambda flows: use_flows(hub, flows, size=SIZE, bursts=1_000, singles=0))
    assert len(hub.cards[HUB].egress.flows) >= count
    return {
        "flows": count,
        "first_packet_us_sender": opened.hub_s / count * 1e6,
        "first_packet_us_receiver": opened.peer_s / count * 1e6,
        "bytes_per_flow_and_card": opened.resident / count / 2,
        "gb_of_both_cards": opened.resident / 1e9,
        "ns_per_packet_in_one_flow": loads[1],
        "ns_per_packet_in_all_in_turn": loads[count],
        "throughput_kept": loads[1] / loads[count],
    }


def many_addresses(count: int) -> dict[str, float]:
    """Flows to as many public addresses: each is decided by itself, and leaves by the gateway."""
    hub = Hub(1, encrypted=False)
    hub.connect(1)
    stream = Stream(1, 64)
    card, times = hub.cards[HUB], []
    with one_core():
        for number in range(count):
            # From 64.0.0.0 on, counted as numbers of hosts are: what is beyond the bench is the internet.
            burst = stream.address(HUB, (64 << 24) - (10 << 24) + number)
            started = time.thread_time_ns()
            card.from_guest("hub", burst, 0.0)
            times.append(time.thread_time_ns() - started)
    assert card.egress.counters.gateway == count
    return {"addresses": count, "first_packet_us": median(times) / 1e3}


def many_tunnels(count: int) -> dict[str, float]:
    """As many cards around one; each tunnel is used in turn, in both directions."""
    hub = Hub(count)
    opened = open_tunnels(hub, 1, count)
    bursts = max(400, count)
    use_tunnels(hub, count, size=SIZE, bursts=2 * count, singles=0)  # every flow is in its tables
    loads = _in_turn(
        [1, count], lambda tunnels: use_tunnels(hub, tunnels, size=SIZE, bursts=bursts, singles=0)
    )
    return {
        "tunnels": count,
        "set_up_cpu_ms": opened.hub_s / count * 1e3,
        "kb_of_both_ends": opened.resident / count / 1e3,
        "ns_per_packet_of_one": loads[1],
        "ns_per_packet_of_all_in_turn": loads[count],
        "throughput_kept": loads[1] / loads[count],
    }


def _in_turn(numbers, use) -> dict[int, float]:
    """Nanoseconds of the hub for a packet, by number; the least of the rounds, which was disturbed least."""
    found: dict[int, list[float]] = {number: [] for number in numbers}
    for _ in range(ROUNDS):
        for number in numbers:
            load = use(number)
            found[number].append(load.hub_s / load.packets * 1e9)
    return {number: min(values) for number, values in found.items()}


if __name__ == "__main__":
    sys.exit(run_command(lambda: sys.exit(main(sys.argv[1:]))))
