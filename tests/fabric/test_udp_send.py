"""What leaves together is what was put in, in order, in shapes that one send takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.fabric.offload import MAX_SEND_BYTES, MAX_SEND_SEGMENTS
from dtls_emu.fabric.socket_address import pull_socket_address
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.fabric.udp_send import MAX_COPY
from dtls_emu.nic.effects import Transmit
from dtls_emu.testing.system_calls import Kernel
from dtls_emu.wire.burst import Burst


LOOPBACK = "127.0.0.1"
PEER = (LOOPBACK, 9)
OTHER = (LOOPBACK, 7)


class Sent:
    """What a fabric has sent: each send's rows, and from where to where. Nobody receives it.

    Fields:
        ports: two that are open.
    """

    def __init__(self):
        self.sends = []
        self.taken = 0
        self.kernel = Kernel()
        self.kernel.on_send = self.take
        self.fabric = UdpFabric(LOOPBACK, calls=self.kernel.calls)
        self.fabric.sender.state["resume_at"] = 0  # also where this kernel has no UDP_SEGMENT
        self.ports = [self.fabric.open_port(0) for _ in range(2)]

    def take(self, send):
        name = send.name.ljust(28, b"\0")
        (port,) = (port for port, file in self.fabric.ports.items() if file == send.file)
        self.taken += len(send.rows)
        self.sends.append((self.ports.index(port), pull_socket_address(name), send.rows))
        return 0

    def put(self, *sizes, port=0, to=PEER, fill=0, tos=0):
        """One burst with rows of these sizes."""
        rows = [bytes([(fill + index) % 256]) * size for index, size in enumerate(sizes)]
        burst = Burst.from_packets(rows)
        burst.tos = tos
        self.fabric.put(Transmit(burst, self.ports[port], to))
        return rows

    @property
    def shapes(self):
        return [[len(row) for row in rows] for _, _, rows in self.sends]


@pytest.fixture
def sent():
    """A fabric that has sent nothing yet; its counters are checked at the end."""
    sent = Sent()
    with sent.fabric as fabric:
        yield sent
    statistics = fabric.statistics()
    assert statistics.balanced
    assert statistics.offered == sent.taken


def test_bursts_of_one_turn_leave_together(sent):
    """As long as rows have one size; a shorter one can only be the last."""
    sent.put(100)
    sent.put(100, 100)
    assert sent.sends == []
    sent.put(100, 60)
    assert sent.shapes == [[100, 100, 100, 100, 60]]
    sent.fabric.flush()
    assert len(sent.sends) == 1


def test_a_lone_datagram_leaves_when_the_turn_ends(sent):
    """As it is, and once."""
    rows = sent.put(77)
    sent.fabric.flush()
    sent.fabric.flush()
    assert sent.sends == [(0, PEER, rows)]


def test_a_shorter_lone_datagram_ends_what_stands_before_it(sent):
    """An acknowledgement behind data, to the same peer."""
    sent.put(100, 100)
    sent.put(40)
    assert sent.shapes == [[100, 100, 40]]


@pytest.mark.parametrize("sizes", [(120,), (90, 90)])
def test_another_size_begins_a_send_of_its_own(sent, sizes):
    """Longer rows, or several that are shorter."""
    sent.put(100)
    sent.put(*sizes)
    sent.fabric.flush()
    assert sent.shapes == [[100], list(sizes)]


@pytest.mark.parametrize("change", [{"port": 1}, {"to": OTHER}, {"tos": 2}], ids=str)
def test_another_address_begins_a_send_of_its_own(sent, change):
    """Whatever port it comes from, or goes to, or with what type of service."""
    sent.put(100)
    sent.put(100, **change)
    sent.fabric.flush()
    assert [(port, to) for port, to, _ in sent.sends] == [
        (0, PEER),
        (change.get("port", 0), change.get("to", PEER)),
    ]


@pytest.mark.parametrize("closed", [0, 1])
def test_what_waits_is_sent_before_a_port_closes(sent, closed):
    """Whichever port it is."""
    rows = sent.put(100)
    sent.fabric.close_port(sent.ports[closed])
    assert sent.sends == [(0, PEER, rows)]


def test_no_more_leave_together_than_one_send_takes(sent):
    """64 datagrams, and 65,507 bytes."""
    for _ in range(MAX_SEND_SEGMENTS + 1):
        sent.put(50)
    assert sent.shapes == [[50] * MAX_SEND_SEGMENTS]
    sent.fabric.flush()
    sent.sends.clear()
    for _ in range(5):
        sent.put(*[1400] * 20)
    sent.fabric.flush()
    assert [len(shape) for shape in sent.shapes] == [40, 40, 20]
    assert 40 * 1400 <= MAX_SEND_BYTES < 60 * 1400


def test_a_burst_that_nearly_fills_a_send_goes_at_once(sent):
    """Behind what came before it."""
    small, large = [100], [1400] * (MAX_COPY // 1400 + 1)
    sent.put(*small)
    sent.put(*large)
    assert sent.shapes == [small, large]


@pytest.mark.parametrize("count", [65, 128, 200])
def test_a_burst_that_is_too_much_for_one_send_goes_in_several(sent, count):
    """Of 64 datagrams, and 65,507 bytes, at most."""
    rows = sent.put(*[1000] * count)
    sent.fabric.flush()
    assert [row for _, _, each in sent.sends for row in each] == rows
    assert all(len(shape) <= MAX_SEND_SEGMENTS for shape in sent.shapes)
    assert len(sent.shapes) == -(-count // MAX_SEND_SEGMENTS)


def test_what_was_put_in_may_be_overwritten_at_once(sent):
    """A card uses its memory again."""
    burst = Burst.from_packets([b"first"])
    sent.fabric.put(Transmit(burst, sent.ports[0], PEER))
    burst.buffer[:] = np.frombuffer(b"again", np.uint8)
    sent.fabric.flush()
    assert sent.sends == [(0, PEER, [b"first"])]


BURSTS = st.tuples(
    st.sampled_from([40, 100, 100, 1400]),
    st.integers(1, MAX_SEND_SEGMENTS),
    st.integers(1, 40),
    st.sampled_from([0, 0, 1]),
    st.booleans(),
)


@given(st.lists(BURSTS, max_size=40))
def test_nothing_is_lost_changed_or_overtaken(bursts):
    """Whatever is put in, with a flush or not."""
    sent = Sent()
    expected = []
    with sent.fabric:
        for number, (size, count, last, port, flush) in enumerate(bursts):
            count = min(count, MAX_SEND_BYTES // size)  # noqa: PLW2901
            sizes = [size] * (count - 1) + [min(last, size)]
            expected += [(port, row) for row in sent.put(*sizes, port=port, fill=number)]
            if flush:
                sent.fabric.flush()
        sent.fabric.flush()
    assert [(port, row) for port, _, rows in sent.sends for row in rows] == expected
    for shape in sent.shapes:
        assert len(shape) <= MAX_SEND_SEGMENTS
        assert sum(shape) <= MAX_SEND_BYTES
        assert set(shape[:-1]) <= {shape[0]}
        assert shape[-1] <= shape[0]
