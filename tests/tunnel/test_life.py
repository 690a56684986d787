"""A tunnel's life after its first handshake: rekey, limits, dead peers, close."""

import dataclasses
from math import inf
from typing import Any

import pytest

from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TRANSITIONS, TunnelEvent, TunnelState, next_state
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.record import MAX_SEQUENCE, pull_records_untrusted


DELAY = 0.001


def keys_of(tunnel: Any) -> Any:
    """Where a tunnel gets its keys: here, from handshakes."""
    return tunnel.key_source


def connected(**options) -> Pair:
    pair = Pair(**options)
    pair.connect()
    pair.run(until=1)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    return pair


def assert_overwritten(association):
    """Neither direction has a cipher any more."""
    for end in (association.sealer, association.opener):
        assert end._cipher is None
        assert not end._cells.any()


def chat(pair: Pair, packets: int, pause: float = 0.002) -> list[bytes]:
    """Send packets both ways, one at a time; all arrive, in order."""
    sent = [b"packet %d" % (len(pair.received["beta"]) + number) for number in range(packets)]
    for packet in sent:
        pair.send("alpha", packet)
        pair.send("beta", packet)
        pair.run(until=pair.now + pause)
    assert pair.received["beta"][-packets:] == sent
    assert pair.received["alpha"][-packets:] == sent
    return sent


def records_per_key(pair: Pair, name: str) -> dict[tuple[int, int], list[int]]:
    """Record numbers of protected records that a host sent, by its pair of ports."""
    numbers: dict[tuple[int, int], list[int]] = {}
    for _, sender, local, remote, datagram in pair.wire:
        for record in pull_records_untrusted(datagram):
            if sender == name and record.header.epoch == 1:
                numbers.setdefault((local, remote), []).append(record.header.sequence)
    return numbers


def test_a_worn_key_is_replaced_before_its_limit_and_no_packet_is_lost():
    """RFC 9325 4.4 with a limit of 50 records: every association ends before it, traffic goes on."""
    pair = connected(settings=TunnelSettings(rekey_records=50, drain=0.05))
    chat(pair, 400)
    assert pair.client.handshakes > 400 // 50
    for name in ("alpha", "beta"):
        numbers = records_per_key(pair, name)
        assert len(numbers) >= 400 // 50
        assert all(max(each) < 50 + 1 for each in numbers.values())  # and the close_notify behind it
    assert not pair.dropped["alpha"]
    assert not pair.dropped["beta"]


def test_a_rekey_on_command_comes_from_a_new_port_while_the_old_association_goes_on():
    """Make before break: the old one is drained, says goodbye, and its keys are overwritten."""
    pair = connected()
    old = present(pair.client.active)
    assert pair.rekey()
    assert pair.client.state is TunnelState.REKEYING
    assert not pair.rekey(), "one is begun already"
    pair.send("alpha", b"during")
    pair.run(until=2)
    new = present(pair.client.active)
    assert new is not old
    assert new.local_port != old.local_port
    assert not old.closed
    assert pair.received["beta"] == [b"during"]
    chat(pair, 3)
    pair.run(until=30)
    assert old.closed
    assert_overwritten(old)
    assert list(pair.server.associations) == [pair.server.active]
    chat(pair, 3)


@pytest.mark.parametrize(
    "settings",
    [TunnelSettings(rekey_bytes=300), TunnelSettings(rekey_seconds=0.2)],
    ids=["bytes", "seconds"],
)
def test_bytes_and_time_wear_a_key_too(settings):
    """Limits of a lab that wants to see many rekeys."""
    pair = connected(settings=settings)
    chat(pair, 200, pause=0.005)
    assert 3 <= pair.client.handshakes <= 20
    assert not pair.dropped["alpha"]
    assert not pair.dropped["beta"]


def test_a_server_seals_with_the_old_key_until_the_client_is_heard_on_the_new_one():
    """Its last flight may be lost; nothing that it sends meanwhile is."""
    lose = {"on": False}

    def fate(who, _number, data):
        is_final = who == "beta" and data[0] == 0x14
        return [] if lose["on"] and is_final else [(DELAY, data)]

    pair = connected(fate=fate)
    lose["on"] = True
    pair.rekey("alpha")
    pair.run(until=pair.now + 0.1)
    for number in range(200):
        pair.send("beta", b"%d" % number)
    pair.run(until=pair.now + 0.1)
    assert len(pair.received["alpha"]) == 200
    lose["on"] = False
    pair.run(until=pair.now + 5)
    assert present(pair.server.active).ends == (4433, present(pair.client.active).local_port)


