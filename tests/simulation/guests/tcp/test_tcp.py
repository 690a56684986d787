"""A bulk transfer between its two ends, over a wire whose every packet has a chosen fate."""

from __future__ import annotations

import heapq
import itertools
import random
from ipaddress import ip_address
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.guests.tcp import Payload, TcpFlow, TcpReceiver, TcpSender, TcpState
from dtls_emu.simulation.guests.tcp.sender import MAX_RETRANSMISSIONS
from dtls_emu.testing.present import present
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.headers import TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.parse import parse_packet_untrusted, pull_tcp_untrusted


A, B = ip_address("10.0.0.4"), ip_address("10.0.0.5")
DELAY = 0.005


class Transfer:
    """A sender at A, a guest that listens at B, and the wire between them.

    ``fate(sender, number, packet)`` gives the delays of the copies that arrive; rows of a burst that arrive
    together stay a burst.
    """

    def __init__(self, size, *, mss=1460, listens=True, fate=None, seed="payload"):
        flow = TcpFlow(A, B, 40000, 5201)
        self.payload = Payload(seed)
        self.sender = TcpSender(flow, self.payload, size, mss=mss, mark=2)
        self.guests = {"a": Guest([A], 1500), "b": Guest([B], 1500)}
        self.guests["a"].senders[flow] = self.sender
        if listens:
            self.guests["b"].listening.add(5201)
        self.now = 0.0
        self.sent: dict[str, list[bytes]] = {"a": [], "b": []}
        self._fate = fate or (lambda _who, _number, _packet: [DELAY])
        self._arrivals = []
        self._order = itertools.count()

    @property
    def receiver(self):
        (receiver,) = self.guests["b"].receivers.values()
        return receiver

    def run(self):
        self._put("a", self.sender.open(self.now))
        while self._arrivals or self.guests["a"].next_timeout() < inf:
            timeout = self.guests["a"].next_timeout()
            if self._arrivals and self._arrivals[0][0] <= timeout:
                self.now, _, who, packets = heapq.heappop(self._arrivals)
                self._put(who, self.guests[who].receive(Burst.from_packets(packets, mark=2), self.now))
            else:
                self.now = timeout
                self._put("a", self.guests["a"].handle_timeout(self.now))
        return self

    def _put(self, who, bursts):
        for burst in bursts:
            assert burst.count <= MAX_ROWS
            arriving: dict[float, list[bytes]] = {}
            for row in burst.rows():
                packet = row.tobytes()
                for delay in self._fate(who, len(self.sent[who]), packet):
                    arriving.setdefault(delay, []).append(packet)
                self.sent[who].append(packet)
            for delay, packets in arriving.items():
                for group in _bursts(packets):
                    to = "b" if who == "a" else "a"
                    heapq.heappush(self._arrivals, (self.now + delay, next(self._order), to, group))

    def assert_arrived(self, size):
        assert self.sender.state is TcpState.DONE, self.sender.failure
        assert (self.receiver.received, self.receiver.finished) == (size, True)
        assert self.receiver.digest() == self.payload.digest(size)


def _bursts(packets):
    groups: list[list[bytes]] = []
    for packet in packets:
        if groups and len(groups[-1][-1]) == len(groups[-1][0]) >= len(packet):
            groups[-1].append(packet)
        else:
            groups.append([packet])
    return groups


def segment_of(packet):
    return pull_tcp_untrusted(present(parse_packet_untrusted(packet)))


@pytest.mark.parametrize("size", [1, 1459, 1460, 1461, 65_000, 65_700, 300_000])
def test_every_byte_arrives_once_over_a_clean_wire(size):
    """Full segments but for the last, which has the FIN; nothing is sent twice."""
    transfer = Transfer(size).run()
    transfer.assert_arrived(size)
    data = [segment for segment in map(segment_of, transfer.sent["a"]) if segment.payload]
    assert sum(len(segment.payload) for segment in data) == size
    assert {len(segment.payload) for segment in data[:-1]} <= {1460}
    assert [bool(segment.flags & TCP_FIN) for segment in data] == [False] * (len(data) - 1) + [True]
    assert transfer.sender.retransmitted == 0


