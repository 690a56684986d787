"""One record by any sealer and opener: the same as a second implementation makes and reads."""

import pytest

from dtls_emu.crypto.backend import Established, RowStatus, TrafficKeys
from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.crypto.single import open_record, seal_record
from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.reference import open_by_reference, seal_by_reference
from dtls_emu.wire.overhead import RECORD_OVERHEAD
from dtls_emu.wire.protocol import ALERT, APPLICATION_DATA, HANDSHAKE


def keys():
    return TrafficKeys(bytearray(range(32)), bytearray(b"salt"))


@pytest.fixture
def ends():
    return CryptographyBackend().attach(Established(keys(), keys()))


@pytest.mark.parametrize(
    ("content_type", "plaintext"), [(ALERT, b"\x01\x00"), (HANDSHAKE, bytes(24)), (APPLICATION_DATA, b"")]
)
def test_a_record_is_what_the_reference_makes_of_it(ends, content_type, plaintext):
    """To the byte; and each opens what the other has sealed."""
    sealer, opener = ends
    record = seal_record(sealer, content_type, 7, plaintext)
    assert record == seal_by_reference(keys(), plaintext, 7, content_type=content_type)
    assert open_record(opener, record) == (RowStatus.OK, plaintext)
    assert open_by_reference(keys(), record) == plaintext


def test_nothing_of_a_forged_or_short_record_comes_out(ends):
    """Only a status does."""
    sealer, opener = ends
    record = seal_record(sealer, ALERT, 7, b"\x01\x00")
    forged = record[:-1] + bytes([record[-1] ^ 1])
    assert open_record(opener, forged) == (RowStatus.AUTH_FAILED, b"")
    assert open_by_reference(keys(), forged) is None
    for length in (0, 12, RECORD_OVERHEAD - 1):
        assert open_record(opener, record[:length]) == (RowStatus.BAD_DATAGRAM, b"")
        assert open_by_reference(keys(), record[:length]) is None


def test_a_closed_end_is_the_callers_mistake(ends):
    """As with bursts."""
    sealer, opener = ends
    record = seal_record(sealer, ALERT, 7, b"\x01\x00")
    for end in ends:
        end.close()
    with pytest.raises(LocalProtocolError, match="closed"):
        seal_record(sealer, ALERT, 8, b"")
    with pytest.raises(LocalProtocolError, match="closed"):
        open_record(opener, record)
