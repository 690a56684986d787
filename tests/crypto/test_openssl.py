"""OpenSSL's record layer behind the contract: hostile records, control records, its own numbering."""

import random

import numpy as np
import pytest

from dtls_emu.crypto import openssl
from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_PLAINTEXT, Established, RowStatus, TrafficKeys
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.crypto.openssl import OpenSSLBackend
from dtls_emu.errors import BackendUnavailableError, LocalProtocolError
from dtls_emu.testing.reference import seal_by_reference
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.protocol import ALERT, HANDSHAKE


@pytest.fixture
def client_and_server():
    return loopback_handshake()


def attach(end):
    return OpenSSLBackend().attach(end.established(with_connection=True))


def record(end, plaintext, sequence, content_type=APPLICATION_DATA):
    """A record as the other end would seal it, of any type and any size."""
    return seal_by_reference(end.established().write, plaintext, sequence, content_type=content_type)


def opened(opener, *datagrams):
    """Status and plaintext of each, opened one by one."""
    results = []
    for datagram in datagrams:
        burst, status = Burst.from_packets([datagram]), np.zeros(1, np.uint8)
        opener.open(burst, status)
        results.append((int(status[0]), burst.row(0).tobytes()))
    return results


def test_hostile_records_never_raise(client_and_server):
    """5000 pieces of junk, whole and cut records among them (seed 7); a good record is opened after all."""
    client, server = client_and_server
    _, opener = attach(server)
    draw = random.Random(7)
    real = record(client, b"x" * 50, 1)
    for _ in range(5000):
        junk = bytearray(
            real[: draw.randrange(1, len(real) + 1)] if draw.random() < 0.7 else draw.randbytes(60)
        )
        for _ in range(draw.randrange(1, 4)):
            junk[draw.randrange(len(junk))] ^= 1 << draw.randrange(8)
        ((status, plaintext),) = opened(opener, bytes(junk))
        assert status in {RowStatus.AUTH_FAILED, RowStatus.BAD_DATAGRAM}
        assert not any(plaintext)
    assert opened(opener, real) == [(RowStatus.OK, b"x" * 50)]


@pytest.mark.parametrize(
    ("content_type", "plaintext"),
    [
        (ALERT, b"\x01\x00"),
        (ALERT, b"\x02\x28"),
        (ALERT, b""),
        (HANDSHAKE, bytes(12)),
        (0x14, b"\x01"),
        (0x18, b"heartbeat"),
        (0x19, b"connection id"),
        (0x63, b"nobody's"),
        (APPLICATION_DATA, b""),
    ],
    ids=[
        "close_notify",
        "fatal alert",
        "empty alert",
        "HelloRequest",
        "CCS",
        "heartbeat",
        "CID",
        "99",
        "empty",
    ],
)
def test_authentic_control_records_are_opened_and_openssl_lives_on(
    client_and_server, content_type, plaintext
):
    """What they mean is the tunnel's to say: OpenSSL neither closes, nor dies, nor answers."""
    client, server = client_and_server
    sealer, opener = attach(server)
    first = client.established().next_sequence
    assert opened(opener, record(client, plaintext, first, content_type)) == [(RowStatus.OK, plaintext)]
    assert opened(opener, record(client, b"data", first + 1)) == [(RowStatus.OK, b"data")]
    burst = Burst.from_packets([b"answer"], headroom=21, tailroom=16)
    sealer.seal(burst, server.established().next_sequence)
    assert burst.row(0)[0] == APPLICATION_DATA


def test_a_forged_control_record_is_refused(client_and_server):
    """It does not get to OpenSSL either."""
    client, server = client_and_server
    _, opener = attach(server)
    forged = bytearray(record(client, b"\x01\x00", 1, ALERT))
    forged[-1] ^= 1
    assert opened(opener, bytes(forged)) == [(RowStatus.AUTH_FAILED, bytes(2))]


def test_an_authentic_giant_does_not_kill_the_connection(client_and_server):
    """OpenSSL would end it with record_overflow; runts and giants never reach it."""
    client, server = client_and_server
    _, opener = attach(server)
    giant = record(client, bytes(MAX_PLAINTEXT + 1), 1)
    assert opened(opener, giant)[0][0] == RowStatus.OVERSIZE
    assert opened(opener, b"\x17\xfe\xfd" + bytes(30))[0][0] == RowStatus.BAD_DATAGRAM
    assert opened(opener, record(client, b"data", 2)) == [(RowStatus.OK, b"data")]


