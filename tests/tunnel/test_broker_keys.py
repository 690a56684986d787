"""Keys from a broker instead of a handshake: asked for, installed once, worn, lost and refused."""

import dataclasses
import secrets
from collections import Counter

import pytest

from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.ports import PORT_TRIES
from dtls_emu.tunnel.session_keys import SESSION_KEY_BYTES, SessionKeys
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason, Keying
from dtls_emu.wire.protocol import HANDSHAKE
from dtls_emu.wire.record import push_record_header


def fresh_keys(initiator: str, port: int) -> SessionKeys:
    return SessionKeys(initiator, port, bytearray(secrets.token_bytes(SESSION_KEY_BYTES)))


def chat(pair: Pair, packets: int) -> None:
    """Send packets both ways, one at a time; all arrive, in order."""
    sent = [b"packet %d" % number for number in range(packets)]
    for packet in sent:
        for name in ("alpha", "beta"):
            pair.send(name, packet)
        pair.run(until=pair.now + 0.002)
    assert pair.received["beta"][-packets:] == sent
    assert pair.received["alpha"][-packets:] == sent


def broker_pair(**options) -> Pair:
    return Pair(settings=TunnelSettings(keying=Keying.BROKER, **options))


def hand_out(pair: Pair, name: str) -> SessionKeys:
    """Answer a tunnel's request for keys at both ends, as a controller does: the responder first."""
    port = pair.key_requests[name].pop()
    keys = SessionKeys(name, port, bytearray(secrets.token_bytes(SESSION_KEY_BYTES)))
    copy = dataclasses.replace(keys, material=bytearray(keys.material))
    other = "beta" if name == "alpha" else "alpha"
    pair.install(other, copy)
    pair.install(name, keys)
    assert not any(keys.material)
    assert not any(copy.material)
    return keys


def test_a_brokers_keys_need_no_handshake_and_serve_one_session():
    """Same record layer; after `session_idle` both ends discard them, the next session has others."""
    pair = broker_pair(session_idle=30.0)
    pair.connect()
    assert pair.wire == []
    hand_out(pair, "alpha")
    first = present(pair.client.active)
    chat(pair, 10)
    assert {data[0] for *_, data in pair.wire} == {0x17}
    pair.run(until=pair.now + 40)
    assert first.closed
    assert (pair.client.state, pair.server.state) == (TunnelState.IDLE, TunnelState.IDLE)
    pair.connect("beta")
    hand_out(pair, "beta")
    chat(pair, 10)


def test_session_keys_are_used_once():
    """Spent or short material is the caller's mistake, as are keys for a tunnel that shakes hands."""
    pair = broker_pair()
    pair.connect()
    keys = hand_out(pair, "alpha")
    with pytest.raises(LocalProtocolError, match="used once"):
        pair.client.install(keys, pair.now)
    with pytest.raises(LocalProtocolError, match="does not take session keys"):
        Pair().client.install(keys, 0.0)


def test_without_a_broker_the_attempt_fails_with_a_reason():
    """And waits its turn like any other."""
    pair = broker_pair()
    pair.connect()
    pair.run(until=20)
    assert pair.client.state is TunnelState.BACKING_OFF
    assert pair.client.failure == "no keys from the broker"


def test_worn_session_keys_are_replaced_by_the_broker():
    """Limits are those of the record layer, whoever made the keys."""
    pair = broker_pair(rekey_records=50)
    pair.connect()
    hand_out(pair, "alpha")
    for _ in range(30):
        chat(pair, 5)
        for name in ("alpha", "beta"):
            if pair.key_requests[name]:
                hand_out(pair, name)
    assert pair.client.handshakes >= 3


def test_keys_for_a_port_that_asked_for_none_are_refused():
    """Nobody would open that port. They are overwritten all the same, and the session goes on."""
    pair = broker_pair()
    pair.connect()
    (port,) = pair.key_requests["alpha"]
    unasked = fresh_keys("alpha", port + 1)
    with pytest.raises(LocalProtocolError, match=f"no session keys were asked for for port {port + 1}"):
        pair.install("alpha", unasked)
    assert not any(unasked.material)
    assert pair.client.active is None
    hand_out(pair, "alpha")
    again = fresh_keys("alpha", port)  # the request was answered
    with pytest.raises(LocalProtocolError, match="asked for"):
        pair.install("alpha", again)
    assert not any(again.material)
    chat(pair, 3)


