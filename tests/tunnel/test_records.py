"""Our record layer after a real handshake with OpenSSL, whose own keys make the hostile records authentic.

A row of the table in `dtls_emu/tunnel/MUSTS.md` names the tests here that show it.
"""

import math

import pytest
from OpenSSL import SSL

from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.pair import Pair
from dtls_emu.testing.present import present
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.overhead import RECORD_HEADER, RECORD_OVERHEAD, RECORD_PREFIX
from dtls_emu.wire.protocol import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    DTLS_1_0,
    HANDSHAKE,
    HEARTBEAT,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    MAX_SEQUENCE,
)
from dtls_emu.wire.record import pull_records_untrusted, push_record_header


CONNECTION_ID = 0x19  # RFC 9146 3: tls12_cid
CLOSE_NOTIFY, FATAL_HANDSHAKE_FAILURE, USER_CANCELED = b"\x01\x00", b"\x02\x28", b"\x01\x5a"
HELLO_REQUEST = bytes(12)
CLIENT_HELLO = b"\x01" + bytes(11)


@pytest.fixture(params=[True, False], ids=["OpenSSL is client", "OpenSSL is server"])
def foreign(request, make_foreign):
    return make_foreign(is_client=request.param).shake_hands()


def test_openssl_opens_our_records_and_we_open_its(foreign):
    """Header, additional data, nonce and key block are the same on both sides, in both roles."""
    foreign.assert_talks()
    foreign.assert_talks()


def test_records_of_another_version_are_dropped_in_silence(foreign):
    """Even authentic ones; no alert goes out and the next record is delivered."""
    foreign.sent.clear()
    for sequence, version in enumerate((DTLS_1_0, 0x0303, 0xFEFC, 0x0000, 0xFFFF), start=10):
        foreign.inject(foreign.forge(b"other version", sequence, version=version))
    foreign.exchange()
    assert foreign.dropped == {DropReason.BAD_VERSION: 5}
    assert foreign.sent == []
    foreign.inject(foreign.forge(b"ours", 10))
    assert foreign.received == [b"ours"]


