"""Floods of handshakes: what they may cost is counted, and the live tunnel beside them carries everything."""

import gc
from dataclasses import replace

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.handshake import Handshake
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.hello import pull_client_hello_untrusted
from dtls_emu.wire.overhead import RECORD_HEADER
from dtls_emu.wire.protocol import ALERT, APPLICATION_DATA, HANDSHAKE, HANDSHAKE_HEADER
from dtls_emu.wire.record import push_record_header


PORT = 4433
HELLO_VERIFY_HEAD = RECORD_HEADER + HANDSHAKE_HEADER + 3  # version and length, then the cookie
UP_TO_COOKIE = 35  # version 2, random 32, an empty session id
LIMIT = TunnelSettings().half_open_limit


def fresh_hello():
    """The first datagram of a client of ours."""
    pair = Pair()
    pair.connect()
    return pair.wire[0][4]


def with_cookie(hello, cookie):
    """The client's second hello."""
    body = hello[RECORD_HEADER + HANDSHAKE_HEADER :]
    body = body[:UP_TO_COOKIE] + bytes([len(cookie)]) + cookie + body[UP_TO_COOKIE + 1 :]
    length = len(body).to_bytes(3, "big")
    message = b"\x01" + length + b"\x00\x01" + bytes(3) + length + body
    again = push_record_header(HANDSHAKE, 0, 1, len(message)) + message
    hello = pull_client_hello_untrusted(message)
    assert hello is not None
    assert hello.cookie == cookie
    return again


def attempts_alive():
    """Handshakes that take memory right now."""
    gc.collect()
    return sum(type(each) is Handshake for each in gc.get_objects())


def flood(target, datagrams, chat_every=50):
    """Give beta hostile datagrams from alpha's address, a packet both ways now and then; all of those arrive.

    Returns:
        Bytes in and bytes out of beta that are the flood's.
    """
    came = went = 0
    for number, (port, datagram) in enumerate(datagrams):
        sent = len(target.wire)
        target.inject("beta", PORT, port, datagram)
        came += len(datagram)
        went += sum(len(data) for _, who, *_, data in target.wire[sent:] if who == "beta")
        if number % chat_every == 0:
            target.chat()
    print(
        f"goodput during the flood: {sum(map(len, target.received.values()))} of {sum(map(len, target.sent.values()))}"
    )
    return came, went


def test_hellos_without_a_cookie_keep_nothing_and_are_not_amplified(make_target):
    """10,000 of them from the peer's address and as many ports, while the tunnel to it is up."""
    hello = fresh_hello()
    target = make_target().up()
    alive = attempts_alive()
    came, went = flood(target, ((20_000 + number, hello) for number in range(10_000)))
    assert went <= came
    assert target.server.key_source.running == {}
    assert attempts_alive() <= alive
    assert target.server.state is TunnelState.UP
    assert target.server.timeout() > target.now
    target.chat(5)


def test_hellos_with_good_cookies_are_answered_up_to_the_limit(make_target):
    """Whoever can read at the peer's address gets cookies: 64 attempts and not one more, for their deadline."""
    hello = fresh_hello()
    target = make_target().up()
    alive = attempts_alive()
    flooding = []
    for number in range(500):
        sent = len(target.wire)
        target.inject("beta", PORT, 20_000 + number, hello)
        cookie = target.wire[sent][4][HELLO_VERIFY_HEAD:]
        flooding.append((20_000 + number, with_cookie(hello, cookie)))
    flood(target, flooding)
    assert len(target.server.key_source.running) == LIMIT
    assert attempts_alive() <= alive + LIMIT
    assert target.dropped["beta"] == {DropReason.HALF_OPEN_LIMIT: 500 - LIMIT}
    target.chat(5)
    target.run(until=target.now + TunnelSettings().handshake_deadline)
    assert target.server.key_source.running == {}
    assert attempts_alive() <= alive
    assert target.server.state is TunnelState.UP
    target.chat(5)
    assert target.rekey("alpha")
    target.run(until=target.now + 1)
    assert target.client.handshakes == 2
    target.chat(5)


def test_attempts_from_many_hosts_are_limited_over_the_whole_card(make_cards):
    """Two hosts whose addresses somebody reads: together they get no more than one card gives, and it is given back."""
    hello = fresh_hello()
    target = make_cards().up()
    limit = TunnelSettings().card_half_open_limit
    card = target.cards["h2"]
    for tunnel in map(card.tunnels.__getitem__, card.peers):
        # A limit of each that together is above the card's.
        tunnel.key_source._settings = replace(tunnel.key_source._settings, half_open_limit=limit)
    target.cut = True
    for number in range(limit):
        for host in ("1", "3"):
            source = (f"10.255.0.{host}", 20_000 + number)
            target.inject("h2", source, PORT, hello)
            cookie = target.datagrams[-1][-1][HELLO_VERIFY_HEAD:]
            target.inject("h2", source, PORT, with_cookie(hello, cookie))
    running = {name: len(tunnel.key_source.running) for name, tunnel in card.tunnels.items()}
    assert sum(running.values()) == limit
    assert min(running.values()) > limit / 3
    assert target.drops_at("h2") == {DropReason.HALF_OPEN_LIMIT: limit}
    target.cut = False
    target.talk(5)
    target.wait(until=target.now + TunnelSettings().handshake_deadline)
    assert {len(tunnel.key_source.running) for tunnel in card.tunnels.values()} == {0}
    assert card.tunnels["h1"].key_source._half_open.count == 0
    target.talk(5)


