"""Handshakes between two tunnels on a virtual clock, over a wire whose every datagram has a chosen fate."""

import itertools
import random

import pytest

from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel import openssl_driver
from dtls_emu.tunnel.finished import may_meet
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.protocol import HANDSHAKE
from dtls_emu.wire.record import pull_records_untrusted, push_record_header


DELAY = 0.001
DATAGRAMS = [("alpha", 0), ("alpha", 1), ("alpha", 2), ("beta", 0), ("beta", 1), ("beta", 2)]
"""Of a clean handshake at MTU 1500: three flights of each side, one datagram each."""


def assert_carries_data(pair: Pair) -> None:
    pair.send("alpha", b"to beta", b"short")
    pair.send("beta", b"to alpha")
    pair.run(until=pair.now + 1)
    assert pair.received == {"alpha": [b"to alpha"], "beta": [b"to beta", b"short"]}


def test_a_clean_handshake_takes_three_round_trips_and_six_datagrams():
    """Cookie exchange included, nothing is retransmitted or dropped; then the client says that it is there."""
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert [sender for _, sender, *_ in pair.wire] == [*["alpha", "beta"] * 3, "alpha"]
    assert len(pair.wire[-1][4]) == RECORD_OVERHEAD
    assert pair.client.last_handshake == pytest.approx(6 * DELAY)
    assert not pair.dropped["alpha"]
    assert not pair.dropped["beta"]
    assert_carries_data(pair)


def test_what_openssl_repeats_by_its_own_clock_is_not_sent(monkeypatch):
    """Its timer is a second of real time, so a slow machine, or a loss, has it write a flight before the next one."""
    drain = openssl_driver._drain
    written: dict[object, bytes] = {}

    def repeat(connection):
        now_written = drain(connection)
        earlier = written.get(connection, b"")
        written[connection] = now_written or earlier
        return earlier + now_written if now_written else b""

    monkeypatch.setattr(openssl_driver, "_drain", repeat)
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert [sender for _, sender, *_ in pair.wire] == [*["alpha", "beta"] * 3, "alpha"]
    assert_carries_data(pair)


def test_what_openssl_repeats_by_its_own_clock_spends_no_record_number(monkeypatch):
    """Or it would depend on the speed of the machine how soon a key is worn."""
    drain = openssl_driver._drain

    def repeat(connection):
        written = drain(connection)
        again = b"".join(
            push_record_header(HANDSHAKE, 1, record.header.sequence + 1, record.header.length)
            + bytes(record.fragment)
            for record in pull_records_untrusted(written)
            if record.header.epoch
        )
        return written + again

    numbers = []
    for change in (drain, repeat):
        monkeypatch.setattr(openssl_driver, "_drain", change)
        pair = Pair()
        pair.connect()
        pair.run(until=1)
        ends = present(pair.client.active), present(pair.server.active)
        numbers.append([end.next_sequence for end in ends])
    assert numbers[0] == numbers[1]
    assert_carries_data(pair)


@pytest.mark.parametrize(("sender", "number"), DATAGRAMS)
def test_each_single_loss_is_recovered(sender, number):
    """Losing any one datagram costs a retransmission, never the handshake."""
    pair = Pair(fate=lambda who, n, data: [] if (who, n) == (sender, number) else [(DELAY, data)])
    pair.connect()
    pair.run(until=10)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert_carries_data(pair)


@pytest.mark.parametrize(("sender", "number"), DATAGRAMS)
def test_each_duplicate_is_harmless(sender, number):
    """A datagram that arrives twice does not disturb either side."""
    pair = Pair(fate=lambda who, n, data: [(DELAY, data)] * (2 if (who, n) == (sender, number) else 1))
    pair.connect()
    pair.run(until=10)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert_carries_data(pair)


@pytest.mark.parametrize("mtu", [256 + 28, 600, 1500, 9000])
def test_flights_fit_every_mtu(mtu):
    """No handshake datagram is larger than the path, down to what OpenSSL can do."""
    pair = Pair(path_mtu=mtu)
    pair.connect()
    pair.run(until=10)
    assert pair.client.state is TunnelState.UP
    assert max(len(datagram) for *_, datagram in pair.wire) <= mtu - 28
    assert_carries_data(pair)