def test_what_its_own_replay_window_drops_is_left_to_ours(client_and_server):
    """OpenSSL opens no record twice, nor one that is 64 late; the keys do, and a forgery fails all the same."""
    client, server = client_and_server
    _, opener = attach(server)
    results = opened(opener, *(record(client, b"data", sequence) for sequence in (100, 100, 37, 36)))
    assert results == [(RowStatus.OK, b"data")] * 4
    forged = record(client, b"data", 36)[:-1] + b"?"
    assert opened(opener, forged) == [(RowStatus.AUTH_FAILED, bytes(4))]


def test_it_numbers_records_by_itself(client_and_server):
    """Any other first sequence number is refused before OpenSSL has used one."""
    client, _ = client_and_server
    sealer, _ = attach(client)
    following = client.established().next_sequence
    for wrong in (following - 1, following + 1):
        with pytest.raises(LocalProtocolError, match=f"next record is {following}"):
            sealer.seal(Burst.from_packets([b"data"], headroom=21, tailroom=16), wrong)
    sealer.seal(Burst.from_packets([b"data"] * 3, headroom=21, tailroom=16), following)
    sealer.seal(Burst.from_packets([b"data"], headroom=21, tailroom=16), following + 3)


@pytest.mark.parametrize(
    ("plaintext", "content_type"),
    [(b"", APPLICATION_DATA), (b"\x02\x28", ALERT), (b"\x01\x00", ALERT), (bytes(24), HANDSHAKE)],
    ids=["empty", "fatal alert", "close_notify", "Finished"],
)
def test_what_openssl_has_no_call_for_takes_the_next_number_all_the_same(
    client_and_server, plaintext, content_type
):
    """It is sealed with the keys; OpenSSL goes on behind it, and no number or nonce is used twice."""
    client, server = client_and_server
    sealer, _ = attach(client)
    _, opener = attach(server)
    following = client.established().next_sequence
    records = []
    for number, (packet, kind) in enumerate(
        [(b"before", APPLICATION_DATA), (plaintext, content_type), (b"behind", APPLICATION_DATA)]
    ):
        burst = Burst.allocate(len(packet), headroom=21, tailroom=16)
        burst.row(0)[:] = np.frombuffer(packet, np.uint8)
        sealer.seal(burst, following + number, kind)
        records.append(burst.row(0).tobytes())
    assert [int.from_bytes(each[5:11], "big") for each in records] == [following + n for n in range(3)]
    assert len({each[13:21] for each in records}) == 3
    assert records[1][13:21] == records[1][3:11]
    assert opened(opener, *records) == [
        (RowStatus.OK, b"before"),
        (RowStatus.OK, plaintext),
        (RowStatus.OK, b"behind"),
    ]


def test_output_that_nobody_asked_for_is_not_sent_as_a_record(client_and_server):
    """Were OpenSSL to write on its own, the row would be somebody else's record."""
    client, _ = client_and_server
    sealer, _ = attach(client)
    client.connection.send(b"behind the sealer's back")
    with pytest.raises(LocalProtocolError, match="something else"):
        sealer.seal(Burst.from_packets([b"data"], headroom=21, tailroom=16), 1)


def test_it_needs_the_connection():
    """Keys alone are not enough for it."""
    keys = TrafficKeys(bytearray(32), bytearray(4))
    with pytest.raises(LocalProtocolError, match="needs the connection"):
        OpenSSLBackend().attach(Established(keys, keys))


def test_close_lets_go_of_the_connection_and_of_the_keys(client_and_server):
    """OpenSSL overwrites its keys when the last reference goes."""
    client, _ = client_and_server
    sealer, opener = attach(client)
    by_keys = [end._by_keys for end in (sealer, opener)]
    assert all(end._cells.any() for end in by_keys)
    sealer.close()
    opener.close()
    assert (sealer._connection, opener._connection) == (None, None)
    assert [end._cipher for end in by_keys] == [None, None]
    assert not any(end._cells.any() for end in by_keys)


def test_a_connection_that_does_not_carry_fails_the_self_test(monkeypatch):
    """Here: the two ends are of different handshakes."""

    def mismatched():
        return loopback_handshake()[0], loopback_handshake()[1]

    monkeypatch.setattr(openssl, "loopback_handshake", mismatched)
    with pytest.raises(BackendUnavailableError, match="self-test failed"):
        OpenSSLBackend()