def test_every_bit_of_header_and_nonce_is_authenticated(foreign):
    """With any one of the 168 bits in front of the ciphertext flipped a record is not delivered."""
    record = foreign.forge(b"authentic", 10)
    for bit in range(8 * RECORD_PREFIX):
        flipped = bytearray(record)
        flipped[bit // 8] ^= 1 << bit % 8
        foreign.inject(bytes(flipped))
    assert foreign.received == []
    assert foreign.dropped.total() == 8 * RECORD_PREFIX
    foreign.inject(record)
    assert foreign.received == [b"authentic"]


def test_the_explicit_nonce_is_read_from_the_wire(foreign):
    """Only the sender knows how it chooses it: OpenSSL counts from a random start, pion draws each."""
    for sequence, nonce in enumerate((bytes(8), b"\xff" * 8, bytes.fromhex("c0ffee0123456789")), start=10):
        foreign.inject(foreign.forge(nonce, sequence, nonce=nonce))
    assert foreign.received == [bytes(8), b"\xff" * 8, bytes.fromhex("c0ffee0123456789")]


def test_our_explicit_nonce_is_epoch_and_sequence_number(foreign):
    """RFC 9325 7.2.1, for data and for alerts."""
    records = [*foreign.seal(b"one", b"two"), foreign.tunnel.active.close_notify()]
    for record in records:
        assert record[RECORD_HEADER:RECORD_PREFIX] == record[3:11]
    numbers = [int.from_bytes(record[5:11], "big") for record in records]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_no_nonce_of_a_whole_life_is_used_twice():
    """Two handshakes with a lost final flight each, data, probes, a rekey and goodbyes: distinct for each key."""
    lost: set[float] = set()

    def fate(who, _number, data):
        if who == "beta" and data[0] == CHANGE_CIPHER_SPEC and len(lost) < 2 and pair.now not in lost:
            lost.add(pair.now)
            return []
        return [(0.001, data)]

    pair = Pair(fate=fate)
    pair.connect()
    pair.run(until=5)
    for number in range(30):
        pair.send("alpha", b"%d" % number)
        pair.run(until=pair.now + 1)
    pair.rekey("alpha")
    for number in range(30):
        pair.send("beta", b"%d" % number)
        pair.run(until=pair.now + 1)
    pair.close("alpha")
    pair.run(until=pair.now + 5)
    assert len(lost) == 2
    nonces: dict[tuple[str, int, int], list[bytes]] = {}
    for _, who, local, remote, datagram in pair.wire:
        for record in pull_records_untrusted(datagram):
            if record.header.epoch:
                nonces.setdefault((who, local, remote), []).append(bytes(record.fragment[:8]))
    assert len(nonces) == 4  # two associations, two directions
    for each in nonces.values():
        assert len(each) >= 3
        assert len(each) == len(set(each))


def test_the_largest_record_passes_and_a_larger_one_is_dropped_in_silence(foreign):
    """2^14 bytes of plaintext both ways; one more is counted, where OpenSSL would end the connection."""
    (record,) = foreign.seal(bytes(MAX_PLAINTEXT))
    assert foreign.give(record) == bytes(MAX_PLAINTEXT)
    foreign.inject(foreign.take(bytes(MAX_PLAINTEXT)))
    assert foreign.received == [bytes(MAX_PLAINTEXT)]
    foreign.inject(foreign.forge(bytes(MAX_PLAINTEXT + 1), 10))
    foreign.inject(
        push_record_header(APPLICATION_DATA, 1, 11, MAX_CIPHERTEXT + 1) + bytes(MAX_CIPHERTEXT + 1)
    )
    assert foreign.dropped == {DropReason.OVERSIZE_RECORD: 2}
    with pytest.raises(LocalProtocolError, match="over the 16384 of a record"):
        foreign.seal(bytes(MAX_PLAINTEXT + 1))
    foreign.assert_talks()


def test_records_that_share_a_datagram_are_judged_one_by_one(foreign):
    """Good ones are delivered whatever stands in front of them; what follows a lying length is not read."""
    good = [foreign.forge(b"good %d" % number, 10 + number) for number in range(4)]
    bad = bytearray(foreign.forge(b"bad tag", 20))
    bad[-1] ^= 1
    old = foreign.forge(b"old epoch", 21, epoch=0)
    foreign.inject(good[0] + good[1])
    foreign.inject(bytes(bad) + old + good[2] + bytes(bad[:-1]))
    assert foreign.received == [b"good 0", b"good 1", b"good 2"]
    assert foreign.dropped == {DropReason.AUTH_FAILED: 1, DropReason.WRONG_EPOCH: 1}
    foreign.inject(good[3])
    assert foreign.received[3:] == [b"good 3"]


def test_no_record_spans_two_datagrams(foreign):
    """The halves of a record are two pieces of junk (RFC 6347 4.1.1)."""
    records = (foreign.forge(b"cut in two", number) for number in range(10, 100))
    # One of fifty has a second half that begins like a record, of no version that there is.
    record = next(each for each in records if not CHANGE_CIPHER_SPEC <= each[30] <= HEARTBEAT)
    foreign.inject(record[:30])
    foreign.inject(record[30:])
    assert foreign.received == []
    assert foreign.dropped == {DropReason.BAD_DATAGRAM: 2}


def test_an_empty_record_is_taken_and_counts_for_the_replay_window(foreign):
    """RFC 5246 6.2.1 allows it for data; nothing is delivered, and it comes once."""
    empty = foreign.forge(b"", 10)
    assert len(empty) == RECORD_OVERHEAD
    assert [foreign.inject(empty).control for _ in range(2)] == [1, 0]
    assert foreign.received == []
    assert foreign.dropped == {DropReason.REPLAYED: 1}
    assert foreign.give(foreign.tunnel.active.empty_record()) == b""
    foreign.assert_talks()


@pytest.mark.parametrize("content_type", [ALERT, HANDSHAKE, CHANGE_CIPHER_SPEC])
def test_empty_control_records_do_nothing(foreign, content_type):
    """RFC 5246 6.2.1 forbids to send them."""
    foreign.inject(foreign.forge(b"", 10, content_type=content_type))
    foreign.assert_talks()


def test_we_never_send_an_empty_record_but_of_data():
    """Handshake, probes and goodbye of a whole life; opened where they are protected."""
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    pair.send("alpha", b"data")
    pair.run(until=60)
    pair.close("alpha")
    pair.run(until=70)
    lengths = {
        (record.header.content_type, record.header.epoch, record.header.length)
        for *_, datagram in pair.wire
        for record in pull_records_untrusted(datagram)
    }
    assert (APPLICATION_DATA, 1, 24) in lengths
    assert (ALERT, 1, 26) in lengths
    assert not [
        length for kind, epoch, length in lengths if kind != APPLICATION_DATA and length <= 24 * epoch
    ]


def test_each_number_is_delivered_once_within_the_window(foreign, make_foreign):
    """A duplicate, one 63 late, one 64 late, a forgery before its original, and a jump to the end."""
    foreign = make_foreign(
        is_client=foreign.is_client, settings=TunnelSettings(replay_window=64)
    ).shake_hands()
    records = {number: foreign.forge(b"%d" % number, number) for number in (1000, 1000 - 63, 1000 - 64, 1001)}
    forged = bytearray(records[1001])
    forged[-1] ^= 1
    for datagram in (
        records[1000],
        records[1000],
        records[1000 - 63],
        records[1000 - 64],
        bytes(forged),
        records[1001],
        foreign.forge(b"the last", MAX_SEQUENCE),
        foreign.forge(b"too late", 1002),
    ):
        foreign.inject(datagram)
    assert foreign.received == [b"1000", b"937", b"1001", b"the last"]
    assert foreign.dropped == {DropReason.REPLAYED: 1, DropReason.LATE: 2, DropReason.AUTH_FAILED: 1}


def test_each_association_has_its_own_window():
    """Beside a rekeyed association the old one still takes records, and both take the same numbers."""
    pair = Pair()
    pair.connect()
    pair.run(until=1)
    old = present(pair.client.active)
    pair.rekey("alpha")
    pair.run(until=2)
    new = present(pair.client.active)
    old.next_sequence = new.next_sequence = 100
    for association in (old, new):
        pair.client._succession.associations.active = association
        pair.send("alpha", b"number 100 of %d" % association.local_port)
    pair.run(until=3)
    assert pair.received["beta"] == [b"number 100 of %d" % each.local_port for each in (old, new)]


@pytest.mark.parametrize("epoch", [0, 2, 3, 0xFFFF])
def test_records_of_another_epoch_are_dropped(foreign, epoch):
    """Though their tag is right: there is one epoch, the first after the handshake."""
    foreign.inject(foreign.forge(b"not now", 10, epoch=epoch))
    foreign.inject(foreign.forge(USER_CANCELED, 11, epoch=epoch, content_type=ALERT))
    assert foreign.received == []
    assert foreign.dropped == {DropReason.WRONG_EPOCH: 2}
    foreign.assert_talks()


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [
        (APPLICATION_DATA, b"GET / HTTP/1.1\r\n" * 10),
        (ALERT, FATAL_HANDSHAKE_FAILURE),
        (ALERT, CLOSE_NOTIFY),
        (CHANGE_CIPHER_SPEC, b"\x01"),
        (HANDSHAKE, HELLO_REQUEST),
        (HANDSHAKE, b"\x02" + bytes(11)),
    ],
    ids=["data", "fatal alert", "close_notify", "ChangeCipherSpec", "HelloRequest", "ServerHello"],
)
def test_plaintext_after_the_handshake_is_dropped(foreign, content_type, payload):
    """Anybody can write it: it is neither delivered nor obeyed, and not answered."""
    foreign.sent.clear()
    foreign.inject(push_record_header(content_type, 0, 100, len(payload)) + payload)
    foreign.exchange()
    assert foreign.received == []
    assert foreign.dropped == {DropReason.WRONG_EPOCH: 1}
    assert foreign.sent == []
    foreign.assert_talks()