def test_the_handshake_has_options_and_its_round_trip_is_measured():
    """MSS and window scale in both SYNs (RFC 9293 3.2, RFC 7323 2.2)."""
    transfer = Transfer(1000, mss=1000).run()
    opening, accepting = segment_of(transfer.sent["a"][0]), segment_of(transfer.sent["b"][0])
    assert (opening.flags, accepting.flags) == (TCP_SYN, TCP_SYN | TCP_ACK)
    assert bytes(opening.options) == bytes([2, 4, 1000 >> 8, 1000 & 255, 1, 3, 3, 5])
    assert bytes(accepting.options) == bytes([2, 4, 1460 >> 8, 1460 & 255, 1, 3, 3, 5])
    assert transfer.sender.round_trips[0] == pytest.approx(2 * DELAY)


def test_a_burst_in_order_is_acknowledged_once():
    """Ten segments of the initial window (RFC 6928), one acknowledgement."""
    transfer = Transfer(14_600).run()
    assert len(transfer.sent["b"]) == 2


def test_the_window_is_respected():
    """Never more than the receiver's 1 MiB under way, and slow start begins with ten segments."""
    transfer = Transfer(5_000_000)
    flights, last = [], 0

    def fate(who, _number, packet):
        nonlocal last
        segment = segment_of(packet)
        if who == "a" and segment.payload:
            flights.append(transfer.sender._highest - transfer.sender._unacknowledged)
        return [DELAY]

    transfer._fate = fate
    transfer.run().assert_arrived(5_000_000)
    assert max(flights) <= 1 << 20
    assert flights[0] == 14_600


def test_a_lost_segment_is_sent_again_at_once():
    """Fast retransmit: no timer runs out, and only what was lost is repeated."""
    transfer = Transfer(300_000, fate=lambda who, n, _: [] if (who, n) == ("a", 5) else [DELAY]).run()
    transfer.assert_arrived(300_000)
    assert transfer.sender.retransmitted == 1
    assert transfer.now < 1.0


def test_several_losses_of_one_window_are_recovered_without_a_timer():
    """A partial acknowledgement shows the next hole (RFC 6582)."""
    lost = {("a", number) for number in (20, 25, 26, 31)}
    transfer = Transfer(300_000, fate=lambda who, n, _: [] if (who, n) in lost else [DELAY]).run()
    transfer.assert_arrived(300_000)
    assert transfer.sender.retransmitted == 4
    assert transfer.now < 1.0


@pytest.mark.parametrize("number", [0, 1, 2, 11])
@pytest.mark.parametrize("who", ["a", "b"])
def test_any_single_loss_is_recovered(who, number):
    """SYN, SYN-ACK, the ACKs, data and the FIN."""
    transfer = Transfer(14_600, fate=lambda w, n, _: [] if (w, n) == (who, number) else [DELAY]).run()
    transfer.assert_arrived(14_600)


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.integers(1, 200_000))
def test_every_byte_arrives_over_a_bad_wire(seed, badness, size):
    """Loss, duplicates and reordering at once, whatever the seed."""
    rng = random.Random(seed)

    def fate(_who, _number, _packet):
        copies = rng.choices((0, 1, 2), (badness, 1 - badness, badness / 2))[0]
        return [DELAY * (1 + (rng.random() if rng.random() < badness else 0)) for _ in range(copies)]

    transfer = Transfer(size, fate=fate).run()
    if transfer.sender.state is not TcpState.FAILED:  # eight losses in a row are possible, if not likely
        transfer.assert_arrived(size)
    assert transfer.sender.timeout_at == inf


def test_damaged_segments_are_sent_again(monkeypatch):
    """A wrong checksum is as good as a loss."""
    transfer = Transfer(100_000)
    deliver = transfer.guests["b"].receive
    count = itertools.count()

    def corrupt(burst, now):
        if next(count) == 3:
            burst.row(0)[60] ^= 1
        return deliver(burst, now)

    monkeypatch.setattr(transfer.guests["b"], "receive", corrupt)
    transfer.run().assert_arrived(100_000)
    assert transfer.guests["b"].damaged == {2: 1}


