"""The system's OpenSSL: find the library, and the functions of its EVP interface that AES-256-GCM takes.

Version 3.0 or later: from there on the functions below and the way in which contexts are fetched are the same. It is
the library of the operating system, not the one that the `cryptography` package brings along, whose functions cannot be
called from outside.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from dtls_emu.errors import BackendUnavailableError


__all__ = ["GCM_GET_TAG", "GCM_SET_TAG", "EvpFunctions", "Libcrypto", "open_libcrypto"]

SONAMES: Final = ("libcrypto.so.4", "libcrypto.so.3", "libcrypto.4.dylib", "libcrypto.3.dylib")
"""Newest first. The number is OpenSSL's major version from 3 on."""

LEAST_VERSION: Final = 0x3000_0000
"""``OpenSSL_version_num`` of 3.0.0 (crypto.h: 0xMNN00PP0)."""

# openssl/evp.h
GCM_GET_TAG: Final = 0x10  # EVP_CTRL_AEAD_GET_TAG
GCM_SET_TAG: Final = 0x11  # EVP_CTRL_AEAD_SET_TAG

_ALGORITHM: Final = b"AES-256-GCM"


@dataclass(frozen=True, slots=True)
class EvpFunctions:
    """Addresses of C functions: initialise with a nonce, go on with data, end, get or set the tag."""

    initialise: int
    update: int
    final: int
    control: int


class Libcrypto:
    """One loaded library, with AES-256-GCM fetched from its default provider.

    Fields:
        version: as the library says it.
        fips: only algorithms of a FIPS provider are used.
        encrypt, decrypt: what the kernels call.

    Raises:
        BackendUnavailableError: too old, not OpenSSL, or without AES-256-GCM.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        try:
            library.OpenSSL_version.restype = ctypes.c_char_p
            self.version = str(library.OpenSSL_version(0).decode("ascii", "replace"))
            library.OpenSSL_version_num.restype = ctypes.c_ulong
            number = library.OpenSSL_version_num()
        except AttributeError:
            raise BackendUnavailableError("the library does not tell its version") from None
        if number < LEAST_VERSION or not self.version.startswith("OpenSSL "):
            raise BackendUnavailableError(f"needs OpenSSL 3.0 or later, this is {self.version}")
        self._library = library
        pointer, number_of = ctypes.c_void_p, ctypes.c_int
        for name, result, arguments in (
            ("EVP_CIPHER_fetch", pointer, (pointer, ctypes.c_char_p, ctypes.c_char_p)),
            ("EVP_CIPHER_CTX_new", pointer, ()),
            ("EVP_CIPHER_CTX_free", None, (pointer,)),
            ("EVP_CipherInit_ex2", number_of, (pointer, pointer, pointer, pointer, number_of, pointer)),
            ("EVP_default_properties_is_fips_enabled", number_of, (pointer,)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self.fips = bool(library.EVP_default_properties_is_fips_enabled(None))
        self._cipher = library.EVP_CIPHER_fetch(None, _ALGORITHM, None)  # lives as long as the process
        if not self._cipher:
            raise BackendUnavailableError(f"{self.version} has no {_ALGORITHM.decode()}")
        self.encrypt, self.decrypt = self._functions("Encrypt"), self._functions("Decrypt")

    def _functions(self, direction: str) -> EvpFunctions:
        names = (
            *(f"EVP_{direction}{what}" for what in ("Init_ex", "Update", "Final_ex")),
            "EVP_CIPHER_CTX_ctrl",
        )
        initialise, update, final, control = (_address(getattr(self._library, name)) for name in names)
        return EvpFunctions(initialise, update, final, control)

    def new_context(self, key: bytearray, *, encrypt: bool) -> int:
        """The address of a context with this key set; its nonce is of 12 bytes and set with each record.

        Raises:
            BackendUnavailableError: OpenSSL refuses: no memory.
        """
        context = self._library.EVP_CIPHER_CTX_new()
        held = (ctypes.c_ubyte * len(key)).from_buffer(key)  # no copy of the key
        if not context or not self._library.EVP_CipherInit_ex2(
            context, self._cipher, held, None, int(encrypt), None
        ):
            self._library.EVP_CIPHER_CTX_free(context)
            raise BackendUnavailableError(f"{self.version} makes no context")
        return int(context)

    def free_context(self, context: int) -> None:
        """Overwrite the key schedule and free the context, which the library does in one."""
        self._library.EVP_CIPHER_CTX_free(context)


def open_libcrypto() -> Libcrypto:
    """The newest of the libraries that are here and can be used.

    Raises:
        BackendUnavailableError: none can; with the reason of each that is here.
    """
    reasons = []
    for soname in SONAMES:
        try:
            library = ctypes.CDLL(soname)
        except OSError:
            continue
        try:
            return Libcrypto(library)
        except (BackendUnavailableError, AttributeError) as error:
            reasons.append(f"{soname}: {error}")
    if reasons:
        raise BackendUnavailableError("; ".join(reasons))
    raise BackendUnavailableError(
        "OpenSSL 3 is not installed as a library (Debian and Ubuntu: apt install libssl3)"
    )


def _address(function: ctypes._NamedFuncPointer) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address  # the loader found the symbol
    return address
