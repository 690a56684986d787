"""Intel Multi-Buffer Crypto for IPsec: find the library, and the code in it that fits this CPU.

The library has AES-GCM once per instruction set, each under exported names that end in it. The list and its
CPU features are the library's own (``IMB_CPUFLAGS_*`` of ``intel-ipsec-mb.h``, versions 1.0 to 2.0). Versions
differ: 1.5 adds ``vaes_avx2`` and 2.0 has no ``avx_gen2``; a name that is not exported is passed over.
"""

from __future__ import annotations

import ctypes
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dtls_emu.errors import BackendUnavailableError


__all__ = ["INSTRUCTION_SETS", "GcmFunctions", "cpu_flags", "find_functions", "open_library"]

_SONAMES: Final = ("libIPSec_MB.so.2", "libIPSec_MB.so.1")

_SSE: Final = frozenset({"aes", "pclmulqdq", "sse4_2"})
_AVX: Final = _SSE | {"avx"}
_AVX2: Final = _AVX | {"avx2", "bmi2"}
_AVX512: Final = _AVX2 | {"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"}
_VECTOR_AES: Final = frozenset({"vaes", "vpclmulqdq", "gfni", "sha_ni"})

INSTRUCTION_SETS: Final = {
    "vaes_avx512": _AVX512 | _VECTOR_AES | {"avx512ifma"},
    "vaes_avx2": _AVX2 | _VECTOR_AES,
    "avx512": _AVX512,
    "avx_gen4": _AVX2,
    "avx_gen2": _AVX,
    "sse": _SSE,
}
"""Name endings, fastest first, each with the CPU features it needs as ``/proc/cpuinfo`` spells them."""


@dataclass(frozen=True, slots=True)
class GcmFunctions:
    """AES-256-GCM for one instruction set.

    Fields:
        instruction_set: ending of the names.
        expand_key: ``aes_gcm_pre_256_*``, callable with the addresses of key and key data.
        encrypt, decrypt: addresses of ``aes_gcm_{enc,dec}_256_*``.
    """

    instruction_set: str
    expand_key: ctypes._NamedFuncPointer
    encrypt: int
    decrypt: int


def open_library() -> tuple[ctypes.CDLL, str]:
    """The library and its version.

    Raises:
        BackendUnavailableError: not this kind of machine, not installed, or too old.
    """
    if platform.machine() not in {"x86_64", "AMD64"}:
        raise BackendUnavailableError(f"needs an x86-64 CPU, this is {platform.machine()}")
    for soname in _SONAMES:
        try:
            library = ctypes.CDLL(soname)
        except OSError:
            continue
        try:
            version = library.imb_get_version_str
        except AttributeError:
            raise BackendUnavailableError(
                f"{soname} is older than 1.0: it does not tell its version"
            ) from None
        version.restype = ctypes.c_char_p
        return library, version().decode()
    raise BackendUnavailableError(
        f"{' or '.join(reversed(_SONAMES))} is not installed (Debian and Ubuntu: apt install libipsec-mb1)"
    )


def find_functions(library: ctypes.CDLL, instruction_set: str, flags: frozenset[str]) -> GcmFunctions:
    """The functions of one instruction set.

    Raises:
        BackendUnavailableError: the CPU or the library does not have it.
    """
    missing = INSTRUCTION_SETS[instruction_set] - flags
    if missing:
        raise BackendUnavailableError(f"this CPU lacks {', '.join(sorted(missing))}")
    try:
        expand_key, encrypt, decrypt = (
            getattr(library, f"aes_gcm_{what}_256_{instruction_set}") for what in ("pre", "enc", "dec")
        )
    except AttributeError:
        raise BackendUnavailableError("this version of the library does not export it") from None
    expand_key.restype = None
    expand_key.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    return GcmFunctions(instruction_set, expand_key, _address(encrypt), _address(decrypt))


def cpu_flags() -> frozenset[str]:
    """CPU features that the kernel lets programs use; empty where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), ()))


def _address(function: ctypes._NamedFuncPointer) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address  # the loader found the symbol
    return address
