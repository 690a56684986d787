"""The library is taken only when its code is proven on this machine, and no key survives close."""

import ctypes
import platform
from typing import Any

import numpy as np
import pytest

from dtls_emu.crypto import ipsec_mb, ipsec_mb_library
from dtls_emu.crypto.backend import Established, RowStatus, TrafficKeys
from dtls_emu.crypto.ipsec_mb import IpsecMbBackend
from dtls_emu.crypto.ipsec_mb_library import (
    INSTRUCTION_SETS,
    GcmFunctions,
    cpu_flags,
    find_functions,
    open_library,
)
from dtls_emu.crypto.self_test import prove
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.wire.burst import Burst


KEY, SALT = bytes(range(100, 132)), b"\xf1\xf2\xf3\xf4"


def established():
    write, read = (TrafficKeys(bytearray(KEY), bytearray(SALT)) for _ in range(2))
    return Established(write, read)


@pytest.mark.ipsec_mb
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_every_instruction_set_is_proven_or_says_what_is_missing(name):
    """On this CPU, with this version of the library; each one that is here passes its self-test."""
    library, version = open_library()
    missing = INSTRUCTION_SETS[name] - cpu_flags()
    if missing:
        reason = f"{name}: this CPU lacks {', '.join(sorted(missing))}"
    elif not hasattr(library, f"aes_gcm_enc_256_{name}"):
        reason = f"{name}: this version of the library does not export it"
    else:
        assert IpsecMbBackend(name).detail == f"libIPSec_MB {version}, {name}"
        return
    with pytest.raises(BackendUnavailableError) as raised:
        IpsecMbBackend(name)
    assert str(raised.value) == f"libIPSec_MB {version} cannot be used: {reason}"


@pytest.mark.ipsec_mb
def test_code_that_fails_its_self_test_is_passed_over(monkeypatch):
    """The next instruction set is taken; when all fail, there is a reason for each."""
    usual = IpsecMbBackend().detail
    proven, failing = [], {usual.rsplit(maxsplit=1)[-1]}

    def prove_others(attach, digest):
        name = attach.__self__._functions.instruction_set
        proven.append(name)
        if name in failing:
            raise BackendUnavailableError("self-test failed: the records are not the known ones")
        prove(attach, digest)

    monkeypatch.setattr(ipsec_mb, "prove", prove_others)
    assert IpsecMbBackend().detail != usual
    failing.update(INSTRUCTION_SETS)
    proven.clear()
    with pytest.raises(BackendUnavailableError) as raised:
        IpsecMbBackend()
    for name in proven:
        assert f"{name}: self-test failed: the records are not the known ones" in str(raised.value)


@pytest.mark.ipsec_mb
def test_the_self_test_sees_code_that_does_something_else(monkeypatch):
    """Here: decryption in the place of encryption, which writes a tag over other bytes."""

    def find_swapped(library, name, flags):
        found = find_functions(library, name, flags)
        return GcmFunctions(name, found.expand_key, encrypt=found.decrypt, decrypt=found.encrypt)

    monkeypatch.setattr(ipsec_mb, "find_functions", find_swapped)
    with pytest.raises(BackendUnavailableError, match="self-test failed"):
        IpsecMbBackend()


@pytest.mark.ipsec_mb
def test_a_cpu_without_any_of_it_is_refused(monkeypatch):
    """A virtual machine that hides AES-NI, or a kernel that does not tell."""
    monkeypatch.setattr(ipsec_mb, "cpu_flags", frozenset)
    with pytest.raises(BackendUnavailableError, match="sse: this CPU lacks aes, pclmulqdq, sse4_2"):
        IpsecMbBackend()


def test_a_machine_without_the_library_gets_a_reason(monkeypatch):
    """It names the package to install."""
    monkeypatch.setattr(ipsec_mb_library, "_SONAMES", ("libIPSec_MB.so.999",))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(BackendUnavailableError, match=r"so.999 is not installed .*apt install libipsec-mb1"):
        IpsecMbBackend()


def test_another_kind_of_cpu_gets_a_reason(monkeypatch):
    """Before the library is looked for: there is one of that name for Arm, with other names in it."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(BackendUnavailableError, match="needs an x86-64 CPU, this is aarch64"):
        IpsecMbBackend()


def test_a_library_that_does_not_tell_its_version_is_refused(monkeypatch):
    """Something else under that name: here the C library."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(ipsec_mb_library, "_SONAMES", ("libc.so.6",))
    with pytest.raises(BackendUnavailableError, match=r"older than 1\.0"):
        IpsecMbBackend()


@pytest.mark.ipsec_mb
def test_close_overwrites_everything_that_knows_the_key():
    """Key schedule, hash keys, context, nonces and the scratch tag lie in one piece of memory; it ends as zeros."""
    sealer, opener = IpsecMbBackend().attach(established())
    burst = Burst.from_packets([b"p" * 100] * 3, headroom=21, tailroom=16)
    sealer.seal(burst, 1)
    status = np.zeros(3, np.uint8)
    opener.open(burst, status)
    assert status.tolist() == [RowStatus.OK] * 3
    for end in (sealer, opener):
        memory = (ctypes.c_ubyte * len(end._memory)).from_address(end._memory.ctypes.data)
        assert KEY[:16] in bytes(memory)  # the first round key of AES is the key's first half
        assert bytes(memory).count(SALT) >= 64  # in every cell; the context keeps the last nonce too
        end.close()
        assert bytes(memory) == bytes(len(memory))


@pytest.mark.ipsec_mb
def test_no_other_copy_of_the_key_is_made():
    """Expanding it reads the caller's own buffer, which the caller wipes."""
    copies: list[int] = []

    def note(key, _key_data):
        copies.append(key)

    mine = established()
    key = (ctypes.c_ubyte * 32).from_buffer(mine.write.key)
    expand: Any = note  # called as the library's function would be
    functions = GcmFunctions("none", expand, 1, 1)
    ipsec_mb._Sealer(functions, mine.write, 1)
    assert copies == [ctypes.addressof(key)]


@pytest.mark.ipsec_mb
def test_its_memory_is_aligned_as_the_header_asks():
    """64 bytes, for key data and context both; 20 times, since an allocator may be lucky once."""
    for _ in range(20):
        sealer, opener = IpsecMbBackend().attach(established())
        for end in (sealer, opener):
            assert (end._key_data % 64, end._context % 64) == (0, 0)