def test_a_bad_network_only_costs_time():
    """Loss, duplication, reordering and delay at once: every seeded handshake ends in an association."""
    for seed in range(40):
        rng = random.Random(seed)

        def fate(_who, _number, data, rng=rng):
            copies = rng.choices((0, 1, 2), (10, 80, 10))[0]
            return [(DELAY + rng.random() * 0.2, data) for _ in range(copies)]

        pair = Pair(fate=fate, settings=TunnelSettings(handshake_deadline=60.0))
        pair.connect()
        pair.run(until=120)
        print(f"seed {seed}")
        assert pair.client.state is TunnelState.UP, pair.client.failure
        assert pair.server.state is TunnelState.UP, pair.server.failure


def test_a_dead_peer_is_given_up_at_the_deadline_and_tried_again_after_a_pause():
    """The reason is stated, the pause doubles, and a new attempt comes from a new port."""
    pair = Pair(fate=lambda *_: [], settings=TunnelSettings(handshake_deadline=5.0))
    pair.connect()
    pair.run(until=5.5)
    assert (pair.client.state, pair.client.retry_at > pair.now) == (TunnelState.BACKING_OFF, True)
    assert pair.client.failure.startswith("no answer within 5 s")
    sent = len(pair.wire)
    pair.connect()
    assert len(pair.wire) == sent, "an attempt started before its pause was over"
    pair.now = pair.client.retry_at
    pair.connect()
    assert pair.client.state is TunnelState.HANDSHAKING
    assert len({local for _, _, local, _, _ in pair.wire}) == 2


def test_junk_and_forged_alerts_do_not_end_a_handshake():
    """What anyone can forge in clear is counted and never reaches OpenSSL."""
    fatal = bytes.fromhex("15fefd00000000000000ff0002") + b"\x02\x28"
    change = bytes.fromhex("14fefd00000000000000ff0001") + b"\x02"
    bogus = bytes.fromhex("16fefd00000000000000ff000c") + b"\xff" * 12
    junk = [fatal, change, bogus, b"\x00" * 40, b"\x16", bytes.fromhex("16fefd000000000000000bffff")]

    def fate(_who, _number, data):
        return [(DELAY / 2, item) for item in junk] + [(DELAY, data)] + [(2 * DELAY, item) for item in junk]

    pair = Pair(fate=fate)
    pair.connect()
    pair.run(until=10)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    noise = pair.dropped["beta"]
    assert noise[DropReason.HANDSHAKE_NOISE] + noise[DropReason.BAD_DATAGRAM] > 0


def test_both_ends_starting_at_once_settle_on_the_lower_address():
    """The fixed rule leaves one association, whose client is the host with the lower address."""
    pair = Pair()
    pair.connect("alpha", "beta")
    pair.run(until=30)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert present(pair.client.active).is_client
    assert not present(pair.server.active).is_client
    assert_carries_data(pair)


def test_a_lost_final_flight_is_answered_even_after_the_server_has_sent_data():
    """RFC 6347 4.2.4: the server answers the repeated flight; its Finished has a new number and nonce."""
    pair = Pair(fate=lambda who, n, data: [] if (who, n) == ("beta", 2) else [(DELAY, data)])
    pair.connect()
    pair.run(until=0.5)
    assert (pair.client.state, pair.server.state) == (TunnelState.HANDSHAKING, TunnelState.UP)
    pair.send("beta", b"early 1")
    pair.send("beta", b"early 2")
    pair.run(until=5)
    assert pair.client.state is TunnelState.UP
    assert pair.received["alpha"] == [b"early 1", b"early 2"]


