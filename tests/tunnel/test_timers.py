"""When flights are sent again, how large, and for how long: RFC 6347 4.2.4, 4.2.3 and 4.1.1.1."""

import dataclasses
import itertools
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.hello import CLIENT_HELLO, HELLO_VERIFY_REQUEST, SERVER_HELLO, pull_client_hello_untrusted
from dtls_emu.wire.overhead import IPV4_HEADER, RECORD_HEADER, UDP_HEADER
from dtls_emu.wire.protocol import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE, HANDSHAKE_HEADER
from dtls_emu.wire.record import pull_handshake_header, pull_records_untrusted, push_record_header


DELAY = 0.001
FINISHED = b"\x14" + bytes(23)


def keys_of(tunnel: Any) -> Any:
    """Where a tunnel gets its keys: here, from handshakes."""
    return tunnel.key_source


def both_up(pair):
    return (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)


def test_the_first_timer_is_a_second_and_doubles_up_to_a_minute():
    """RFC 6347 4.2.4.1, for a client that nobody answers; the attempt ends at its deadline."""
    pair = Pair(fate=lambda *_: [], settings=TunnelSettings(handshake_deadline=600.0))
    pair.connect()
    pair.run(until=700)
    moments = [moment for moment, *_ in pair.wire]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, *[60] * (len(pauses) - 6)])
    assert len(pauses) >= 14
    assert pair.client.state is TunnelState.BACKING_OFF


def test_a_server_whose_client_went_away_has_the_same_timers_and_deadline():
    """Its flight goes out at 0, 1, 3 and 7 seconds; after 15 nothing is left of the attempt."""
    pair = Pair(fate=lambda who, n, data: [] if who == "alpha" and n > 1 else [(DELAY, data)])
    pair.connect()
    pair.run(until=0.1)
    pair.client.abort()
    for ends in list(keys_of(pair.client).running):
        keys_of(pair.client)._end(ends)
    pair.run(until=60)
    moments = {round(moment) for moment, who, *_ in pair.wire if who == "beta"}
    assert moments == {0, 1, 3, 7}
    assert keys_of(pair.server).running == {}
    assert pair.server.failure.startswith("no answer within 15 s")


@pytest.mark.parametrize("deadline", [0.5, 5.0, 14.9])
def test_an_attempt_ends_at_its_deadline_not_at_the_timer_behind_it(deadline):
    """The timers would have it go on to 1, 7 and 15 seconds."""
    pair = Pair(fate=lambda *_: [], settings=TunnelSettings(handshake_deadline=deadline))
    pair.connect()
    pair.run(until=deadline - 0.001)
    assert (pair.client.state, pair.client.failure) == (TunnelState.HANDSHAKING, "")
    pair.run(until=deadline)
    assert pair.client.state is TunnelState.BACKING_OFF
    assert pair.client.failure == f"no answer within {deadline:g} s"


def test_smaller_datagrams_are_tried_after_three_retransmissions():
    """RFC 6347 4.1.1.1: the path carries less than it is said to, and tells nobody."""
    pair = Pair(fate=lambda _who, _n, data: [(DELAY, data)] if len(data) <= 300 else [])
    pair.connect()
    pair.run(until=15)
    assert both_up(pair), (pair.client.failure, pair.server.failure)
    lost = [len(datagram) for *_, datagram in pair.wire if len(datagram) > 300]
    assert len(lost) == 3 + 3  # of the server's flight and of the client's


@pytest.mark.parametrize("mtu", [284, 400])
def test_overlapping_fragments_are_put_together(mtu):
    """RFC 6347 4.2.3: MUST. Every message arrives in pieces that overlap by 20 bytes: of 60, a hello's of 80."""
    numbers = Counter[str]()

    def fate(who, _number, data):
        copies = []
        for record in pull_records_untrusted(data):
            for body in overlapping(record):
                header = record.header
                number = header.sequence
                if header.epoch == 0:
                    number = max(number, numbers[who])
                    numbers[who] = number + 1
                again = push_record_header(
                    header.content_type, header.epoch, number, len(body), header.version
                )
                copies.append((DELAY, again + body))
        return copies

    pair = Pair(fate=fate, path_mtu=mtu)
    pair.connect()
    pair.run(until=1)
    assert both_up(pair), (pair.client.failure, pair.server.failure)
    assert pair.client.last_handshake < 0.1
    assert numbers["beta"] > 20
    assert numbers["alpha"] > 20


@pytest.mark.parametrize("end", ["alpha", "beta"])
def test_a_running_attempt_follows_a_smaller_path(end):
    """What was too large for the path is sent again as it fits, at the next timer and not at the deadline."""
    carries = {"mtu": 1500}
    pair = Pair(fate=lambda _w, _n, data: [(DELAY, data)] if len(data) + 28 <= carries["mtu"] else [])
    pair.connect()
    pair.run(until=0.0015)
    carries["mtu"] = 700
    for tunnel in (pair.client, pair.server):
        tunnel.path_mtu = 700 if tunnel is pair._tunnels[end] else 1500
    pair.run(until=0.5)
    assert not both_up(pair)
    pair._tunnels["alpha" if end == "beta" else "beta"].path_mtu = 700
    pair.run(until=1.5)
    assert both_up(pair), (pair.client.failure, pair.server.failure)
    assert pair.client.last_handshake == pytest.approx(1.006)


