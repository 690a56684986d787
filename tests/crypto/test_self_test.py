"""The self-test of a backend fails for every kind of wrong backend, and its known answer is the right one."""

import hashlib

import numpy as np
import pytest

from dtls_emu.crypto.backend import MAX_SEQUENCE, RowStatus
from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.crypto.self_test import AES_256_GCM_DIGEST, known_association, known_bursts, prove
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.testing.reference import seal_by_reference


def test_the_known_digest_is_that_of_aes_256_gcm():
    """Made here by the reference, from the RFCs and one-shot AES-GCM, without a line of the record code."""
    keys = known_association()
    digest, last = hashlib.sha256(), 0
    for burst, first_sequence in known_bursts():
        for last, packet in enumerate(burst.rows(), first_sequence):
            digest.update(seal_by_reference(keys.write, packet.tobytes(), last, epoch=keys.epoch))
    assert digest.hexdigest() == AES_256_GCM_DIGEST
    assert last == MAX_SEQUENCE


class Wrapped:
    """The ends of a good backend, with something wrong in them."""

    def __init__(self, *, seal=None, open_=None):
        self.wrong_seal, self.wrong_open = seal, open_

    def attach(self, established):
        self.sealer, self.opener = CryptographyBackend().attach(established)
        return self, self

    def seal(self, burst, first_sequence):
        self.sealer.seal(burst, first_sequence)
        if self.wrong_seal:
            self.wrong_seal(burst)

    def open(self, burst, status):
        sealed = burst.buffer.copy()
        self.opener.open(burst, status)
        if self.wrong_open:
            self.wrong_open(burst, status, sealed)

    def close(self):
        self.sealer.close()
        self.opener.close()


def flip_a_nonce_bit(burst):
    burst.row(0)[13] ^= 1


def accept_everything(_burst, status, _sealed):
    status[:] = RowStatus.OK


def leave_the_forgery(burst, _status, _sealed):
    if burst.last:
        burst.row(burst.count - 1)[0] = 1


def open_nothing(burst, _status, sealed):
    burst.buffer[:] = sealed
    burst.row(burst.count - 1)[:] = 0


def refuse_everything(_burst, status, _sealed):
    status[:] = RowStatus.AUTH_FAILED


def test_a_good_backend_passes():
    """And with the wrapper of the tests below, too -> raises nothing."""
    prove(Wrapped().attach, AES_256_GCM_DIGEST)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"open_": accept_everything}, "a forged record was opened"),
        ({"open_": leave_the_forgery}, "a forged record was opened"),
        ({"open_": open_nothing}, "did not open to the packet"),
        ({"open_": refuse_everything}, "did not open to the packet"),
        ({"seal": flip_a_nonce_bit}, "did not open to the packet"),
    ],
)
def test_a_wrong_backend_is_caught(wrong, reason):
    """Each in its own way."""
    with pytest.raises(BackendUnavailableError, match=reason):
        prove(Wrapped(**wrong).attach, AES_256_GCM_DIGEST)


def test_a_backend_that_agrees_only_with_itself_is_caught():
    """It opens what it seals, but its records are not those of the RFC: here, other keys."""

    def attach_with_other_keys(established):
        established.write.key[0] ^= 1
        established.read.key[0] ^= 1
        return CryptographyBackend().attach(established)

    with pytest.raises(BackendUnavailableError, match="not the known ones"):
        prove(attach_with_other_keys, AES_256_GCM_DIGEST)


def test_the_self_test_covers_many_rows_and_the_empty_packet():
    """What it does not carry, it does not prove."""
    shapes = [(burst.size, burst.count, burst.last) for burst, _ in known_bursts()]
    assert (0, 1, 0) in shapes
    assert max(count for _, count, _ in shapes) == 64
    assert max(size for size, _, _ in shapes) == 2**14
    assert np.unique(known_bursts()[4][0].buffer).size == 256