def test_early_records_of_an_attempt_that_fails_are_dropped_by_reason():
    """What was kept for the Finished that never came is in the books like everything else."""
    pair = Pair(
        fate=lambda who, n, data: [] if who == "beta" and n > 1 and data[0] != 23 else [(DELAY, data)]
    )
    pair.connect()
    pair.run(until=0.5)
    pair.send("beta", b"early 1", b"early 2")
    pair.run(until=20)
    assert pair.client.failure
    assert pair.received["alpha"] == []
    assert pair.dropped["alpha"][DropReason.NO_ASSOCIATION] == 2


@pytest.mark.parametrize("backend", ["cryptography", "openssl"])
@pytest.mark.parametrize(("sender", "number"), [*DATAGRAMS, (None, None)])
def test_no_nonce_or_number_is_used_twice_under_one_key(backend, sender, number):
    """Of every protected record on the wire, retransmissions included (RFC 6347 4.2.4: the record is new)."""
    pair = Pair(
        backend=backend, fate=lambda who, n, data: [] if (who, n) == (sender, number) else [(DELAY, data)]
    )
    pair.connect()
    pair.run(until=10)
    assert_carries_data(pair)
    pair.client.close(pair.now)
    for name in ("alpha", "beta"):
        records = [
            record
            for _, who, _, _, datagram in pair.wire
            if who == name
            for record in pull_records_untrusted(datagram)
            if record.header.epoch == 1
        ]
        for seen in (
            [bytes(record.fragment[:8]) for record in records],
            [record.header.sequence for record in records],
        ):
            assert len(seen) == len(set(seen))


@pytest.mark.parametrize("lost", [("beta", 2), ("alpha", 2)])
@pytest.mark.parametrize(
    "backend",
    [
        "openssl",
        "cryptography",
        "null",
        pytest.param("libcrypto", marks=pytest.mark.libcrypto),
        pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb),
    ],
)
def test_a_lost_final_flight_costs_a_timer_and_no_attempt_whatever_the_backend(backend, lost):
    """A repeated Finished under its old number would be a replay to who has it already, and never be answered; nor
    would one that the peer's backend cannot open, or not as OpenSSL has sealed it.
    """
    pair = Pair(backend=backend, fate=lambda who, n, data: [] if (who, n) == lost else [(DELAY, data)])
    pair.connect()
    pair.run(until=10)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert (pair.client.handshakes, pair.server.handshakes) == (1, 1)
    assert pair.client.last_handshake < 2
    assert not any(counter[DropReason.AUTH_FAILED] for counter in pair.dropped.values())
    assert_carries_data(pair)


def test_a_finished_that_waits_twice_in_openssl_is_not_answered_behind_our_back():
    """It overtakes the rest of its flight, and so does its repetition: OpenSSL would write where nobody asked it to."""

    def fate(who, number, data):
        return [
            (
                1.5 if who == "alpha" and number > 1 and record.header.epoch == 0 else DELAY,
                bytes(record.record),
            )
            for record in pull_records_untrusted(data)
        ]

    pair = Pair(backend="openssl", fate=fate)
    pair.connect()
    pair.run(until=10)
    assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP)
    assert_carries_data(pair)
    pair.send("beta", b"after data of the client")
    pair.run(until=pair.now + 1)
    assert pair.received["alpha"][-1] == b"after data of the client"


def test_every_second_final_flight_lost_is_recovered_with_the_openssl_backend():
    """Several repetitions take several numbers; OpenSSL, which does not know of them, goes on behind them all."""
    lost = {("beta", 2), ("beta", 3), ("alpha", 3)}
    pair = Pair(backend="openssl", fate=lambda who, n, data: [] if (who, n) in lost else [(DELAY, data)])
    pair.connect()
    pair.run(until=15)
    assert (pair.client.handshakes, pair.server.handshakes) == (1, 1)
    assert_carries_data(pair)


