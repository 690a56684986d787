"""The conformance suite fails backends that are wrong, each in a way that somebody has been wrong before."""

import os
import subprocess
import sys

import numpy as np
import pytest
from OpenSSL import SSL

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_SEQUENCE, Established, RowStatus, TrafficKeys
from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.testing.conformance import Pair, TestContract, TestForgeries, TestPeers, TestVectors


__all__: list[str] = []  # the suite's classes are material here; test_conformance.py runs them

SUITE = {"contract": TestContract, "forgeries": TestForgeries, "peers": TestPeers, "vectors": TestVectors}
del TestContract, TestForgeries, TestPeers, TestVectors  # or pytest would collect them a second time


class Good(CryptographyBackend):
    """The base of all that follows: a good backend in a wrapper."""

    name = "good"

    def attach(self, established):
        self.established = established
        self.sealer, self.opener = super().attach(established)
        return End(self), End(self)


class End:
    def __init__(self, backend):
        self.backend, self.inner_sealer, self.inner_opener = backend, backend.sealer, backend.opener

    def seal(self, burst, first_sequence, content_type=APPLICATION_DATA):
        self.backend.seal(self.inner_sealer, burst, first_sequence, content_type)

    def open(self, burst, status):
        self.backend.open(self.inner_opener, burst, status)

    def close(self):
        self.backend.close(self.inner_sealer, self.inner_opener)


def _seal(_backend, sealer, burst, first_sequence, content_type):
    sealer.seal(burst, first_sequence, content_type)


def _open(_backend, opener, burst, status):
    opener.open(burst, status)


def _close(_backend, sealer, opener):
    sealer.close()
    opener.close()


Good.seal, Good.open, Good.close = _seal, _open, _close


class RecomputesTheNonce(Good):
    """From epoch and sequence number, as three of five stacks do not send it."""

    def open(self, opener, burst, status):
        for row in burst.rows():
            row[13:21] = row[3:11]
        opener.open(burst, status)


class TrustsTheVersion(Good):
    """Authenticates the version that it expects, not the one that is there."""

    def open(self, opener, burst, status):
        for row in burst.rows():
            row[1:3] = (0xFE, 0xFD)
        opener.open(burst, status)


class TrustsTheLength(Good):
    def open(self, opener, burst, status):
        for row in burst.rows():
            row[11:13] = divmod(len(row) - 13, 256)
        opener.open(burst, status)


class LeavesForgeries(Good):
    def open(self, opener, burst, status):
        before = burst.buffer.copy()
        opener.open(burst, status)
        if status.any():
            burst.buffer[:] = before


class WritesBehindTheTag(Good):
    def seal(self, sealer, burst, first_sequence, content_type):
        sealer.seal(burst, first_sequence, content_type)
        burst.buffer[burst.offset + burst.size] = 0


class CountsNoncesFromOne(Good):
    def attach(self, established):
        ends = super().attach(established)
        self.first = established.next_sequence
        return ends

    def seal(self, sealer, burst, first_sequence, content_type):
        sealer.seal(burst, first_sequence - self.first, content_type)


class OpensJudgedRows(Good):
    def open(self, opener, burst, status):
        judged = status.copy()
        status[:] = RowStatus.OK
        opener.open(burst, status)
        np.maximum(status, judged, out=status)


class WrapsAround(Good):
    def seal(self, sealer, burst, first_sequence, content_type):
        sealer.seal(burst, min(first_sequence, MAX_SEQUENCE - burst.count + 1), content_type)


class NeverCloses(Good):
    def close(self, sealer, opener):
        pass


class BorrowsTheKeys(Good):
    """Uses the caller's keys when it needs them, by when they may be zeros."""

    def seal(self, sealer, burst, first_sequence, content_type):
        mine, _ = CryptographyBackend.attach(self, self.established)
        mine.seal(burst, first_sequence, content_type)


