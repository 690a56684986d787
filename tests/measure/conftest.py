"""Testbeds whose answers are known: no cards, no clock, no noise but what a test asks for."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest

from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import DEFAULT_LINK_MTU, Host, Link, Network, Topology, Vm
from dtls_emu.measure.fragments import Mix, MixSample
from dtls_emu.measure.plan import BenchPath, Extent, Plan
from dtls_emu.measure.records.base import Stopped
from dtls_emu.measure.result import BackendState, End, OffloadState, Result, Start
from dtls_emu.measure.result import Load as LoadRecord
from dtls_emu.measure.sample import Accounting, Sample
from dtls_emu.measure.suites.fragments import run_fragments
from dtls_emu.measure.suites.handshake import run_handshakes
from dtls_emu.measure.suites.registry import suite_named
from dtls_emu.measure.suites.throughput import conclude
from dtls_emu.measure.trials import run_trials
from dtls_emu.testing.present import present
from dtls_emu.vocabulary import Enforcement


if TYPE_CHECKING:
    from dtls_emu.measure.source import Load


US_PER_PACKET = {"plain": 1.0, "plain-again": 1.0, "null": 1.25, "ipsec-mb": 1.6}
BACKENDS = ("null", "ipsec-mb")
QUIET = LoadRecord(load_average=0.25, pressure_share=0.01)
EXTENT = Extent(tuple(BenchPath), (64, 1400), rounds=6, trial_s=0.1)


class FakeTestbed:
    """A packet takes ``US_PER_PACKET`` of its arm, times a drift that grows with every trial."""

    def __init__(
        self, *, drift: float = 0.0, interrupt_at: int | None = None, lose: int = 0, stretch: float = 1.0
    ) -> None:
        self.calls: list[Load] = []
        self.drift = drift
        self.interrupt_at = interrupt_at
        self.lose = lose
        self.stretch = stretch

    def measure(self, load: Load) -> Sample:
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls.append(load)
        seconds = load.seconds * self.stretch
        cost = US_PER_PACKET[load.arm] / 1e6 * (1 + self.drift * len(self.calls))
        packets = round(seconds / cost)
        delivered = packets - self.lose
        return Sample(
            Accounting(packets, delivered, {"socket_buffer": self.lose} if self.lose else {}),
            octets=delivered * load.size,
            wall_s=packets * cost,
            sender_cpu_s=packets * cost / 2,
            receiver_cpu_s=packets * cost / 4,
            lasted_s=seconds,
        )


class FakeFragmentTestbed:
    """A whole packet takes 1000 ns, a rejection 25 or, scattered, 500; a ``leak`` of fragments passes."""

    def __init__(
        self, *, leak: int = 0, refuse: int = 0, interrupt_at: int | None = None, encrypts: bool = True
    ) -> None:
        self.calls: list[tuple[Mix, float]] = []
        self.leak = leak
        self.refuse = refuse
        self.interrupt_at = interrupt_at
        self.encrypts = encrypts

    def reject_shapes(self) -> dict[str, int]:
        return {"IPv4 first": 64, "IPv6 atomic": 64}

    def measure_mix(self, mix: Mix, seconds: float) -> MixSample:
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls.append((mix, seconds))
        cost = 500 if mix.layout == "scattered" else 25
        each = (1 - mix.share) * 1000 + mix.share * cost
        packets = round(seconds * 1e9 / each)
        fragments = round(packets * mix.share)
        whole = packets - fragments
        passed = min(self.leak, fragments) if self.encrypts else fragments
        return MixSample(
            whole,
            whole - min(self.refuse, whole),
            fragments,
            fragments - passed,
            passed,
            (whole * 1000 + fragments * cost) / 1e9,
            self.encrypts,
        )


class FakeHandshakeTestbed:
    """A handshake takes 1.5 ms of CPU, and pyOpenSSL alone 1 ms, both times a drift."""

    backend = "ipsec-mb"

    def __init__(self, *, interrupt_at: int | None = None, memory: int | None = 20_000) -> None:
        self.calls: list[str] = []
        self.interrupt_at = interrupt_at
        self.memory = memory

    def shake_hands(self, count: int) -> float:
        return self._shake("ours", count * 0.0015)

    def shake_bare_hands(self, count: int) -> float:
        return self._shake("bare", count * 0.001)

    def _shake(self, which: str, seconds: float) -> float:
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        self.calls.append(which)
        return seconds * (1 + len(self.calls) // 3 / 10)

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
        command=["bench"],
        lab="two-vms",
        lab_source="two-vms",
        sender="vm-a on host-1",
        receiver="vm-b on host-2",
        not_of_the_lab=[],
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
        load=QUIET,
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


def sections(extent=EXTENT):
    """What the suites conclude from fake trials."""
    plan = Plan(7)
    run = run_trials(plan, extent, BACKENDS, dict.fromkeys(BenchPath, FakeTestbed()), silent, seconds=60)
    fragments = run_fragments(
        {"plain": FakeFragmentTestbed(encrypts=False), "ipsec-mb": FakeFragmentTestbed()},
        extent,
        "ipsec-mb",
        silent,
        seed=7,
        seconds=60,
    )
    handshakes = run_handshakes(FakeHandshakeTestbed(), extent, silent, seed=7, seconds=60)
    return [conclude(run, extent, BACKENDS), present(fragments), present(handshakes)]


@pytest.fixture
def result():
    """A complete result of fake trials."""
    begun = start(Plan(7))
    found = sections()
    return Result(
        start=begun,
        sections=found,
        end=End(
            finished=datetime(2026, 11, 20, 11, 5, tzinfo=UTC),
            stopped=Stopped.COMPLETE,
            load=QUIET,
            stolen_share=0.001,
            skipped={},
            reading=[suite_named(each.suite).reading(each, begun) for each in found],
        ),
    )


def two_hosts(*, encrypted: bool = True, mtu: int = DEFAULT_LINK_MTU) -> Topology:
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
        default_link=Link("host-1", "host-2", mtu, delay=0.01, loss=0.5, rate=1e6),
    )


@pytest.fixture
def topology():
    """Two VMs whose traffic is encrypted, over a slow and lossy link."""
    return two_hosts()


@pytest.fixture
def small_path_topology():
    """The same over a fabric of 1500 bytes."""
    return two_hosts(mtu=1500)


@pytest.fixture
def plain_topology():
    """The same two VMs in a network without encryption."""
    return two_hosts(encrypted=False)
