"""`null` has the shape of protection, and says that it is none."""

import numpy as np

from dtls_emu.crypto.backend import RowStatus
from dtls_emu.crypto.danger_null import DANGER_CONSTANT_TAG, DangerNullBackend
from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.crypto.self_test import known_association
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.protocol import HANDSHAKE


def sealed_burst():
    sealer, opener = DangerNullBackend().attach(known_association())
    burst = Burst.from_packets([b"in the clear"] * 2 + [b"short"], headroom=21, tailroom=16)
    sealer.seal(burst, 9)
    return burst, opener


def test_it_says_that_it_does_not_protect():
    """By the field that every report looks at."""
    assert DangerNullBackend.protects is False


def test_records_have_their_size_and_the_packet_in_clear():
    """37 bytes more, and a tag that can be read."""
    burst, _ = sealed_burst()
    assert [len(row) for row in burst.rows()] == [49, 49, 42]
    assert burst.row(2)[21:].tobytes() == b"short" + DANGER_CONSTANT_TAG
    assert len(DANGER_CONSTANT_TAG) == 16


def test_a_record_of_the_handshake_is_sealed_as_the_protocol_says():
    """The peer's OpenSSL may have to read it; and what it has sealed is opened."""
    ours, theirs = (each().attach(known_association()) for each in (DangerNullBackend, CryptographyBackend))
    for (sealer, _), (_, opener) in ((ours, theirs), (theirs, ours), (ours, ours)):
        burst = Burst.from_packets([b"a Finished"], headroom=21, tailroom=16)
        sealer.seal(burst, 9, HANDSHAKE)
        status = np.zeros(1, np.uint8)
        assert b"a Finished" not in burst.row(0).tobytes()
        opener.open(burst, status)
        assert (status.tolist(), burst.row(0).tobytes()) == ([RowStatus.OK], b"a Finished")


def test_each_bit_of_the_tag_is_checked():
    """A row with another tag is refused and overwritten, as a cipher's opener would do."""
    for bit in range(128):
        burst, opener = sealed_burst()
        burst.row(1)[33 + bit // 8] ^= 1 << bit % 8
        status = np.zeros(3, np.uint8)
        opener.open(burst, status)
        assert status.tolist() == [RowStatus.OK, RowStatus.AUTH_FAILED, RowStatus.OK]
        assert [row.tobytes() for row in burst.rows()] == [b"in the clear", bytes(12), b"short"]