def test_data_that_overtakes_the_finished_waits_for_it():
    """It is kept, a bounded number of records, and opened when the keys are there; a forgery among it is not."""
    held = []

    def fate(who, number, data):
        if (who, number) != ("beta", 2):
            return [(0.001, data)]
        held.append(data)
        return []

    pair = Pair(fate=fate, settings=TunnelSettings(early_records=5))
    pair.connect()
    pair.run(until=0.5)
    assert (pair.client.state, pair.server.state) == (TunnelState.HANDSHAKING, TunnelState.UP)
    for number in range(4):
        pair.send("beta", b"early %d" % number)
    _, _, local, remote, record = pair.wire[-1]
    pair.inject("alpha", remote, local, record[:-1] + bytes([record[-1] ^ 1]))
    for number in range(4, 8):
        pair.send("beta", b"early %d" % number)
    pair.run(until=0.6)
    assert pair.received["alpha"] == []
    pair.inject("alpha", remote, local, *held)
    assert pair.client.state is TunnelState.UP
    assert pair.received["alpha"] == [b"early 0", b"early 1", b"early 2", b"early 3"]
    assert pair.dropped["alpha"] == {DropReason.AUTH_FAILED: 1, DropReason.HANDSHAKE_NOISE: 4}


def test_nothing_is_sealed_before_the_handshake_is_over():
    """The caller is told; no protected record but the two Finished is on the wire until both ends are up."""
    pair = Pair()
    pair.connect()
    for moment in (0.0, 0.0015, 0.0035, 0.0055):
        pair.run(until=moment)
        assert pair.client.room() == 0
        with pytest.raises(LocalProtocolError, match="handshaking seals nothing"):
            pair.send("alpha", b"too early")
    types = [
        record.header.content_type
        for *_, datagram in pair.wire
        for record in pull_records_untrusted(datagram)
    ]
    assert APPLICATION_DATA not in types


