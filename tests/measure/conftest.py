"""Testbeds whose answers are known: no cards, no clock, no noise but what a test asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest

from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Link, Network, Topology, Vm
from dtls_emu.measure.fragments import Mix, MixSample, run_fragments
from dtls_emu.measure.handshakes import run_handshakes
from dtls_emu.measure.plan import BenchPath, Plan
from dtls_emu.measure.result import BackendState, OffloadState, Start
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.summary import conclude
from dtls_emu.measure.trials import run_trials
from dtls_emu.vocabulary import Enforcement


US_PER_PACKET = {"plain": 1.0, "plain-again": 1.0, "null": 1.25, "ipsec-mb": 1.6}
BACKENDS = ("null", "ipsec-mb")


class FakeTestbed:
    """A packet takes ``US_PER_PACKET`` of its arm, times a drift that grows with every trial."""

    def __init__(self, *, drift: float = 0.0, interrupt_at: int | None = None, lose: int = 0) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.drift = drift
        self.interrupt_at = interrupt_at
        self.lose = lose

    def measure(self, arm: str, size: int, packets: int) -> Sample:
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls.append((arm, size, packets))
        seconds = packets * US_PER_PACKET[arm] / 1e6 * (1 + self.drift * len(self.calls))
        delivered = packets - self.lose
        return Sample(
            Accounting(packets, delivered, {"socket_buffer": self.lose} if self.lose else {}),
            octets=delivered * size,
            wall_s=seconds,
            sender_cpu_s=seconds / 2,
            receiver_cpu_s=seconds / 4,
        )


class FakeFragmentTestbed:
    """A whole packet takes 1000 ns, a rejection 25 or, scattered, 500; a ``leak`` of fragments passes."""

    def __init__(self, *, leak: int = 0, refuse: int = 0, interrupt_at: int | None = None) -> None:
        self.calls = 0
        self.leak = leak
        self.refuse = refuse
        self.interrupt_at = interrupt_at

    def reject_shapes(self) -> dict[str, int]:
        return {"IPv4 first": 64, "IPv6 atomic": 64}

    def measure_mix(self, mix: Mix, whole: int) -> MixSample:
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls += 1
        fragments = round(whole * mix.share / (1 - mix.share))
        wall_s = (whole * 1000 + fragments * (500 if mix.layout == "scattered" else 25)) / 1e9
        return MixSample(whole, whole - self.refuse, fragments, fragments - min(self.leak, fragments), wall_s)


class FakeHandshakeTestbed:
    """A handshake takes 1.5 ms of CPU, and pyOpenSSL alone 1 ms, both times a drift."""

    backend = "ipsec-mb"

    def __init__(self, *, interrupt_at: int | None = None, memory: int | None = 20_000) -> None:
        self.calls = 0
        self.interrupt_at = interrupt_at
        self.memory = memory

    def shake_hands(self, count: int) -> float:
        if self.calls == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls += 1
        return count * 0.0015 * (1 + self.calls / 10)

    def shake_bare_hands(self, count: int) -> float:
        return count * 0.001 * (1 + self.calls / 10)

    def idle_bytes(self) -> int | None:
        return self.memory


def silent(done: int, total: int, what: str) -> None:
    """No progress."""


def start(plan: Plan) -> Start:
    """What a run on this machine would say before it began."""
    on = OffloadState(on=True, reason="")
    off = OffloadState(on=False, reason="switched off")
    return Start(
        started=datetime(2026, 11, 20, 11, 0, tzinfo=UTC),
        version="0.1.0",
        lab="two-vms",
        sender="vm-a on host-1",
        receiver="vm-b on host-2",
        plan=plan,
        backends=[
            BackendState(name="null", available=True, protects=False, detail="no cipher"),
            BackendState(name="ipsec-mb", available=True, protects=True, detail="libIPSec_MB 1.3.0, VAES"),
            BackendState(name="openssl", available=False, protects=None, detail="not installed"),
        ],
        offloads={
            BenchPath.UDP: {"udp_gso": on, "udp_gro": on},
            BenchPath.UDP_SINGLE: {"udp_gso": off, "udp_gro": off},
        },
        cores={"sender": 0, "receiver": 1},
        load_average=0.25,
        environment={"kernel": "6.1"},
    )


@pytest.fixture
def fake_testbed():
    """The class, to be made with the wanted faults."""
    return FakeTestbed


@pytest.fixture
def fake_fragment_testbed():
    """The class, to be made with the wanted faults."""
    return FakeFragmentTestbed


@pytest.fixture
def fake_handshake_testbed():
    """The class, to be made with the wanted faults."""
    return FakeHandshakeTestbed


@pytest.fixture
def result():
    """A complete result of fake trials."""
    plan = Plan(7, rounds=4)
    run = run_trials(plan, BACKENDS, dict.fromkeys(BenchPath, FakeTestbed()), silent)
    fragments = run_fragments(FakeFragmentTestbed(), plan, "ipsec-mb", 1400, silent)
    handshakes = run_handshakes(FakeHandshakeTestbed(), plan, silent)
    return conclude(start(plan), run, fragments, BACKENDS, handshake_run=handshakes, stolen_share=0.001)


def two_hosts(*, encrypted: bool = True) -> Topology:
    """Two VMs on two hosts, with IPv4 and IPv6."""
    prefixes = (ip_network("10.0.0.0/16"), ip_network("fd00::/64"))
    network = Network("blue", 7001, prefixes, encrypted, Enforcement.DROP_UNENCRYPTED, frozenset())
    vms = [
        Vm(
            name=f"vm-{letter}",
            host=f"host-{number}",
            network="blue",
            addresses=(ip_address(f"10.0.0.{3 + number}"), ip_address(f"fd00::{3 + number}")),
            mac=bytes((2, 0, 0, 0, 0, number)),
            size="Standard_D4_v5",
            size_capable=True,
            accelerated_networking=True,
            restarted=True,
            flow_table_ready=True,
            discovery=True,
            mtu=1500,
        )
        for number, letter in ((1, "a"), (2, "b"))
    ]
    return Topology(
        name="two",
        profile=PROFILES["current"],
        seed=1,
        networks=[network],
        hosts=[
            Host(f"host-{number}", f"192.0.2.{number}", "west", "auto", smartnic_present=True)
            for number in (1, 2)
        ],
        vms=vms,
        links=[],
        default_link=Link("host-1", "host-2", 1500, delay=0.01, loss=0.5, rate=1e6),
    )


@pytest.fixture
def topology():
    """Two VMs whose traffic is encrypted, over a slow and lossy link."""
    return two_hosts()


@pytest.fixture
def plain_topology():
    """The same two VMs in a network without encryption."""
    return two_hosts(encrypted=False)