def test_keys_that_come_after_their_request_was_given_up_are_refused():
    """The port is closed by then, and may be another program's."""
    pair = broker_pair()
    pair.connect()
    (port,) = pair.key_requests["alpha"]
    pair.run(until=16)
    assert pair.client.state is TunnelState.BACKING_OFF
    with pytest.raises(LocalProtocolError, match="asked for"):
        pair.install("alpha", fresh_keys("alpha", port))


def test_keys_of_other_hosts_are_refused():
    """They belong to some other tunnel of the lab."""
    pair = broker_pair()
    keys = fresh_keys("gamma", 50_000)
    with pytest.raises(LocalProtocolError, match="gamma"):
        pair.install("alpha", keys)
    assert not any(keys.material)


def test_keys_for_a_closed_tunnel_are_refused_and_overwritten():
    """It never seals again; and its own request is withdrawn with it."""
    pair = broker_pair()
    pair.connect()
    (port,) = pair.key_requests["alpha"]
    assert pair.client.close(pair.now).closed_ports == (port,)
    keys = fresh_keys("alpha", port)
    with pytest.raises(LocalProtocolError, match="closed does not take session keys"):
        pair.install("alpha", keys)
    assert not any(keys.material)


def test_a_port_that_cannot_be_opened_is_asked_for_again_with_another():
    """Up to a limit, then the attempt has failed."""
    pair = broker_pair()
    pair.connect()
    for _ in range(PORT_TRIES):
        pair.carry_out("alpha", pair.client.port_unavailable(pair.key_requests["alpha"][-1], pair.now))
    assert len(set(pair.key_requests["alpha"])) == PORT_TRIES
    assert pair.client.failure == f"none of {PORT_TRIES} UDP ports can be opened"


def test_hellos_and_strange_records_begin_nothing():
    """There is no handshake to begin; each is dropped by its reason."""
    pair = broker_pair()
    hello = Pair()
    hello.connect()
    pair.inject("beta", 4433, 50_000, hello.wire[0][4])
    pair.inject("beta", 4433, 50_000, push_record_header(HANDSHAKE, 1, 0, 40) + bytes(40))
    pair.inject("beta", 4433, 50_000, b"junk")
    assert pair.dropped["beta"] == Counter(
        {DropReason.HANDSHAKE_NOISE: 1, DropReason.NO_ASSOCIATION: 1, DropReason.BAD_DATAGRAM: 1}
    )
    assert pair.wire == []


@pytest.mark.parametrize("sessions", [10, 100])
def test_keys_that_are_worn_within_a_round_trip_lose_no_record(sessions):
    """The broker is near and the peer is far: many sessions are under way before the peer is heard on the first."""
    delay, records = 0.2, 8
    pair = Pair(
        settings=TunnelSettings(keying=Keying.BROKER, rekey_records=records),
        fate=lambda _who, _number, datagram: [(delay, datagram)],
    )
    pair.connect()
    hand_out(pair, "alpha")
    sent: dict[str, list[bytes]] = {"alpha": [], "beta": []}
    while pair.client.handshakes < sessions:
        for name, tunnel in (("alpha", pair.client), ("beta", pair.server)):
            if tunnel.room():
                sent[name].append(b"%s %d" % (name.encode(), len(sent[name])))
                pair.send(name, sent[name][-1])
        for name in sent:
            if pair.key_requests[name]:
                hand_out(pair, name)
        pair.run(until=pair.now + delay / sessions / records)
    pair.run(until=pair.now + 5)
    assert pair.received["beta"] == sent["alpha"]
    assert pair.received["alpha"] == sent["beta"]
    assert not pair.dropped["alpha"] | pair.dropped["beta"]
    pair.run(until=pair.now + 60)
    assert {len(list(tunnel.associations)) for tunnel in (pair.client, pair.server)} <= {0, 1}


def test_sessions_that_are_alive_are_bounded():
    """However fast a broker is: what is drained, and too much, is let go of first."""
    pair = Pair(settings=TunnelSettings(keying=Keying.BROKER), fate=lambda *_: [])
    for port in range(50_000, 50_600):
        pair.install("beta", fresh_keys("alpha", port))
    assert len(list(pair.server.associations)) == 256
