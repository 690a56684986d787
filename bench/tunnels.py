"""Many tunnels on one card, a flood of hellos, and a rekey under load: ``python bench/tunnels.py [--json]``.

Real cards and real handshakes in one process, on a wire without delay, so the figures are those of one core that
does the work of both ends. Times are CPU times. Every packet is delivered, or the run is void.

A flood is made of hellos with a live peer's address and random ports and randoms: first without a cookie, as
from a spoofed address; then with a good one, as from somebody who reads what is sent there. A rekey happens
while one 64 KB burst follows the other; its datagrams travel one for each burst.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

from dtls_emu.cli.output import print_table
from dtls_emu.cli.streams import run_command
from dtls_emu.crypto.registry import resolve
from dtls_emu.measure.idle_tunnels import idle_tunnel_bytes
from dtls_emu.measure.machine import one_core, undisturbed
from dtls_emu.nic.effects import Deliver, Transmit
from dtls_emu.testing.star import HUB, Star
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.protocol import APPLICATION_DATA


SPOKE = "spoke-1"
TUNNEL_PORT = TunnelSettings().port
PACKETS, SIZE = 45, 1400
"""Of a burst: a 64 KB super-packet, cut."""

FLOOD_PORTS = range(1024, 49_152)
"""Those that no association has."""


def keys_of(tunnel: Any) -> Any:
    """Where a tunnel gets its keys: here, from handshakes."""
    return tunnel.key_source


def main(arguments: list[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tunnels", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the flood")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with one_core():
        found = {
            "tunnels": many_tunnels(chosen.tunnels),
            "flood": flood(Random(chosen.seed)),
            "rekey": rekey_under_load(),
        }
    if chosen.json:
        print(json.dumps(found, indent=1))
    else:
        for name, figures in found.items():
            print_table(
                name,
                ("figure", ">value"),
                [(key.replace("_", " "), number(value)) for key, value in figures.items()],
            )
    return 0


def many_tunnels(count: int) -> dict[str, float]:
    """Set up so many tunnels of one card, half of them from either side, and send through all of them."""
    Star(2).talk(HUB, SPOKE)  # compiled kernels and libraries are no tunnel's
    star = Star(count)
    started = time.thread_time()
    for index, name in enumerate(star.spokes):
        star.talk(*((HUB, name) if index % 2 else (name, HUB)))
    set_up_s = time.thread_time() - started
    carried_s = []
    for _ in range(3):
        started = time.thread_time()
        for name in star.spokes:
            star.talk(HUB, name, PACKETS, SIZE)
            star.talk(name, HUB, PACKETS, SIZE)
        carried_s.append(time.thread_time() - started)
    expected = count + 3 * 2 * PACKETS * count
    assert star.delivered.total() == expected, f"{star.delivered.total()} of {expected} packets arrived"
    assert all(card.balanced for card in star.cards.values())
    return {
        "tunnels": count,
        "handshakes_per_second": count / set_up_s,
        "handshake_cpu_ms": set_up_s / count * 1e3,
        # In a process of its own: a few tunnels here take up memory that others have freed, and seem to need none.
        "idle_end_kb": idle_tunnel_bytes(resolve().backend.name) / 1e3,
        "packets_per_second": 2 * PACKETS * count / min(carried_s),
    }


def flood(rng: Random) -> dict[str, float]:
    """Packets that the hub opens while hellos from spoofed ports come in, without a cookie and with a good one."""
    star = Star(1)
    star.talk(SPOKE, HUB)
    hub, spoke = star.cards[HUB], star.cards[SPOKE]
    address = star.underlay(SPOKE)
    hello = client_hello(star)
    packet = udp_burst(star, SPOKE, HUB)
    state = {"delivered": 0}
    free = rng.sample(FLOOD_PORTS, len(FLOOD_PORTS))

    def run(bursts: int, hellos: int, cookies: bool) -> float:
        """CPU seconds of the hub for so many bursts, each with so many hellos before it."""
        spent = 0.0
        for _ in range(bursts):
            ports = [free.pop() for _ in range(hellos)] if cookies else rng.choices(FLOOD_PORTS, k=hellos)
            forged = [forge(rng, hello) for _ in ports]
            if cookies:
                forged = [with_cookie(star, each, port) for each, port in zip(forged, ports, strict=True)]
            hostile = [Burst.from_packets([each]) for each in forged]
            (sealed,) = (
                each for each in spoke.from_guest(SPOKE, packet, star.now) if isinstance(each, Transmit)
            )
            with undisturbed():
                started = time.thread_time()
                for port, burst in zip(ports, hostile, strict=True):
                    hub.from_fabric(burst, (address, port), TUNNEL_PORT, star.now)
                effects = hub.from_fabric(
                    sealed.burst, (address, sealed.source_port), sealed.destination[1], star.now
                )
                spent += time.thread_time() - started
            state["delivered"] += sum(each.burst.packets for each in effects if isinstance(each, Deliver))
        return spent

    bursts, rounds = 20, 15
    cases = {"none": (0, False), "one a burst": (1, False)}
    run(bursts, 1, cookies=False)
    rows: dict[str, list[float]] = {name: [] for name in cases}
    offered = bursts
    for _ in range(rounds):
        for name, (hellos, cookies) in cases.items():
            rows[name].append(run(bursts, hellos, cookies))
            offered += bursts
    tunnel = hub.tunnels[SPOKE]
    assert not keys_of(tunnel).running, "nothing is remembered of a hello without a cookie"
    before = resident()
    with_good = run(bursts, PACKETS, cookies=True)
    offered += bursts
    attempts, grown = len(keys_of(tunnel).running), resident() - before
    assert state["delivered"] == PACKETS * offered, "a live tunnel loses nothing in a flood"
    quiet, loud = rows["none"], rows["one a burst"]
    cost_s = statistics.median(b - a for a, b in zip(quiet, loud, strict=True)) / bursts
    return {
        "packets_per_second_without": PACKETS * bursts / statistics.median(quiet),
        "spoofed_hello_cpu_us": cost_s * 1e6,
        "goodput_at_1000_hellos_per_second": 1 - cost_s * 1_000,
        "goodput_at_10000_hellos_per_second": 1 - cost_s * 10_000,
        f"goodput_with_a_hello_for_{PACKETS}_packets": statistics.median(
            a / b for a, b in zip(quiet, loud, strict=True)
        ),
        "hello_with_cookie_cpu_us": (with_good - statistics.median(quiet)) / (bursts * PACKETS) * 1e6,
        "half_open_attempts": attempts,
        "half_open_attempt_kb": grown / max(attempts, 1) / 1e3,
    }


def rekey_under_load() -> dict[str, float]:
    """Bursts all the time, and a rekey in the middle; its datagrams travel one for each burst."""
    star = Star(1)
    star.talk(HUB, SPOKE)
    cards = {name: star.cards[name] for name in (HUB, SPOKE)}
    burst = udp_burst(star, HUB, SPOKE)
    delivered = offered = 0
    quiet, during, longest = [], [], []

    def step(waiting: deque[tuple[str, Transmit]]) -> float:
        """One burst, and at most one datagram of the tunnel's own. Seconds."""
        nonlocal delivered, offered
        started = time.thread_time()
        for effect in cards[HUB].from_guest(HUB, burst, star.now):
            if isinstance(effect, Transmit) and effect.burst.buffer[effect.burst.offset] == APPLICATION_DATA:
                delivered += arrive(star, cards, HUB, effect, waiting)
            else:
                keep(HUB, [effect], waiting)
        if waiting:
            name, effect = waiting.popleft()
            delivered += arrive(star, cards, name, effect, waiting)
        offered += PACKETS
        return time.thread_time() - started

    idle: deque[tuple[str, Transmit]] = deque()
    for _ in range(200):
        step(idle)
    for _ in range(30):
        with undisturbed():
            calm = [step(idle) for _ in range(60)]
            waiting: deque[tuple[str, Transmit]] = deque()
            keep(HUB, cards[HUB].rekey(SPOKE, star.now), waiting)
            times = [step(waiting) for _ in range(60)]
        quiet.append(sum(calm))
        during.append(sum(times))
        longest.append(max(times) - statistics.median(calm))
        star.now += 60
        for name, card in cards.items():
            star.carry_out(name, card.handle_timeout(star.now))
    assert delivered == offered, f"{offered - delivered} packets were lost by a rekey"
    assert cards[HUB].tunnels[SPOKE].handshakes >= 30
    return {
        "rekeys": 30,
        "packets_lost": offered - delivered,
        "rekey_cpu_ms": statistics.median(b - a for a, b in zip(quiet, during, strict=True)) * 1e3,
        "throughput_of_60_bursts_around_it": statistics.median(
            a / b for a, b in zip(quiet, during, strict=True)
        ),
        "longest_pause_ms": statistics.median(longest) * 1e3,
    }


