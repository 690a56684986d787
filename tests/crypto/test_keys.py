"""The key schedule agrees with published values and with OpenSSL."""

import pytest

from dtls_emu.crypto.backend import TrafficKeys
from dtls_emu.crypto.keys import KEY_BLOCK, prf, traffic_keys
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.present import present


MASTER_SECRET, CLIENT_RANDOM, SERVER_RANDOM = b"m" * 48, b"c" * 32, b"s" * 32


def test_prf_gives_the_published_output():
    """The test vector for P_SHA384 that was posted to the IETF's TLS list when TLS 1.2 was made."""
    output = prf(
        bytes.fromhex("b80b733d6ceefcdc71566ea48e5567df"),
        b"test label",
        bytes.fromhex("cd665cf6a8447dd6ff8b27555edb7465"),
        148,
    )
    assert output.hex() == (
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"
        "e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
        "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e099070"
        "3d73e56f"
    )


def test_prf_of_any_length_is_a_prefix_of_a_longer_one():
    """Lengths around the hash's 48 bytes, and none at all."""
    whole = prf(b"secret", b"label", b"seed", 200)
    for length in (0, 1, 47, 48, 49, 96, 97):
        assert prf(b"secret", b"label", b"seed", length) == whole[:length]


def test_key_block_is_cut_in_the_order_of_the_rfc():
    """Client key, server key, client salt, server salt; each end writes with its own."""
    block = prf(MASTER_SECRET, b"key expansion", SERVER_RANDOM + CLIENT_RANDOM, KEY_BLOCK)
    client = TrafficKeys(block[:32], block[64:68])
    server = TrafficKeys(block[32:64], block[68:72])
    assert traffic_keys(MASTER_SECRET, CLIENT_RANDOM, SERVER_RANDOM, is_client=True) == (client, server)
    assert traffic_keys(MASTER_SECRET, CLIENT_RANDOM, SERVER_RANDOM, is_client=False) == (server, client)


def test_exporter_agrees_with_openssl():
    """RFC 5705 4, on the secrets of a real handshake, on both ends: they are those of the connection."""
    for end in loopback_handshake():
        connection = end.connection
        label = b"EXPERIMENTAL dtls_emu"
        seed = present(connection.client_random()) + present(connection.server_random())
        mine = prf(present(connection.master_key()), label, seed, 40)
        assert mine == connection.export_keying_material(label, 40)


def test_wiping_overwrites_keys_in_place():
    """Whoever holds the same buffers sees zeros."""
    write, read = traffic_keys(MASTER_SECRET, CLIENT_RANDOM, SERVER_RANDOM, is_client=True)
    buffers = [write.key, write.salt, read.key, read.salt]
    assert all(any(buffer) for buffer in buffers)
    write.wipe()
    read.wipe()
    assert buffers == [bytearray(32), bytearray(4)] * 2


def test_keys_are_not_printed():
    """A traffic key never reaches a log by way of repr."""
    assert repr(TrafficKeys(bytearray(b"k" * 32), bytearray(b"salt"))) == "TrafficKeys()"


@pytest.mark.parametrize(("key", "salt"), [(31, 4), (33, 4), (16, 4), (32, 12)])
def test_keys_of_other_lengths_are_refused(key, salt):
    """Native code would read past a short one."""
    with pytest.raises(LocalProtocolError, match="not 32 and 4"):
        TrafficKeys(bytearray(key), bytearray(salt))