@pytest.mark.parametrize(
    ("content_type", "plaintext", "reason"),
    [
        (HEARTBEAT, b"\x01\x00\x10" + bytes(32), DropReason.UNEXPECTED_CONTENT),
        (CONNECTION_ID, b"connection id", DropReason.BAD_DATAGRAM),
        (0x63, b"nobody's", DropReason.BAD_DATAGRAM),
        (CHANGE_CIPHER_SPEC, b"\x01", DropReason.UNEXPECTED_CONTENT),
        (ALERT, b"\x02\x28\x00", DropReason.UNEXPECTED_CONTENT),
    ],
    ids=["heartbeat", "connection id", "99", "ChangeCipherSpec", "long alert"],
)
def test_authentic_records_of_a_type_that_nobody_asked_for_are_dropped(
    foreign, content_type, plaintext, reason
):
    """OpenSSL would end the connection over most of them; here they are counted."""
    foreign.sent.clear()
    foreign.inject(foreign.forge(plaintext, 10, content_type=content_type))
    foreign.exchange()
    assert foreign.received == []
    assert foreign.dropped == {reason: 1}
    assert foreign.sent == []
    foreign.assert_talks()


@pytest.mark.parametrize("message", [HELLO_REQUEST, CLIENT_HELLO], ids=["HelloRequest", "ClientHello"])
def test_a_wish_to_renegotiate_begins_nothing(foreign, message):
    """Authentic or not: a fresh association is the only way to new keys (RFC 9325 3.5)."""
    foreign.inject(foreign.forge(message, 10, content_type=HANDSHAKE))
    assert foreign.tunnel.key_source.running == {}
    assert foreign.tunnel.state is TunnelState.UP
    assert foreign.tunnel.handshakes == 1


