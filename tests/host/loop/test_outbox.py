"""What leaves together is what was put in, in order, in shapes that one send takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.fabric.offload import MAX_SEND_BYTES, MAX_SEND_SEGMENTS
from dtls_emu.host.loop.outbox import MAX_COPY, Outbox
from dtls_emu.nic.effects import Transmit
from dtls_emu.wire.burst import Burst


PEER = ("192.0.2.2", 4433)
OTHER = ("192.0.2.3", 4433)


class Sent:
    """What an outbox has sent: each send's rows, and from where to where."""

    def __init__(self):
        self.sends = []
        self.outbox = Outbox(self.take)

    def take(self, effect):
        burst = effect.burst
        wire = burst.wire.tobytes()
        rows = [row.tobytes() for row in burst.rows()]
        assert b"".join(rows) == wire
        self.sends.append((effect.source_port, effect.destination, rows))

    def put(self, *sizes, port=50_000, to=PEER, fill=0):
        """One burst with rows of these sizes."""
        rows = [bytes([(fill + index) % 256]) * size for index, size in enumerate(sizes)]
        self.outbox.put(Transmit(Burst.from_packets(rows), port, to))
        return rows

    @property
    def shapes(self):
        return [[len(row) for row in rows] for _, _, rows in self.sends]


@pytest.fixture
def sent():
    """A fresh outbox."""
    return Sent()


def test_bursts_of_one_turn_leave_together(sent):
    """As long as rows have one size; a shorter one can only be the last."""
    sent.put(100)
    sent.put(100, 100)
    assert sent.sends == []
    sent.put(100, 60)
    assert sent.shapes == [[100, 100, 100, 100, 60]]
    sent.outbox.flush()
    assert len(sent.sends) == 1


def test_a_lone_datagram_leaves_when_the_turn_ends(sent):
    """As it is, and once."""
    rows = sent.put(77)
    sent.outbox.flush()
    sent.outbox.flush()
    assert sent.sends == [(50_000, PEER, rows)]


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
    sent.outbox.flush()
    assert sent.shapes == [[100], list(sizes)]


@pytest.mark.parametrize("change", [{"port": 50_001}, {"to": OTHER}])
def test_another_address_begins_a_send_of_its_own(sent, change):
    """Whatever port it comes from, or goes to."""
    sent.put(100)
    sent.put(100, **change)
    sent.outbox.flush()
    assert [(port, to) for port, to, _ in sent.sends] == [
        (50_000, PEER),
        (change.get("port", 50_000), change.get("to", PEER)),
    ]


def test_no_more_leave_together_than_one_send_takes(sent):
    """64 datagrams, and 65,507 bytes."""
    for _ in range(MAX_SEND_SEGMENTS + 1):
        sent.put(50)
    assert sent.shapes == [[50] * MAX_SEND_SEGMENTS]
    sent.outbox.flush()
    sent.sends.clear()
    for _ in range(5):
        sent.put(*[1400] * 20)
    sent.outbox.flush()
    assert [len(shape) for shape in sent.shapes] == [40, 40, 20]
    assert 40 * 1400 <= MAX_SEND_BYTES < 60 * 1400


def test_a_burst_that_nearly_fills_a_send_goes_at_once_and_uncopied():
    """Behind what came before it."""
    effects = []
    outbox = Outbox(lambda effect: effects.append((effect.burst.count, effect.burst.buffer)))
    small = Transmit(Burst.from_packets([bytes(100)]), 1, PEER)
    large = Transmit(Burst.from_packets([bytes(1400)] * (MAX_COPY // 1400 + 1)), 1, PEER)
    outbox.put(small)
    outbox.put(large)
    assert [count for count, _ in effects] == [1, MAX_COPY // 1400 + 1]
    assert effects[1][1] is large.burst.buffer


def test_what_was_put_in_may_be_overwritten_at_once(sent):
    """A card uses its memory again."""
    burst = Burst.from_packets([b"first"])
    sent.outbox.put(Transmit(burst, 1, PEER))
    burst.buffer[:] = np.frombuffer(b"again", np.uint8)
    sent.outbox.flush()
    assert sent.sends == [(1, PEER, [b"first"])]


BURSTS = st.tuples(
    st.sampled_from([40, 100, 100, 1400]),
    st.integers(1, MAX_SEND_SEGMENTS),
    st.integers(1, 40),
    st.sampled_from([50_000, 50_000, 50_001]),
    st.booleans(),
)


@given(st.lists(BURSTS, max_size=40))
def test_nothing_is_lost_changed_or_overtaken(bursts):
    """Whatever is put in, with a flush or not."""
    sent = Sent()
    expected = []
    for number, (size, count, last, port, flush) in enumerate(bursts):
        count = min(count, MAX_SEND_BYTES // size)  # noqa: PLW2901
        sizes = [size] * (count - 1) + [min(last, size)]
        expected += [(port, row) for row in sent.put(*sizes, port=port, fill=number)]
        if flush:
            sent.outbox.flush()
    sent.outbox.flush()
    assert [(port, row) for port, _, rows in sent.sends for row in rows] == expected
    for shape in sent.shapes:
        assert len(shape) <= MAX_SEND_SEGMENTS
        assert sum(shape) <= MAX_SEND_BYTES
        assert set(shape[:-1]) <= {shape[0]}
        assert shape[-1] <= shape[0]