def overlapping(record):
    """The bodies of records that carry the same message in overlapping pieces.

    The first piece of a hello has room for its cookie, and what asks for one is whole: there is nobody yet who
    keeps pieces.
    """
    body = bytes(record.fragment)
    header = pull_handshake_header(body) if record.header.content_type == HANDSHAKE else None
    if record.header.epoch or header is None or header.message_type == HELLO_VERIFY_REQUEST:
        return [body]
    size = 80 if header.message_type in {CLIENT_HELLO, SERVER_HELLO} else 60
    piece = body[HANDSHAKE_HEADER:]
    bodies = []
    for start in range(0, max(len(piece), 1), size - 20):
        part = piece[start : start + size]
        place = (header.fragment_offset + start).to_bytes(3, "big") + len(part).to_bytes(3, "big")
        bodies.append(body[:6] + place + part)
    return bodies


def test_no_datagram_is_larger_than_the_path_and_none_is_wasted():
    """At OpenSSL's smallest MTU of 256 each flight still takes few datagrams: records share them."""
    pair = Pair(path_mtu=256 + IPV4_HEADER + UDP_HEADER)
    pair.connect()
    pair.run(until=1)
    assert both_up(pair)
    sizes = [len(datagram) for *_, datagram in pair.wire]
    assert max(sizes) <= 256
    assert len(sizes) <= 2 * sum(sizes) / 256


def test_the_final_flight_is_repeated_for_as_long_as_the_association_lives(make_foreign):
    """RFC 6347 4.2.4: for 2 MSL at least, that is 4 minutes; each time under a new number, and not in floods."""
    foreign = make_foreign(is_client=True).shake_hands()
    numbers = []
    for repetition, moment in enumerate((1, 100, 239, 3600)):
        foreign.now = moment
        for copy in range(10):
            foreign.inject(foreign.forge(FINISHED, 10 + 10 * repetition + copy, content_type=HANDSHAKE))
        (answer,) = foreign.take_outgoing()
        change, finished = pull_records_untrusted(answer.datagram)
        assert (change.header.content_type, change.header.epoch) == (CHANGE_CIPHER_SPEC, 0)
        assert (finished.header.content_type, finished.header.epoch) == (HANDSHAKE, 1)
        numbers.append((change.header.sequence, finished.header.sequence))
        assert foreign.give(answer.datagram) == b""
    assert len(set(numbers)) == len(numbers)
    foreign.assert_talks()


def test_the_final_flight_is_not_repeated_for_what_anybody_can_write(make_foreign):
    """Records in clear, a ClientKeyExchange for instance, are dropped unanswered."""
    foreign = make_foreign(is_client=True).shake_hands()
    plain = [
        datagram
        for datagram in foreign.heard
        if datagram[3:5] == bytes(2) and datagram[RECORD_HEADER] != CLIENT_HELLO
    ]
    for datagram in plain:
        foreign.inject(datagram)
    assert foreign.take_outgoing() == []
    assert foreign.dropped == {DropReason.WRONG_EPOCH: len(plain)}
    assert len(plain) >= 3
    foreign.assert_talks()


def test_alerts_are_sent_once_and_a_persistent_bad_peer_is_tried_less_and_less():
    """RFC 6347 4.2.7: never retransmitted; attempts begin after a pause that doubles up to half a minute."""
    pair = Pair(fate=lambda _who, _n, data: [(DELAY, data)])
    attempts = keys_of(pair.server)
    attempts._identity = dataclasses.replace(attempts._identity, contexts=strangers_contexts())
    while pair.now < 600:
        pair.connect()  # traffic wants the tunnel all the time
        pair.run(until=pair.now + 0.5)
    assert "certificate verify failed" in pair.client.failure
    starts = [
        moment for moment, who, *_, datagram in pair.wire if who == "alpha" and is_first_hello(datagram)
    ]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert pauses[:5] == pytest.approx([1, 2, 4, 8, 16], abs=0.6)
    assert pauses[5:] == pytest.approx([30] * (len(pauses) - 5), abs=0.6)
    alerts = [moment for moment, *_, datagram in pair.wire if datagram[0] == ALERT]
    assert len(alerts) == len(starts)


def is_first_hello(datagram):
    hello = pull_client_hello_untrusted(datagram[RECORD_HEADER:])
    return hello is not None and not hello.cookie


def strangers_contexts():
    now = datetime.now(UTC)
    authority = RegionAuthority.create("elsewhere", now)
    return build_contexts(authority.issue("beta", now), [authority.certificate])