def test_replays_across_a_rekey_are_refused():
    """Records of the old association are late for the new one, and for nobody after the drain."""
    pair = connected()
    chat(pair, 20)
    captured = [(local, remote, data) for _, who, local, remote, data in pair.wire if who == "alpha"]
    pair.rekey("alpha")
    pair.run(until=pair.now + 1)
    pair.received["beta"].clear()
    ports = present(pair.client.active).local_port
    for local, remote, data in captured:
        pair.inject("beta", remote, local, data)
        pair.inject("beta", remote, ports, data)
    pair.run(until=60)
    for local, remote, data in captured:
        pair.inject("beta", remote, local, data)
    assert pair.received["beta"] == []
    chat(pair, 3)


def test_record_numbers_are_not_wrapped():
    """At 2^48 - 1 sealing is refused, and a fresh association is begun before it (RFC 6347 4.1)."""
    pair = connected(settings=TunnelSettings(rekey_records=2**60))
    present(pair.client.active).next_sequence = MAX_SEQUENCE - 1
    assert pair.client.room() == 2
    pair.send("alpha", b"last but one")
    pair.send("alpha", b"last")
    assert pair.client.room() == 0
    with pytest.raises(LocalProtocolError, match="no record numbers left"):
        pair.send("alpha", b"one too many")
    pair.run(until=2)
    assert pair.received["beta"] == [b"last but one", b"last"]
    chat(pair, 3)


def test_too_many_forgeries_end_an_association():
    """RFC 9325 4.4 with a limit of 10: the tenth closes it, traffic begins another."""
    pair = connected(settings=TunnelSettings(forgery_limit=10))
    pair.send("alpha", b"real")
    pair.run(until=2)
    _, _, local, remote, record = pair.wire[-1]
    association = present(pair.server.active)
    for number in range(10):
        assert not association.closed
        forged = bytearray(record)
        forged[9:11] = (1000 + number).to_bytes(2, "big")
        pair.inject("beta", remote, local, bytes(forged))
    assert association.closed
    assert pair.server.active is None
    assert pair.server.forgeries == 10
    assert pair.server.failure == "10 records did not verify (RFC 9325 4.4)"
    pair.connect("beta")
    pair.run(until=5)
    chat(pair, 3)


def test_a_silent_tunnel_stays_silent():
    """No traffic, no timers, no packets."""
    pair = connected()
    sent = len(pair.wire)
    assert (pair.client.timeout(), pair.server.timeout()) == (inf, inf)
    pair.run(until=100_000)
    assert len(pair.wire) == sent
    assert pair.client.state is TunnelState.UP


def test_one_sided_traffic_is_answered_with_an_empty_record_now_and_then():
    """So the sender knows that its peer is alive, and nobody starts a handshake."""
    pair = connected()
    for _ in range(100):
        pair.send("alpha", b"one way")
        pair.run(until=pair.now + 1)
    back = [data for moment, who, *_, data in pair.wire if who == "beta" and moment > 1]
    assert 5 <= len(back) <= 12
    assert {len(data) for data in back} == {37}
    assert pair.client.handshakes == 1
    assert pair.received == {"alpha": [], "beta": [b"one way"] * 100}


def test_a_dead_peer_is_noticed_and_comes_back():
    """Within `dead_after` and one attempt the tunnel is down with a reason; when the peer returns, so does it."""
    gone = {"on": False}
    pair = connected(
        fate=lambda _who, _n, data: [] if gone["on"] else [(DELAY, data)],
        settings=TunnelSettings(handshake_deadline=5.0),
    )
    gone["on"] = True
    died = pair.now
    pair.send("alpha", b"into the void")
    pair.run(until=died + 14)
    assert (pair.client.state, pair.client.active is None) == (TunnelState.UP, False)
    pair.run(until=died + 16)
    assert (pair.client.state, pair.client.active is None) == (TunnelState.REKEYING, False)
    pair.run(until=died + 25)
    assert pair.client.active is None
    assert pair.client.failure.startswith("no answer within 5 s")
    gone["on"] = False
    pair.run(until=pair.client.retry_at + 1)
    pair.connect()
    pair.run(until=pair.now + 1)
    chat(pair, 3)
    assert pair.client.failure == ""


