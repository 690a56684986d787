"""A guest's stack by itself: packets and the time in, bursts out."""

from __future__ import annotations

from ipaddress import ip_address
from math import inf

import numpy as np
import pytest

from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.simulation.guests.guest import Guest
from dtls_emu.simulation.guests.tcp import Payload, TcpFlow, TcpSender
from dtls_emu.testing.present import present
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.icmp import packet_too_big
from dtls_emu.wire.packet import fragment, icmp_echo, tcp_packet, udp_packet
from dtls_emu.wire.parse import parse_packet_untrusted, pull_echo_untrusted


A4, B4 = ip_address("10.0.0.4"), ip_address("10.0.0.5")
A6, B6 = ip_address("fd00::4"), ip_address("fd00::5")
MARK = forward_mark(0)
ENDS = pytest.mark.parametrize(("near", "far"), [(A4, B4), (A6, B6)], ids=["v4", "v6"])


def guest(*addresses, mtu=1500):
    return Guest(addresses or (A4, A6), mtu)


def hand(to, *packets, mark=MARK, about=0, now=0.0):
    return to.receive(Burst.from_packets(packets, mark=mark), now, about=about)


@ENDS
def test_echo_requests_are_answered_under_the_reverse_mark(near, far):
    """Same identifier, number and payload; each request its own reply."""
    replies = hand(guest(), *(icmp_echo(far, near, 7, number, b"data") for number in (1, 2)))
    assert [burst.mark for burst in replies] == [reverse_of(MARK)] * 2
    parsed = [present(parse_packet_untrusted(burst.row(0).tobytes())) for burst in replies]
    echoes = [present(pull_echo_untrusted(packet)) for packet in parsed]
    assert [(echo.is_reply, echo.identifier, echo.sequence, bytes(echo.payload)) for echo in echoes] == [
        (True, 7, 1, b"data"),
        (True, 7, 2, b"data"),
    ]
    assert {(packet.source, packet.destination) for packet in parsed} == {(near, far)}


def test_replies_are_reported_to_whoever_awaits_their_identifier():
    """With number and time; nobody else's, and nothing is sent."""
    heard = []
    a = guest()
    a.await_replies(7, lambda sequence, now: heard.append((sequence, now)))
    packets = [icmp_echo(B4, A4, identifier, 3, reply=True) for identifier in (7, 8)]
    assert hand(a, *packets, now=2.5) == []
    assert heard == [(3, 2.5)]


@ENDS
def test_udp_is_counted_by_port(near, far):
    """Datagrams for other addresses are not this guest's."""
    a = guest()
    hand(a, udp_packet(far, near, 1, 53), udp_packet(far, near, 2, 53), udp_packet(far, near, 1, 80))
    hand(a, udp_packet(near, far, 1, 53))
    assert a.datagrams == {53: 2, 80: 1}


@pytest.mark.parametrize("at", [8, 16, 25, 41])
def test_a_flipped_bit_is_noticed_and_charged_to_its_mark(at):
    """In the IP header or behind it, a checksum is wrong."""
    packet = bytearray(udp_packet(B4, A4, 1, 53, b"some payload of a datagram"))
    packet[at] ^= 1
    a = guest()
    hand(a, bytes(packet))
    expected = {} if at == 16 else {MARK: 1}  # another destination: not this guest's to judge
    assert (a.damaged, a.datagrams) == (expected, {})


def test_what_it_cannot_use_is_ignored():
    """Fragments, closed ports, other protocols and junk: no answer, no damage, no exception."""
    whole = udp_packet(B4, A4, 1, 53, bytes(3000), df=False)
    junk = [*fragment(whole, 1500), tcp_packet(B4, A4, 1, 2, flags=0x02), b"\x45", b"\xff" * 40]
    a = guest()
    assert [hand(a, packet) for packet in junk] == [[]] * len(junk)
    assert not a.damaged


@ENDS
def test_a_path_mtu_is_learnt_for_the_packets_that_it_is_about(near, far):
    """The smallest counts; an error about other packets is kept apart."""
    a = guest(mtu=9000)
    big = udp_packet(near, far, 1, 53, bytes(8000))
    for mtu, about in ((1563, 2), (1400, 2), (1500, 2), (1300, 4)):
        assert hand(a, packet_too_big(big, mtu), mark=0, about=about) == []
    assert a.path_mtus == {2: 1400, 4: 1300}


@ENDS
def test_a_transfer_goes_on_with_smaller_segments(near, far):
    """What ICMP quotes is found by connection and sequence number; a forged number changes nothing."""
    near_guest, far_guest = guest(near, mtu=9000), guest(far, mtu=9000)
    far_guest.listening.add(5201)
    flow = TcpFlow(near, far, 40000, 5201)
    sender = TcpSender(flow, Payload("x"), 100_000, mss=9000 - flow.headers, mark=MARK)
    near_guest.senders[flow] = sender
    (accept,) = [answer for burst in sender.open(0.0) for answer in far_guest.receive(burst, 0.0)]
    assert accept.mark == reverse_of(MARK)
    _, data, *_ = near_guest.receive(accept, 0.0)
    big = data.row(0).tobytes()
    assert len(big) == 9000
    forged = bytearray(big)
    forged[flow.headers - 16] ^= 0x80  # the first byte of the sequence number
    hand(near_guest, packet_too_big(bytes(forged), 600), mark=0)
    assert not near_guest.damaged
    assert sender.mss == 9000 - flow.headers
    again = hand(near_guest, packet_too_big(big, 1563), mark=0)
    assert sender.mss == 1563 - flow.headers
    assert {burst.size for burst in again} == {1563}
    assert np.array_equal(again[0].row(0)[flow.headers :], data.row(0)[flow.headers : 1563])


def test_timers_are_those_of_its_transfers():
    """Infinity without one; the SYN is sent again after a second."""
    a = guest()
    assert a.next_timeout() == inf
    flow = TcpFlow(A4, B4, 40000, 5201)
    a.senders[flow] = TcpSender(flow, Payload("x"), 10, mss=1460)
    (first,) = a.senders[flow].open(0.0)
    assert a.next_timeout() == 1.0
    assert a.handle_timeout(0.5) == []
    (second,) = a.handle_timeout(1.0)
    assert first.row(0)[20:].tobytes() == second.row(0)[20:].tobytes()
    assert a.next_timeout() == 3.0


def test_the_internet_answers_for_every_address():
    """A guest without addresses of its own takes what comes."""
    (reply,) = hand(Guest(None, 1500), icmp_echo(A4, "203.0.113.7", 1, 1))
    assert present(parse_packet_untrusted(reply.row(0).tobytes())).source == ip_address("203.0.113.7")