class TakesHalfTheKey(Good):
    def attach(self, established):
        half = bytearray(bytes(established.write.key[:16]) * 2)
        return super().attach(
            Established(
                TrafficKeys(half, established.write.salt),
                TrafficKeys(half, established.read.salt),
                established.epoch,
            )
        )


class DropsShortRows(Good):
    def open(self, opener, burst, status):
        opener.open(burst, status)
        if burst.last < burst.size:
            status[burst.count - 1] = RowStatus.AUTH_FAILED


WRONG = [
    (RecomputesTheNonce, "peers", "test_opens_any_explicit_nonce", ()),
    (RecomputesTheNonce, "peers", "test_opens_what_openssl_sealed", (True,)),
    (RecomputesTheNonce, "forgeries", "test_refuses_every_single_bit_flip", ()),
    (TrustsTheVersion, "forgeries", "test_refuses_every_single_bit_flip", ()),
    (TrustsTheLength, "forgeries", "test_refuses_every_single_bit_flip", ()),
    (LeavesForgeries, "forgeries", "test_refuses_every_single_bit_flip", ()),
    (LeavesForgeries, "forgeries", "test_opens_the_good_rows_beside_bad_ones", ()),
    (WritesBehindTheTag, "contract", "test_seals_into_the_record_of_the_rfc", ()),
    (WritesBehindTheTag, "contract", "test_each_opens_what_the_other_sealed", ()),
    (CountsNoncesFromOne, "contract", "test_numbers_its_nonces_by_epoch_and_sequence", ()),
    (CountsNoncesFromOne, "peers", "test_openssl_opens_what_it_sealed", (False,)),
    (CountsNoncesFromOne, "peers", "test_goes_on_after_a_finished_that_was_sent_twice", ()),
    (OpensJudgedRows, "contract", "test_leaves_rows_alone_that_are_not_ok", ()),
    (WrapsAround, "contract", "test_counts_to_the_last_sequence_number", ()),
    (NeverCloses, "contract", "test_is_of_no_use_after_close", ()),
    (BorrowsTheKeys, "contract", "test_keeps_its_own_copy_of_the_keys", ()),
    (TakesHalfTheKey, "vectors", "test_seals_as_nist_says", ()),
    (TakesHalfTheKey, "vectors", "test_opens_as_nist_says", ()),
    (DropsShortRows, "contract", "test_each_opens_what_the_other_sealed", ()),
]


def run(backend, group, test, arguments):
    subject = (
        Pair(backend, backend)
        if test
        in {
            "test_refuses_every_single_bit_flip",
            "test_each_opens_what_the_other_sealed",
            "test_counts_to_the_last_sequence_number",
        }
        else backend
    )
    getattr(SUITE[group](), test)(subject, *arguments)


@pytest.mark.parametrize(("wrong", "group", "test", "arguments"), WRONG)
def test_a_wrong_backend_fails_and_a_good_one_passes(monkeypatch, wrong, group, test, arguments):
    """The same test on both. The self-test at construction is out of the way, it would catch some."""
    monkeypatch.setattr(CryptographyBackend, "__init__", lambda _self: None)
    run(Good(), group, test, arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception, SSL.WantReadError)):
        run(wrong(), group, test, arguments)


def pytest_on_the_suite(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [*command, *arguments, "--pyargs", "dtls_emu.testing.conformance"],
        capture_output=True,
        text=True,
        cwd="/",
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout


def test_the_suite_runs_for_one_backend_from_anywhere():
    """As its first lines say; what `null` does not claim is deselected, and nothing is skipped."""
    code, output = pytest_on_the_suite("--dtls-emu-backend", "null")
    assert code == 0, output
    assert "passed" in output
    assert "deselected" in output
    assert "skipped" not in output


def test_a_name_that_nobody_has_is_an_error():
    """Not a run that passes because nothing was asked."""
    code, output = pytest_on_the_suite("--dtls-emu-backend", "nobody")
    assert code != 0
    assert "no backend is called 'nobody'" in output
