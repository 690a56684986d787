"""What the conformance suite cannot see of the `cryptography` backend."""

from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.crypto.self_test import known_association


def test_close_drops_the_cipher_and_overwrites_the_nonces():
    """OpenSSL overwrites its key schedule when the cipher goes; nothing else holds it."""
    for end in CryptographyBackend().attach(known_association()):
        cells = end._cells
        assert end._cipher is not None
        assert bytes(range(0xA0, 0xA4)) in cells.tobytes()
        end.close()
        assert [end._cipher, cells.any()] == [None, False]
