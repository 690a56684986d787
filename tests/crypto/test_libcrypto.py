"""The system's OpenSSL is taken only when it is new enough and proven, and no key survives close."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from dtls_emu.crypto import libcrypto, libcrypto_library
from dtls_emu.crypto.backend import Established, RowStatus, TrafficKeys
from dtls_emu.crypto.libcrypto import LibcryptoBackend
from dtls_emu.crypto.libcrypto_library import Libcrypto, open_libcrypto
from dtls_emu.crypto.native import call_open, call_seal
from dtls_emu.errors import BackendUnavailableError, LocalProtocolError
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.memory import kernel


KEY, SALT = bytes(range(100, 132)), b"\xf1\xf2\xf3\xf4"


def established():
    write, read = (TrafficKeys(bytearray(KEY), bytearray(SALT)) for _ in range(2))
    return Established(write, read)


def three_packets():
    return Burst.from_packets([b"p" * 100] * 3, headroom=21, tailroom=16)


@pytest.mark.libcrypto
def test_it_tells_its_version():
    """And a FIPS provider only where there is one."""
    library = open_libcrypto()
    assert LibcryptoBackend().detail == library.version + (", FIPS provider" if library.fips else "")
    assert library.version.startswith("OpenSSL ")


@pytest.mark.libcrypto
def test_a_fips_provider_is_told(monkeypatch):
    """Whose code it is matters to whoever defends the figures."""
    library = open_libcrypto()
    library.fips = True
    monkeypatch.setattr(libcrypto, "open_libcrypto", lambda: library)
    assert LibcryptoBackend().detail.endswith(", FIPS provider")


def test_a_machine_without_it_gets_a_reason(monkeypatch):
    """It names the package to install."""
    monkeypatch.setattr(libcrypto_library, "SONAMES", ("libcrypto.so.999",))
    with pytest.raises(BackendUnavailableError, match=r"not installed as a library .*apt install libssl3"):
        LibcryptoBackend()


def test_something_else_under_its_name_is_refused(monkeypatch):
    """Here the C library, which has no version to tell."""
    monkeypatch.setattr(libcrypto_library, "SONAMES", ("libc.so.6",))
    with pytest.raises(BackendUnavailableError, match=r"libc.so.6: the library does not tell its version"):
        LibcryptoBackend()


@pytest.mark.parametrize(
    ("version", "number"), [(b"OpenSSL 1.1.1w  11 Sep 2023", 0x1010117F), (b"LibreSSL 4.1.0", 0x30000000)]
)
def test_an_older_one_or_another_one_is_refused(version, number):
    """By its own words, before a function of it is called."""

    class Function:
        def __init__(self, result):
            self.result = result

        def __call__(self, *_):
            return self.result

    class Library:
        OpenSSL_version = Function(version)
        OpenSSL_version_num = Function(number)

    with pytest.raises(BackendUnavailableError, match=r"needs OpenSSL 3\.0 or later, this is"):
        Libcrypto(Library())


@pytest.mark.libcrypto
def test_the_self_test_sees_code_that_does_something_else(monkeypatch):
    """Here: decryption in the place of encryption."""
    library = open_libcrypto()
    library.encrypt, library.decrypt = library.decrypt, library.encrypt
    monkeypatch.setattr(libcrypto, "open_libcrypto", lambda: library)
    with pytest.raises(BackendUnavailableError, match="self-test failed"):
        LibcryptoBackend()


@pytest.mark.libcrypto
@pytest.mark.parametrize("step", range(4))
def test_a_row_that_openssl_does_not_seal_leaves_nothing_in_clear(step):
    """Zeros go out, header included, and a peer counts a bad datagram; nothing is raised amid a burst."""
    sealer, opener = LibcryptoBackend().attach(established())
    failing = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 5)(lambda *_: 0)
    for end in (sealer, opener):
        words = end._state[: libcrypto.CELLS_AT].view(np.uint64)
        words[libcrypto.FUNCTIONS_AT // 8 + step] = ctypes.cast(failing, ctypes.c_void_p).value
    burst = three_packets()
    sealer.seal(burst, 1)
    assert not any(row.any() for row in burst.rows())
    status = np.zeros(3, np.uint8)
    opener.open(burst, status)
    assert status.tolist() == [RowStatus.AUTH_FAILED] * 3


@pytest.mark.libcrypto
def test_close_overwrites_what_knows_the_key_and_frees_the_context(monkeypatch):
    """The salt in every cell, and the address of the context; OpenSSL overwrites its key schedule."""
    backend = LibcryptoBackend()
    freed = []
    free = backend._library.free_context

    def free_context(context):
        freed.append(context)
        free(context)

    monkeypatch.setattr(backend._library, "free_context", free_context)
    ends = backend.attach(established())
    burst = three_packets()
    ends[0].seal(burst, 1)
    status = np.zeros(3, np.uint8)
    ends[1].open(burst, status)
    assert status.tolist() == [RowStatus.OK] * 3
    contexts = [int(end._state[:8].view(np.uint64)[0]) for end in ends]
    for end in ends:
        assert bytes(end._state).count(SALT) >= 64
        end.close()
        end.close()  # a second time does nothing
        assert not end._state.any()
    assert freed == contexts
    with pytest.raises(LocalProtocolError, match="closed"):
        ends[0].seal(three_packets(), 4)


@pytest.mark.libcrypto
def test_an_end_that_nobody_closes_frees_its_context(monkeypatch):
    """The context is no memory of Python's, and would stay for ever."""
    backend = LibcryptoBackend()
    freed = []
    free = backend._library.free_context
    monkeypatch.setattr(
        backend._library, "free_context", lambda context: (freed.append(context), free(context))
    )
    ends = backend.attach(established())
    del ends
    gc.collect()
    assert len(freed) == 2


@kernel
def call_seal_native(function, state, rows, count, size):
    call_seal(function, (state, rows, size + 37, size, count, size, 1, 1))


@kernel
def call_open_native(function, state, rows, count, size, status):
    call_open(function, (state, rows, size, size, count, size, status))


@pytest.mark.libcrypto
def test_compiled_code_that_comes_too_late_finds_it_closed():
    """What cannot be sealed is zeros, what cannot be opened is forged; nothing crashes."""
    sealer, opener = LibcryptoBackend().attach(established())
    ends = sealer.native, opener.native
    sealer.close()
    opener.close()
    burst = three_packets()
    rows = burst.buffer.ctypes.data
    call_seal_native(ends[0].function, ends[0].state, rows, 3, 100)
    assert not burst.buffer[: 3 * 137].any()
    status = np.zeros(3, np.uint8)
    call_open_native(ends[1].function, ends[1].state, rows, 3, 137, status.ctypes.data)
    assert status.tolist() == [RowStatus.AUTH_FAILED] * 3


@pytest.mark.libcrypto
def test_no_copy_of_the_key_is_made_by_python():
    """OpenSSL reads the caller's own buffer, which the caller wipes."""
    library = open_libcrypto()
    seen = []
    mine = established()
    key = (ctypes.c_ubyte * 32).from_buffer(mine.write.key)
    initialise = library._library.EVP_CipherInit_ex2

    class Spy:
        def __getattr__(self, name):
            return getattr(real, name)

        @staticmethod
        def EVP_CipherInit_ex2(context, cipher, held, *rest):  # noqa: N802
            seen.append(ctypes.addressof(held))
            return initialise(context, cipher, held, *rest)

    real = library._library
    library._library = Spy()
    library.free_context(library.new_context(mine.write.key, encrypt=True))
    assert seen == [ctypes.addressof(key)]
