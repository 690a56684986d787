"""The conformance suite fails backends that are wrong, each in a way that somebody has been wrong before."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest
from OpenSSL import SSL

from dtls_emu.crypto.backend import APPLICATION_DATA, MAX_SEQUENCE, Established, RowStatus, TrafficKeys
from dtls_emu.crypto.native import NativeEnd
from dtls_emu.crypto.pyca import CryptographyBackend
from dtls_emu.testing.conformance import (
    TestContract,
    TestForgeries,
    TestNative,
    TestPeers,
    TestVectors,
)
from dtls_emu.testing.conformance_bench import Pair
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


__all__: list[str] = []  # the suite's classes are material here; test_conformance.py runs them

SUITE = {
    "contract": TestContract,
    "forgeries": TestForgeries,
    "native": TestNative,
    "peers": TestPeers,
    "vectors": TestVectors,
}
del (
    TestContract,
    TestForgeries,
    TestNative,
    TestPeers,
    TestVectors,
)  # or pytest would collect them a second time


class Good(CryptographyBackend):
    """The base of all that follows: a good backend in a wrapper."""

    name = "good"

    def attach(self, established):
        self.established = established
        self.sealer, self.opener = super().attach(established)
        return End(self), End(self)

    def seal(self, sealer, burst, first_sequence, content_type):
        sealer.seal(burst, first_sequence, content_type)

    def open(self, opener, burst, status):
        opener.open(burst, status)

    def close(self, sealer, opener):
        sealer.close()
        opener.close()


class End:
    def __init__(self, backend):
        self.backend, self.inner_sealer, self.inner_opener = backend, backend.sealer, backend.opener

    def seal(self, burst, first_sequence, content_type=APPLICATION_DATA):
        self.backend.seal(self.inner_sealer, burst, first_sequence, content_type)

    def open(self, burst, status):
        self.backend.open(self.inner_opener, burst, status)

    def close(self):
        self.backend.close(self.inner_sealer, self.inner_opener)


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


class GoodNative(Good):
    """Functions that can be called by address; Python in truth, and slow. A state is the number of an end."""

    def __init__(self):
        super().__init__()
        seal = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 6)
        opens = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4, ctypes.c_void_p)
        self.functions = seal(self.called_to_seal), opens(self.called_to_open)
        self.ends = {}
        self.closed = set()

    def attach(self, established):
        ends = super().attach(established)
        for end, function in zip(ends, self.functions, strict=True):
            number = len(self.ends) + 1
            self.ends[number] = end
            address = ctypes.cast(function, ctypes.c_void_p).value
            assert address is not None
            end.native = NativeEnd(address, number)
        return ends

    def close(self, sealer, opener):
        super().close(sealer, opener)
        self.closed |= {number for number, end in self.ends.items() if end.inner_sealer is sealer}

    def called_to_seal(self, state, rows, stride, size, count, last, _epoch, first_sequence):
        length = (count - 1) * stride + RECORD_PREFIX + last + TAG
        memory = bytes_at(rows, length)
        if state in self.closed:
            memory[:] = 0
            return
        whole = np.zeros(count * stride, np.uint8)
        whole[:length] = memory
        burst = Burst(whole, stride=stride, offset=RECORD_PREFIX, size=size, count=count, last=last)
        self.ends[state].seal(burst, first_sequence)
        memory[:] = whole[:length]

    def called_to_open(self, state, rows, stride, size, count, last, status):
        memory, verdicts = bytes_at(rows, (count - 1) * stride + last), bytes_at(status, count)
        if state in self.closed:
            verdicts[:] = RowStatus.AUTH_FAILED
            return
        burst = Burst(memory, stride=stride, offset=0, size=size, count=count, last=last)
        self.ends[state].open(burst, verdicts)


def bytes_at(address, length):
    return np.ctypeslib.as_array((ctypes.c_uint8 * length).from_address(address))


class NativeCountsFromOne(GoodNative):
    def called_to_seal(self, *arguments):
        super().called_to_seal(*(*arguments[:-1], 1))


class NativeKnowsOneEpoch(GoodNative):
    """That of all associations but one after a renegotiation, which is nearly always right."""

    def called_to_seal(self, state, rows, *arguments):
        super().called_to_seal(state, rows, *arguments)
        for row in range(arguments[2]):
            bytes_at(rows + row * arguments[0], 5)[3:] = (0, 1)


class NativeFillsTheLastRow(GoodNative):
    def called_to_seal(self, state, rows, stride, size, count, last, *numbers):
        super().called_to_seal(state, rows, stride, size, count, max(last, size - 1), *numbers)


class NativeLeavesForgeries(GoodNative):
    def called_to_open(self, state, rows, stride, size, count, last, status):
        memory = bytes_at(rows, (count - 1) * stride + last)
        before = memory.copy()
        super().called_to_open(state, rows, stride, size, count, last, status)
        if bytes_at(status, count).any():
            memory[:] = before


class NativeOpensJudgedRows(GoodNative):
    def called_to_open(self, state, rows, stride, size, count, last, status):
        verdicts = bytes_at(status, count)
        judged = verdicts.copy()
        verdicts[:] = RowStatus.OK
        super().called_to_open(state, rows, stride, size, count, last, status)
        np.maximum(verdicts, judged, out=verdicts)


class NativeBelievesEveryTag(GoodNative):
    def called_to_open(self, state, rows, stride, size, count, last, status):
        super().called_to_open(state, rows, stride, size, count, last, status)
        bytes_at(status, count)[:] = RowStatus.OK


class NativeGivesUpSilently(GoodNative):
    """Once closed it does nothing: what was to be sealed goes out as it is."""

    def called_to_seal(self, state, *arguments):
        if state not in self.closed:
            super().called_to_seal(state, *arguments)


class NativeOpensWhenClosed(GoodNative):
    def called_to_open(self, state, *arguments):
        if state not in self.closed:
            super().called_to_open(state, *arguments)


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
    (NativeCountsFromOne, "native", "test_seals_as_seal_does", (64,)),
    (NativeCountsFromOne, "native", "test_seals_under_the_number_and_epoch_that_it_is_told", (0xFFFFFF, 1)),
    (NativeKnowsOneEpoch, "native", "test_seals_under_the_number_and_epoch_that_it_is_told", (1, 0xFFFF)),
    (NativeFillsTheLastRow, "native", "test_seals_as_seal_does", (64,)),
    (NativeFillsTheLastRow, "native", "test_takes_turns_with_seal_and_open", ()),
    (NativeLeavesForgeries, "native", "test_opens_as_open_does", ()),
    (NativeLeavesForgeries, "native", "test_leaves_no_plaintext_of_a_forgery", ()),
    (NativeOpensJudgedRows, "native", "test_opens_as_open_does", ()),
    (NativeBelievesEveryTag, "native", "test_leaves_no_plaintext_of_a_forgery", ()),
    (NativeGivesUpSilently, "native", "test_does_no_harm_after_close", ()),
    (NativeOpensWhenClosed, "native", "test_does_no_harm_after_close", ()),
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
    run(GoodNative() if group == "native" else Good(), group, test, arguments)
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
