"""The cookie exchange (RFC 6347 4.2.1): nothing is kept, and little is sent, for an address nobody has proven."""

from itertools import pairwise
from typing import Any

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.hello import HELLO_VERIFY_REQUEST, SERVER_HELLO, ClientHello, pull_client_hello_untrusted
from dtls_emu.wire.protocol import DTLS_1_0, HANDSHAKE
from dtls_emu.wire.record import pull_handshake_header, pull_records_untrusted, push_record_header


ADDRESS = ("10.255.0.1", 50_000)
PORTS = (4433, 49_152)


def keys_of(tunnel: Any) -> Any:
    """Where a tunnel gets its keys: here, from handshakes."""
    return tunnel.key_source


def hello(parameters=b"parameters", cookie=b""):
    return ClientHello(parameters, cookie, 0)


def plain_records(pair, name):
    """Handshake messages in clear that a host sent, with the number of their record."""
    return [
        (record.header, record.fragment[0])
        for _, who, *_, datagram in pair.wire
        for record in pull_records_untrusted(datagram)
        if who == name and record.header.epoch == 0 and record.header.content_type == HANDSHAKE
    ]


def hellos(pair):
    """The client's first two hellos: without and with a cookie."""
    pair.connect()
    pair.run(until=0.003)
    first, second = [datagram for _, who, *_, datagram in pair.wire if who == "alpha"][:2]
    return first, second


def smallest_hello():
    """The shortest bytes that are a ClientHello: no suites, no compression, no extensions."""
    body = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\x00" + b"\x00\x00" + b"\x00"
    length = len(body).to_bytes(3, "big")
    message = b"\x01" + length + bytes(5) + length + body
    return push_record_header(HANDSHAKE, 0, 0, len(message)) + message


@pytest.mark.parametrize(
    ("address", "parameters"),
    [
        (("10.255.0.2", 50_000), b"parameters"),
        (("10.255.0.1", 50_001), b"parameters"),
        (("10.255.0.1", 5_0000), b"parameterz"),
    ],
    ids=["another address", "another port", "another hello"],
)
def test_a_cookie_is_good_for_one_address_and_one_hello(address, parameters):
    """And only for the host that made it."""
    jar = CookieJar(b"secret")
    cookie = jar.bake(ADDRESS, hello(), 0.0)
    assert jar.accepts(ADDRESS, hello(cookie=cookie), 0.0)
    assert not jar.accepts(address, hello(parameters, cookie), 0.0)
    assert not CookieJar(b"other secret").accepts(ADDRESS, hello(cookie=cookie), 0.0)
    assert not jar.accepts(ADDRESS, hello(), 0.0)


def test_cookies_survive_one_change_of_the_secret_and_not_two():
    """One made just before the change is good for a minute more; the secret of each minute is another."""
    jar = CookieJar(b"secret")
    cookie = jar.bake(ADDRESS, hello(), 59.9)
    assert jar.bake(ADDRESS, hello(), 60.1) != cookie
    assert jar.accepts(ADDRESS, hello(cookie=cookie), 60.1)
    assert jar.accepts(ADDRESS, hello(cookie=cookie), 119.9)
    assert not jar.accepts(ADDRESS, hello(cookie=cookie), 120.1)
    assert not jar.accepts(ADDRESS, hello(cookie=jar.bake(ADDRESS, hello(), 120.0)), 0.0)


def test_without_a_cookie_a_server_sends_no_more_than_it_gets():
    """One HelloVerifyRequest for each hello, never larger than it, and no state."""
    pair = Pair()
    for size, first in ((len(smallest_hello()), smallest_hello()), (0, hellos(Pair())[0])):
        pair.wire.clear()
        for number in range(10):
            pair.inject("beta", PORTS[0], 50_000 + number, first)
        answers = [datagram for *_, datagram in pair.wire]
        assert len(answers) == 10
        assert {len(datagram) for datagram in answers} == {60}
        assert len(first) >= max(size, 60)
    assert {kind for _, kind in plain_records(pair, "beta")} == {HELLO_VERIFY_REQUEST}
    assert keys_of(pair.server).running == {}
    assert pair.server.state is TunnelState.IDLE
    pair.run(until=100)
    assert len(pair.wire) == 10, "something was retransmitted"


def test_the_request_mirrors_the_hello_and_so_does_the_server_hello():
    """Version 1.0 and the hello's record number, whatever it is; the ServerHello has the second hello's."""
    pair = Pair()
    first, second = hellos(pair)
    pair.run(until=1)
    (request, kind), (answer, answer_kind), *_ = plain_records(pair, "beta")
    assert (kind, answer_kind) == (HELLO_VERIFY_REQUEST, SERVER_HELLO)
    assert request.version == DTLS_1_0
    assert request.sequence == pull_records_untrusted(first)[0].header.sequence
    assert answer.sequence == pull_records_untrusted(second)[0].header.sequence == 1
    for number in (0, 7, 2**48 - 1):
        pair.wire.clear()
        pair.inject("beta", PORTS[0], 60_000, first[:5] + number.to_bytes(6, "big") + first[11:])
        (record,) = pull_records_untrusted(pair.wire[0][4])
        assert record.header.sequence == number