def arrive(star, cards, sender, effect, waiting) -> int:
    """A datagram or burst reaches the other card; packets that come out."""
    receiver = SPOKE if sender == HUB else HUB
    source = star.underlay(sender), effect.source_port
    effects = cards[receiver].from_fabric(effect.burst, source, effect.destination[1], star.now)
    keep(receiver, effects, waiting)
    return sum(each.burst.packets for each in effects if isinstance(each, Deliver))


def keep(sender, effects, waiting) -> None:
    """A card's datagrams wait for their turn, in memory of their own."""
    for effect in effects:
        if isinstance(effect, Transmit):
            for row in effect.burst.rows():
                burst = Burst.from_packets([row.tobytes()])
                waiting.append((sender, Transmit(burst, effect.source_port, effect.destination)))


def udp_burst(star: Star, source: str, destination: str) -> Burst:
    """A burst of packets from one VM to another."""
    ends = star._vms[source].addresses[0], star._vms[destination].addresses[0]
    return Burst.from_packets([udp_packet(*ends, 40_000, 9, bytes(SIZE - 28))] * PACKETS)


def client_hello(star: Star) -> bytes:
    """A first hello as the spoke would send it."""
    effects = star.cards[SPOKE].rekey(HUB, star.now)
    (hello,) = [each.burst.row(0).tobytes() for each in effects if isinstance(each, Transmit)]
    star.wait(star.now + 30)
    star.talk(SPOKE, HUB)
    return hello


def forge(rng: Random, hello: bytes) -> bytes:
    """Another random in it: record header 13, handshake header 12, version 2."""
    return hello[:27] + rng.randbytes(32) + hello[59:]


def with_cookie(star: Star, hello: bytes, port: int) -> bytes:
    """The second hello of a client that has seen the answer to its first."""
    effects = star.cards[HUB].from_fabric(
        Burst.from_packets([hello]), (star.underlay(SPOKE), port), TUNNEL_PORT, star.now
    )
    (answer,) = [each.burst.row(0).tobytes() for each in effects if isinstance(each, Transmit)]
    cookie = answer[28:]
    at = 59 + 1 + hello[59]  # behind the session id
    body = hello[25:at] + bytes((len(cookie),)) + cookie + hello[at + 1 :]
    length = len(body).to_bytes(3, "big")
    message = hello[13:14] + length + b"\0\1" + bytes(3) + length + body
    return hello[:5] + (1).to_bytes(6, "big") + len(message).to_bytes(2, "big") + message


def number(value: float) -> str:
    """Three digits, or all of a large one."""
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}"


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(run_command(lambda: sys.exit(main(sys.argv[1:]))))