def test_the_sender_gives_up_with_a_reason():
    """Nobody answers: the timer doubles up to a minute, eight times."""
    transfer = Transfer(1000, fate=lambda *_: []).run()
    assert transfer.sender.state is TcpState.FAILED
    assert transfer.sender.failure == f"no answer after {MAX_RETRANSMISSIONS} retransmissions"
    assert len(transfer.sent["a"]) == 1 + MAX_RETRANSMISSIONS
    assert transfer.now == transfer.sender.ended_at == 1 + 2 + 4 + 8 + 16 + 32 + 60 + 60 + 60


def test_a_reset_ends_it():
    """The other end refuses."""
    transfer = Transfer(1000)
    transfer.sender.open(0.0)
    refusal = segment_of(tcp_packet(B, A, 5201, 40000, flags=TCP_RST | TCP_ACK))
    assert transfer.sender.receive(refusal, 0.1) == []
    assert transfer.sender.failure == "the other end refused the connection"


def test_stopping_ends_it_but_not_what_is_done():
    """A run past its deadline."""
    done = Transfer(1000).run()
    done.sender.stop("stopped", 9.0)
    assert done.sender.state is TcpState.DONE
    running = Transfer(1000)
    running.sender.open(0.0)
    running.sender.stop("stopped", 9.0)
    assert (running.sender.failure, running.sender.ended_at, running.sender.timeout_at) == (
        "stopped",
        9.0,
        inf,
    )


@given(st.binary(max_size=40), st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_whatever_a_segment_says_nothing_raises(payload, flags, sequence, acknowledgement):
    """Segments of strangers, in every state of both ends; what was received stays what was sent."""
    transfer = Transfer(100_000)
    for burst in transfer.sender.open(0.0):
        accept = transfer.guests["b"].receive(burst, 0.0)
    strange = {"sequence": sequence, "acknowledgement": acknowledgement, "flags": flags}
    transfer.sender.receive(segment_of(tcp_packet(B, A, 5201, 40000, payload, **strange)), 0.1)
    if transfer.sender.state is TcpState.OPENING:
        transfer.sender.receive(segment_of(accept[0].row(0).tobytes()), 0.1)
        transfer.sender.receive(segment_of(tcp_packet(B, A, 5201, 40000, payload, **strange)), 0.1)
    transfer.receiver.receive([segment_of(tcp_packet(A, B, 40000, 5201, payload, **strange))])
    assert transfer.receiver.received <= len(payload)


def test_sequence_numbers_wrap():
    """A transfer that begins just below 2^32 runs on past 0."""
    flow = TcpFlow(A, B, 40000, 5201)
    sender, receiver = TcpSender(flow, Payload("x"), 4000, mss=1000), TcpReceiver(flow.reversed, mss=1000)
    sender._numbers._first = 2**32 - 1500
    to_receiver = sender.open(0.0)
    while to_receiver:
        segments = [segment_of(row.tobytes()) for burst in to_receiver for row in burst.rows()]
        answers = receiver.receive(segments)
        to_receiver = [
            burst
            for answer in answers
            for row in answer.rows()
            for burst in sender.receive(segment_of(row.tobytes()), 0.1)
        ]
    assert (sender.state, receiver.received, receiver.finished) == (TcpState.DONE, 4000, True)


def test_the_payload_is_the_same_wherever_it_is_cut():
    """Bytes by position, around the end of the block that they are taken from."""
    payload = Payload("x")
    block = Payload._BLOCK
    assert payload.at(block - 10, 20) == payload.at(block - 10, 10) + payload.at(0, 10)
    assert payload.at(5, 2 * block) == payload.at(5, block) + payload.at(5 + block, block)
    assert Payload("y").at(0, 100) != payload.at(0, 100)