def test_the_same_hello_over_and_over_is_one_attempt(make_target):
    """Recorded on the wire with its cookie and sent again 1000 times: it is answered as a repetition, seldom."""
    target = make_target().up()
    (local, remote, hello) = next(
        each for each in target.recorded("alpha") if present(pull_client_hello_untrusted(each[2][13:])).cookie
    )
    assert local == PORT
    came, went = flood(target, ((remote, hello) for _ in range(1000)))
    assert len(target.server.key_source.running) == 1
    assert went <= came
    target.run(until=target.now + 60)
    assert target.server.key_source.running == {}
    assert target.server.active.ends == (PORT, remote)
    target.chat(5)


@pytest.mark.parametrize("seconds", [0.0005, 0.0025, 0.0045])
def test_a_flood_against_a_running_attempt_is_noise(make_target, seconds):
    """Junk, alerts, records for later and early data, 5000 at each end: counted, bounded, and the tunnel comes up."""
    body = b"\x0b" + (4000).to_bytes(3, "big") + b"\xff\x00" + bytes(3) + (10).to_bytes(3, "big") + bytes(10)
    junk = [
        push_record_header(ALERT, 0, 99, 2) + b"\x02\x28",
        push_record_header(HANDSHAKE, 0, 99, len(body)) + body,
        push_record_header(HANDSHAKE, 1, 99, 40) + bytes(40),
        push_record_header(APPLICATION_DATA, 1, 99, 1000) + bytes(1000),
        bytes(100),
    ]
    target = make_target()
    target.connect()
    target.run(until=seconds)
    ports = target.wire[0][2:4]
    for _ in range(1000):
        for datagram in junk:
            target.inject("alpha", *ports, datagram)
            target.inject("beta", *ports[::-1], datagram)
    for tunnel in (target.client, target.server):
        for attempt in tunnel.key_source.running.values():
            assert len(attempt.early) <= TunnelSettings().early_records
    target.run(until=20)
    assert (target.client.state, target.server.state) == (TunnelState.UP, TunnelState.UP)
    target.chat(5)


def test_a_forged_server_hello_costs_an_attempt_and_not_the_tunnel(make_target):
    """Who guesses the ports can end an attempt, for its messages are in clear; the next begins after a pause."""
    target = make_target()
    target.connect()
    ports = target.wire[0][2:4]
    body = b"\xfe\xfd" + bytes(32) + b"\x00" + b"\xc0\x2c" + b"\x00"
    length = len(body).to_bytes(3, "big")
    message = b"\x02" + length + bytes(5) + length + body
    target.inject("alpha", *ports, push_record_header(HANDSHAKE, 0, 0, len(message)) + message)
    assert target.client.state is TunnelState.BACKING_OFF
    assert target.client.failure.startswith("OpenSSL: ")
    target.run(until=target.client.retry_at)
    target.connect()
    target.run(until=target.now + 1)
    assert (target.client.state, target.server.state) == (TunnelState.UP, TunnelState.UP)
    target.chat(3)


def test_forged_records_to_a_host_that_has_just_started_begin_few_attempts(make_target):
    """It may have restarted, so it makes itself known to the peer; its pauses bound how often, and how much it sends."""
    target = make_target(fate=lambda *_: [])
    forged = push_record_header(APPLICATION_DATA, 1, 5, 100) + bytes(100)
    came = 0
    while target.now < 600:
        target.inject("beta", PORT, 50_000, forged)
        came += len(forged)
        target.run(until=target.now + 0.1)
    went = sum(len(datagram) for *_, datagram in target.wire)
    attempts = {local for _, _, local, _, _ in target.wire}
    print(f"{came} bytes came, {went} went in {len(attempts)} attempts")
    assert went < came / 10
    assert len(attempts) <= 600 / TunnelSettings().handshake_deadline


def test_hellos_from_strangers_cost_a_look_up(make_cards):
    """5000 addresses that are no hosts of the lab: not answered, nothing kept, the live tunnel carries on."""
    hello = fresh_hello()
    target = make_cards().up()
    alive, sent = attempts_alive(), len(target.datagrams)
    for number in range(5000):
        target.inject("h2", (f"192.0.{number >> 8}.{number & 0xFF}", 50_000), PORT, hello)
    assert target.drops_at("h2") == {DropReason.UNKNOWN_PEER: 5000}
    assert len(target.datagrams) == sent
    assert attempts_alive() == alive
    target.talk(10)


def test_a_flood_from_one_host_of_the_lab_leaves_the_tunnels_of_others_alone(make_cards):
    """From h3's address: its tunnel may be busy, that of h1 is not."""
    hello = fresh_hello()
    target = make_cards().up()
    target.cut = True  # what h2 answers goes to h3, which did not ask
    for number in range(2000):
        target.inject("h2", ("10.255.0.3", 20_000 + number), PORT, hello)
    target.cut = False
    card = target.cards["h2"]
    assert card.tunnels["h3"].key_source.running == {}
    assert card.tunnels["h1"].state is TunnelState.UP
    target.talk(10)