def test_a_lost_request_costs_one_timer():
    """Where OpenSSL's own cookie exchange would number the ServerHello wrongly and lose two."""
    pair = Pair(fate=lambda who, n, data: [] if (who, n) == ("beta", 0) else [(0.001, data)])
    pair.connect()
    pair.run(until=10)
    assert pair.client.state is TunnelState.UP
    assert pair.client.last_handshake == pytest.approx(1.006)


@pytest.mark.parametrize("change", ["cookie", "hello", "port", "too old"])
def test_an_invalid_cookie_is_as_good_as_none(change):
    """It is answered with a fresh one (RFC 6347 4.2.1), and nothing is begun."""
    pair = Pair()
    second = bytearray(hellos(pair)[1])
    pair = Pair()
    (record,) = pull_records_untrusted(bytes(second))
    cookie = present(pull_client_hello_untrusted(record.fragment)).cookie
    port = PORTS[1]
    if change == "cookie":
        second[second.index(cookie)] ^= 1
    elif change == "hello":
        second[second.index(cookie) - 10] ^= 1
    elif change == "port":
        port += 1
    else:
        pair.now = 130.0
    pair.inject("beta", PORTS[0], port, bytes(second))
    assert keys_of(pair.server).running == {}
    assert [kind for _, kind in plain_records(pair, "beta")] == [HELLO_VERIFY_REQUEST]


def test_with_a_good_cookie_the_certificate_comes():
    """The same hello, unchanged: so it is the cookie that the tests above lack."""
    second = hellos(Pair())[1]
    pair = Pair()
    pair.inject("beta", *PORTS, second)
    assert len(keys_of(pair.server).running) == 1
    assert next(kind for _, kind in plain_records(pair, "beta")) == SERVER_HELLO


def pieces(hello, *cuts):
    """A hello's datagram as one for each of its fragments, numbered one after another."""
    (record,) = pull_records_untrusted(hello)
    header = present(pull_handshake_header(record.fragment))
    datagrams = []
    for number, (start, end) in enumerate(pairwise((0, *cuts, header.length))):
        place = start.to_bytes(3, "big") + (end - start).to_bytes(3, "big")
        body = bytes(record.fragment[:6]) + place + bytes(record.fragment[12 + start : 12 + end])
        sequence = record.header.sequence + number
        datagrams.append(push_record_header(HANDSHAKE, 0, sequence, len(body)) + body)
    return datagrams


def test_of_a_first_hello_in_fragments_nothing_is_kept():
    """Its first fragment is asked for a cookie when it reaches that far; others are dropped."""
    first = hellos(Pair())[0]
    start, rest = pieces(first, 36)
    pair = Pair()
    pair.inject("beta", *PORTS, rest)
    pair.inject("beta", *PORTS, start)
    pair.inject("beta", *PORTS, pieces(first, 35)[0])
    assert [len(datagram) for *_, datagram in pair.wire] == [60]
    assert len(start) >= 60, "the answer would be larger than what it answers"
    assert keys_of(pair.server).running == {}
    assert pair.server.state is TunnelState.IDLE
    assert pair.dropped["beta"] == {DropReason.HANDSHAKE_NOISE: 2}


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (0, 0, 2, 0, 1)])
def test_a_hello_in_fragments_is_put_together_once_it_has_a_good_cookie(order):
    """Its ServerHello mirrors the highest number that the hello came under."""
    pair = Pair()
    datagrams = pieces(hellos(Pair())[1], 80, 130)
    for position, index in enumerate(order):
        assert plain_records(pair, "beta") == []
        assert len(keys_of(pair.server).running) == min(position, 1)
        pair.inject("beta", *PORTS, datagrams[index])
    (answer, kind), *_ = plain_records(pair, "beta")
    assert (kind, answer.sequence) == (SERVER_HELLO, 1 + 2)
    assert pair.dropped["beta"] == {}


def test_a_hello_that_never_becomes_whole_is_given_up():
    """It is an attempt like any other: counted, limited, and over at its deadline; the next one is as good."""
    pair = Pair(settings=TunnelSettings(half_open_limit=1))
    second = hellos(Pair())[1]
    pair.inject("beta", *PORTS, pieces(second, 100)[0])
    pair.inject("beta", PORTS[0], PORTS[1] + 1, second)  # a cookie is good for one port
    pair.run(until=14.9)
    assert len(keys_of(pair.server).running) == 1
    assert keys_of(pair.server)._half_open.count == 1
    pair.run(until=15.1)
    assert keys_of(pair.server).running == {}
    assert keys_of(pair.server)._half_open.count == 0
    pair.inject("beta", *PORTS, second)
    assert plain_records(pair, "beta")[-1][1] != HELLO_VERIFY_REQUEST


@pytest.mark.parametrize(
    ("cookie", "message_seq", "answered"),
    [
        (False, 0, True),
        (False, 1, False),
        (False, 7, False),
        (True, 1, True),
        (True, 2, False),
        (True, 7, False),
    ],
)
def test_a_hello_has_the_number_that_its_place_in_the_handshake_gives_it(cookie, message_seq, answered):
    """0 for the first (RFC 6347 4.2.2), 1 for the one with the cookie."""
    hello = bytearray(hellos(Pair())[cookie])
    hello[17:19] = message_seq.to_bytes(2, "big")
    pair = Pair()
    pair.inject("beta", *PORTS, bytes(hello))
    assert bool(pair.wire) == answered
    assert pair.dropped["beta"] == ({} if answered else {DropReason.HANDSHAKE_NOISE: 1})