def test_a_peer_that_restarted_is_found_by_the_one_that_did_not():
    """It knows nothing of the old keys; the live end notices its silence and shakes hands anew."""
    pair, other = connected(), Pair()
    pair._tunnels["beta"] = pair.server = other.server
    pair.send("alpha", b"lost")
    pair.run(until=30)
    # The packet, and the goodbye of the association it was sent on.
    assert pair.dropped["beta"] == {DropReason.NO_ASSOCIATION: 2}
    assert pair.client.state is TunnelState.UP
    assert pair.client.handshakes == 2
    chat(pair, 3)


def test_close_is_answered_and_both_ends_overwrite_their_keys():
    """close_notify both ways (RFC 5246 7.2.1); data behind it goes nowhere."""
    pair = connected()
    client, server = present(pair.client.active), present(pair.server.active)
    pair.close()
    assert pair.client.state is TunnelState.CLOSING
    pair.run(until=pair.now + 0.1)
    assert (pair.client.state, pair.server.state) == (TunnelState.CLOSED, TunnelState.IDLE)
    for association in (client, server):
        assert association.closed
        assert_overwritten(association)
    with pytest.raises(LocalProtocolError, match="closed seals nothing"):
        pair.send("alpha", b"more")


def test_close_without_an_answer_ends_all_the_same():
    """Nobody waits for ever for a peer that is gone."""
    gone = {"on": False}
    pair = connected(fate=lambda _who, _n, data: [] if gone["on"] else [(DELAY, data)])
    gone["on"] = True
    pair.close("alpha")
    pair.run(until=pair.now + 5)
    assert pair.client.state is TunnelState.CLOSED
    assert list(pair.client.associations) == []


def test_the_table_of_states_has_no_dead_end_but_closed():
    """From every state one can get to UP again, but from the two that end a tunnel."""
    ending = {TunnelState.CLOSING, TunnelState.CLOSED}
    for state in set(TunnelState) - ending:
        seen, frontier = set(), {state}
        while frontier:
            seen |= frontier
            frontier = {to for (origin, _), to in TRANSITIONS.items() if origin in frontier} - seen
        assert TunnelState.UP in seen, state
    with pytest.raises(LocalProtocolError, match="closed cannot take start"):
        next_state(TunnelState.CLOSED, TunnelEvent.START)


def test_a_host_that_restarted_makes_itself_known_when_it_is_sent_records_it_cannot_open():
    """It need not have anything to send, nor its peer wait until it is presumed dead."""
    pair, other = connected(), Pair()
    pair._tunnels["beta"] = pair.server = other.server
    pair.send("alpha", b"lost")
    pair.run(until=pair.now + 1)
    assert pair.dropped["beta"] == {DropReason.NO_ASSOCIATION: 1}
    assert pair.server.state is TunnelState.UP
    assert present(pair.server.active).is_client
    chat(pair, 3)


def test_stray_records_after_a_goodbye_begin_nothing():
    """An association that was closed in order is not missed."""
    pair = connected()
    chat(pair, 3)
    _, _, local, remote, record = pair.wire[-1]
    pair.close("alpha")
    pair.run(until=pair.now + 1)
    assert pair.server.state is TunnelState.IDLE
    pair.inject("beta", remote, local, record)
    assert pair.server.state is TunnelState.IDLE


def test_a_peer_that_is_refused_after_its_finished_is_told_so():
    """It believes that all is well, and would seal for nobody: a fatal alert under the new keys ends it."""
    pair = Pair()
    keys_of(pair.client)._peer = dataclasses.replace(keys_of(pair.client)._peer, name="gamma")
    pair.connect()
    pair.run(until=0.5)
    assert "gamma" in pair.client.failure
    assert pair.server.handshakes == 1
    assert pair.server.active is None
    assert pair.server.state is TunnelState.IDLE


def test_a_repeated_hello_with_a_good_cookie_leaves_a_live_tunnel_as_it_is():
    """Whoever listens can repeat it for a minute or two: keys can be renewed meanwhile, nothing looks broken."""
    pair = connected()
    hello = pair.wire[2][4]
    pair.inject("beta", 4433, 60_000, pair.wire[0][4])  # without its cookie: only a question back
    pair.inject("beta", 4433, pair.wire[0][2], hello)
    assert pair.server.state is TunnelState.UP
    assert pair.rekey("beta")
    pair.run(until=pair.now + 30)
    assert (pair.server.state, pair.server.failure) == (TunnelState.UP, "")
    chat(pair, 3)
