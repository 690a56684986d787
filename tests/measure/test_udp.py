"""The path over UDP, on real cards and sockets in two processes, and how both ends' books are put together."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.arms import encrypted_pair
from dtls_emu.measure.packets import rows_per_burst
from dtls_emu.measure.sample import Accounting
from dtls_emu.measure.source import Load
from dtls_emu.measure.udp import UdpTestbed, _underlays, reconcile
from dtls_emu.measure.udp_worker import EndReport, _End, window
from dtls_emu.testing.present import present
from dtls_emu.tunnel.ports import DYNAMIC_PORTS
from dtls_emu.vocabulary import DropReason


def report(offered=0, delivered=0, dropped=None, kernel_drops=0):
    """What an end counted."""
    return EndReport(offered, 0, delivered, 0, dropped or {}, kernel_drops, 0.0, 1.0, 0.5)


@pytest.mark.parametrize("offload", [pytest.param(True, marks=pytest.mark.udp_offload), False])
def test_every_packet_crosses_and_is_accounted_for(topology, offload):
    """A handshake and then whole bursts over loopback, in clear and encrypted, small and jumbo."""
    with UdpTestbed(
        topology, encrypted_pair(topology), ("plain", "cryptography"), offload=offload
    ) as testbed:
        assert testbed.offloads["udp_gso"]["state"] == ("on" if offload else "off")
        for arm in ("plain", "cryptography"):
            for size in (64, 1400, 8900):
                sample = testbed.measure(Load(arm, size, 0.005))
                sample.accounting.check(f"{arm}, {size}")
                assert sample.accounting.offered >= rows_per_burst(size)
                assert sample.octets == sample.accounting.delivered * size
                assert min(sample.wall_s, sample.sender_cpu_s, sample.receiver_cpu_s) > 0


def test_on_a_schedule_packets_are_timed_from_when_they_were_due(topology):
    """Across two processes, which share the machine's clock; what the receiver cannot take is lost and counted."""
    with UdpTestbed(topology, encrypted_pair(topology), ("cryptography",), offload=False) as testbed:
        testbed.measure(Load("cryptography", 64, 0.005))
        sample = testbed.measure(Load("cryptography", 128, 0.05, burst=2, flows=2, rate=2_000))
    sample.accounting.check("trial")
    assert sample.accounting.offered == 100
    delays = present(sample.delays)
    assert delays.count == sample.accounting.delivered
    assert delays.early == 0


def test_ports_that_other_programs_have_void_no_trial(topology):
    """The handshake of an arm goes on from the next port, and its first datagram is no packet of the trial."""
    with ExitStack() as stack:
        for address in _underlays(2):  # of the second arm
            for port in range(DYNAMIC_PORTS.start, DYNAMIC_PORTS.start + 3):
                program = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                program.bind((address, port))
        arms = ("plain", "cryptography")
        testbed = stack.enter_context(UdpTestbed(topology, encrypted_pair(topology), arms, offload=False))
        sample = testbed.measure(Load("cryptography", 64, 0.005))
        assert sample.accounting.offered == sample.accounting.delivered > 0
        sample.accounting.check("trial")


def test_a_backend_that_is_not_there_is_said_by_the_process(topology):
    """The reason crosses the pipe, and both processes are gone."""
    with pytest.raises(DtlsEmuError, match="no backend is called 'nonsense'"):
        UdpTestbed(topology, encrypted_pair(topology), ("nonsense",), offload=False)


def test_closing_twice_is_harmless(topology):
    """As everything that can be closed; both processes are gone."""
    testbed = UdpTestbed(topology, encrypted_pair(topology), ("plain",), offload=False)
    processes = [each._process for each in testbed._processes]
    assert [process.poll() for process in processes] == [None, None]
    testbed.close()
    testbed.close()
    assert [process.returncode for process in processes] == [0, 0]


def test_a_script_needs_no_guard(tmp_path):
    """As it stands in the package's own documentation: a program without `if __name__ == "__main__"`."""
    script = tmp_path / "script.py"
    script.write_text(
        """
from dtls_emu.measure.benchmark import benchmark
from dtls_emu.measure.plan import BenchPath, Plan

plan = Plan(
    1, suites=("throughput",), backends=("null",), paths=(BenchPath.UDP_SINGLE,), sizes=(256,), rounds=1, trial_s=0.005
)
print(len(benchmark("two-vms", plan).sections[0].trials))
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_books_of_a_lossless_trial():
    """Everything that was offered was delivered."""
    assert reconcile(report(offered=100), report(delivered=100)) == Accounting(100, 100)


def test_drops_of_both_ends_are_added_up():
    """By reason."""
    accounting = reconcile(
        report(100, dropped={"too_big": 3, "late": 1}), report(delivered=94, dropped={"late": 2})
    )
    assert accounting == Accounting(100, 94, {"too_big": 3, "late": 3})


@pytest.mark.parametrize(("missing", "kernel_drops"), [(1, 1), (64, 1), (70, 2), (128, 2)])
def test_what_the_kernel_says_it_dropped_is_the_socket_buffers(missing, kernel_drops):
    """A merged receive counts once and is up to 64 packets."""
    accounting = reconcile(report(200), report(delivered=200 - missing, kernel_drops=kernel_drops))
    assert accounting == Accounting(200, 200 - missing, {"socket_buffer": missing})
    accounting.check("trial")


@pytest.mark.parametrize(("missing", "kernel_drops"), [(1, 0), (65, 1), (1, 2), (-1, 0), (0, 1)])
def test_what_the_kernel_did_not_drop_stays_unaccounted_for(missing, kernel_drops):
    """More than it can be, less than it must be, or packets out of thin air."""
    accounting = reconcile(report(200), report(delivered=200 - missing, kernel_drops=kernel_drops))
    assert accounting.unaccounted == missing


def test_window_fits_half_of_the_socket_buffer_but_moves_at_least_one_burst():
    """A datagram is charged twice its size and 1 KB; a small buffer must not stop the trial."""
    assert window(2 * 100 * (2 * 1459 + 1024), 1400, 44) == 100
    assert window(1, 1400, 44) == 44
    assert window(1 << 30, 64, 64) == 32 * 64


def test_what_a_repeated_flight_leaves_is_no_packet_of_a_trial():
    """A stalled process repeats its flight, and its records come when the handshake is over: they void no trial."""
    late = {DropReason.WRONG_EPOCH: 5, DropReason.UNEXPECTED_CONTENT: 1, DropReason.HANDSHAKE_NOISE: 2}
    counters = SimpleNamespace(counters=SimpleNamespace(dropped=late | {DropReason.AUTH_FAILED: 3}))
    nothing = SimpleNamespace(counters=SimpleNamespace(dropped={}))
    end: Any = SimpleNamespace(
        card=SimpleNamespace(egress=nothing, ingress=counters),
        fabric=SimpleNamespace(statistics=lambda: SimpleNamespace(dropped={DropReason.SOCKET_BUFFER: 4})),
    )
    assert _End.dropped(end) == {"auth_failed": 3, "socket_buffer": 4}