@pytest.mark.parametrize(("mtu", "first", "second"), [(284, 2, 6), (284, 3, 8), (700, 2, 4)])
def test_a_finished_that_came_early_twice_is_not_answered_by_openssl_later(mtu, first, second):
    """A part of the client's flight is lost twice, its Finished never: OpenSSL keeps both, and answers the second by
    its own last flight when it next reads, under a record number that is ours by then.
    """
    pair = Pair(
        backend="openssl",
        path_mtu=mtu,
        fate=lambda who, n, data: [] if who == "alpha" and n in {first, second} else [(DELAY, data)],
    )
    pair.connect()
    pair.run(until=12)
    assert (pair.client.handshakes, pair.server.handshakes) == (1, 1)
    assert_carries_data(pair)
    pair.send("beta", b"sealed once OpenSSL has read")
    pair.run(until=pair.now + 1)
    assert pair.received["alpha"][-1] == b"sealed once OpenSSL has read"


def test_a_spoofed_client_hello_leaves_a_live_association_alone():
    """Without its cookie a ClientHello on the same ports changes nothing (RFC 6347 4.2.8)."""
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    before = pair.server.active
    hello = pair.wire[0][4]
    pair.inject("beta", 4433, pair.wire[0][2], hello)
    pair.run(until=60)
    assert pair.server.active is before
    assert_carries_data(pair)


def test_a_restarted_peer_replaces_its_old_association_on_the_same_ports():
    """A new handshake from the same 4-tuple wins once its Finished is verified, not before."""
    old, new = Pair(), Pair()
    old.connect()
    old.run(until=1)
    before = present(old.server.active)
    # The restarted alpha is another pair's client; its beta is never used.
    old._tunnels["alpha"] = new.client
    old.client = new.client
    old.connect()
    old.run(until=10)
    assert old.client.state is TunnelState.UP
    assert old.server.active is not before
    assert before.closed
    assert_carries_data(old)


def test_swapping_neighbouring_datagrams_of_a_fragmented_flight_is_harmless():
    """At a small MTU each flight is several datagrams; any two neighbours may change places."""
    for first in range(8):

        def fate(who, number, data, first=first):
            late = who == "beta" and number == first
            return [(DELAY * (1.5 if late else 1), data)]

        pair = Pair(path_mtu=284, fate=fate)
        pair.connect()
        pair.run(until=20)
        assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP), first
        assert_carries_data(pair)


def test_peers_of_another_region_are_refused():
    """A certificate that our CA did not sign ends the handshake with a reason, on both sides."""
    from dtls_emu.testing.pair import _identities

    pair = Pair()
    _identities.cache_clear()
    stranger = Pair()
    pair._tunnels["beta"] = stranger.server
    pair.connect()
    pair.run(until=60)
    assert pair.client.state is TunnelState.BACKING_OFF
    assert "certificate verify failed" in pair.client.failure


def test_a_peer_with_another_name_is_refused():
    """The certificate is good, but not the one of the host that should be there (RFC 9325 7.1)."""
    import dataclasses

    pair = Pair()
    pair.client.key_source._peer = dataclasses.replace(pair.client.peer, name="gamma")
    pair.connect()
    pair.run(until=60)
    assert pair.client.state is TunnelState.BACKING_OFF
    assert "gamma" in pair.client.failure


def test_combinations_of_two_losses_are_recovered():
    """Any two of the six datagrams lost."""
    for lost in itertools.combinations(DATAGRAMS, 2):

        def fate(who, number, data, lost=lost):
            return [] if (who, number) in lost else [(DELAY, data)]

        pair = Pair(fate=fate)
        pair.connect()
        pair.run(until=20)
        assert (pair.client.state, pair.server.state) == (TunnelState.UP, TunnelState.UP), lost


def test_a_nonce_of_openssls_is_refused_where_ours_may_be_and_nowhere_else():
    """It is random: refusing all of epoch 1 would end one handshake of 2^15."""
    end = TunnelSettings().number_end
    for epoch, number, refused in (
        (1, 0, True),
        (1, end - 1, True),
        (1, end, False),
        (1, 2**48 - 1, False),
        (0, 2**48 - end + 1, True),  # counts up to ours
        (0, 2**48 - end, False),
        (0, 5, False),
        (2, 5, False),
        (0xFFFF, 5, False),
    ):
        nonce = epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
        assert may_meet(nonce, end) == refused, (epoch, number)
    assert may_meet(b"\x00\x01" + b"\xff" * 6, 2**48)