def test_the_peers_close_notify_is_answered_and_data_behind_it_ignored(foreign):
    """RFC 5246 7.2.1; OpenSSL sees a proper end."""
    behind = foreign.forge(b"behind the end", 50)
    foreign.connection.shutdown()
    closing = foreign.connection.bio_read(65_536)
    foreign.inject(closing)
    foreign.inject(behind)
    assert foreign.received == []
    assert foreign.tunnel.active is None
    (answer,) = foreign.take_outgoing()
    with pytest.raises(SSL.ZeroReturnError):
        foreign.give(answer.datagram)


def test_our_close_notify_is_one(foreign):
    """And the association is gone when OpenSSL has answered it."""
    foreign.carry_out(foreign.tunnel.close(foreign.now))
    (goodbye,) = foreign.take_outgoing()
    with pytest.raises(SSL.ZeroReturnError):
        foreign.give(goodbye.datagram)
    foreign.connection.shutdown()
    foreign.inject(foreign.connection.bio_read(65_536))
    assert foreign.tunnel.state is TunnelState.CLOSED
    assert list(foreign.tunnel.associations) == []


def test_an_authentic_fatal_alert_ends_the_association_without_an_answer(foreign):
    """RFC 5246 7.2.2."""
    foreign.inject(foreign.forge(FATAL_HANDSHAKE_FAILURE, 10, content_type=ALERT))
    assert foreign.tunnel.active is None
    assert foreign.take_outgoing() == []


@pytest.mark.parametrize(
    "alert", [USER_CANCELED, b"\x03\x28", b"\x00\x28"], ids=["warning", "level 3", "level 0"]
)
def test_other_authentic_alerts_are_ignored(foreign, alert):
    """Warnings, and levels that do not exist: a fixed choice."""
    foreign.inject(foreign.forge(alert, 10, content_type=ALERT))
    assert foreign.take_outgoing() == []
    foreign.assert_talks()


def test_forged_alerts_are_ignored(foreign):
    """With a wrong tag neither close_notify nor a fatal alert is believed."""
    for sequence, alert in enumerate((CLOSE_NOTIFY, FATAL_HANDSHAKE_FAILURE), start=10):
        forged = bytearray(foreign.forge(alert, sequence, content_type=ALERT))
        forged[-1] ^= 1
        foreign.inject(bytes(forged))
    assert foreign.dropped == {DropReason.AUTH_FAILED: 2}
    foreign.assert_talks()


def test_authentic_records_from_another_port_do_not_move_the_peer(foreign):
    """Neither delivered nor believed: an association lives on its own pair of ports (RFC 9146 6 by analogy)."""
    local, remote = foreign.ends
    record = foreign.forge(b"from elsewhere", 10)
    foreign.ends = (local, remote + 1)
    foreign.inject(record)
    assert foreign.received == []
    assert foreign.dropped == {DropReason.NO_ASSOCIATION: 1}
    foreign.ends = (local, remote)
    foreign.inject(record)
    assert foreign.received == [b"from elsewhere"]
    assert foreign.tunnel.active.ends == (local, remote)


def test_limits_of_a_key_are_those_of_the_sources():
    """RFC 9325 4.4: 2^24.5 records, 2^28 forgeries; both far under the 2^32 of SP 800-38D 8.3."""
    settings = TunnelSettings()
    assert settings.rekey_records == math.floor(2**24.5)
    assert settings.forgery_limit == 2**28
    assert settings.rekey_records < 2**32
    assert MAX_PLAINTEXT < 2**36 - 32  # SP 800-38D 5.2.1.1: 2^39 - 256 bits under one nonce
