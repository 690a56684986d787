"""The handshake in memory gives working keys, honest numbers and nonces that cannot collide."""

from dtls_emu.crypto import loopback
from dtls_emu.crypto.loopback import LoopbackEnd, loopback_handshake, split_records


def test_both_ends_have_the_same_keys():
    """What one writes with, the other reads with; each asks for fresh copies."""
    client, server = loopback_handshake()
    assert (client.established().write, client.established().read) == (
        server.established().read,
        server.established().write,
    )
    assert client.established().write.key is not client.established().write.key


def test_the_connection_is_handed_over_only_when_asked_for():
    """OpenSSL must never write again behind another backend's back."""
    client, _ = loopback_handshake()
    assert client.established().connection is None
    assert client.established(with_connection=True).connection is client.connection


def test_the_first_number_comes_after_those_that_openssl_used():
    """1 after a clean handshake; 5 when a Finished went out as 0, 3 and 4."""
    client, _ = loopback_handshake()
    assert client.established().next_sequence == 1
    finished = client.protected[0]
    for sequence in (3, 4):
        client.protected.append(finished[:5] + sequence.to_bytes(6, "big") + finished[11:])
    assert client.established().next_sequence == 5


def test_a_handshake_whose_nonces_would_meet_ours_is_done_again(monkeypatch):
    """OpenSSL counts from a random start, one time in 65,536 from where an epoch-1 nonce lies."""
    handshakes = []
    shake_hands = loopback._shake_hands

    def shake_hands_badly_once():
        client, server = shake_hands()
        handshakes.append(client)
        if len(handshakes) == 1:
            bad = client.protected[0]
            client.protected[0] = bad[:13] + b"\x00\x01\xff\xff\xff\xff\xff\xff" + bad[21:]
        return client, server

    monkeypatch.setattr(loopback, "_shake_hands", shake_hands_badly_once)
    client, _ = loopback_handshake()
    assert len(handshakes) == 2
    assert client is handshakes[1]


def test_records_are_cut_by_their_length():
    """A flight comes out of the memory BIO in one piece."""
    first, second = b"\x16\xfe\xfd" + bytes(8) + b"\x00\x02ab", b"\x14\xfe\xfd" + bytes(8) + b"\x00\x00"
    assert split_records(first + second) == [first, second]
    assert split_records(b"") == []


def test_an_end_remembers_only_protected_records():
    """Epoch 0 is not ours to number."""
    client, server = loopback_handshake()
    assert isinstance(client, LoopbackEnd)
    for end in (client, server):
        assert [record[3:5] for record in end.protected] == [b"\x00\x01"]
        assert [record[0] for record in end.protected] == [0x16]
