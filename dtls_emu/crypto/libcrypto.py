"""The `libcrypto` backend: AES-GCM of the system's OpenSSL, called from compiled code. One call a burst, on any processor.

What is fast in OpenSSL is its cipher, and what is slow is coming to it from Python a record at a time. Here a context is
made once a direction, its key is set once, and a kernel sets the nonce of each record and seals it in place.
:meth:`close` frees the context; OpenSSL overwrites the key schedule as it does.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dtls_emu.crypto.backend import APPLICATION_DATA, Established, TrafficKeys
from dtls_emu.crypto.framing import (
    fill_salt,
    grow_to_records,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.crypto.libcrypto_kernels import (
    CELLS_AT,
    CONTEXT_AT,
    FUNCTIONS_AT,
    LENGTH_AT,
    STATE_SIZE,
    native_functions,
    open_rows,
    seal_rows,
)
from dtls_emu.crypto.libcrypto_library import open_libcrypto
from dtls_emu.crypto.native import NativeEnd
from dtls_emu.crypto.self_test import AES_256_GCM_DIGEST, prove
from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.overhead import RECORD_PREFIX


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.crypto.libcrypto_library import EvpFunctions, Libcrypto
    from dtls_emu.wire.burst import Burst


__all__ = ["LibcryptoBackend"]


class LibcryptoBackend:
    """See the module.

    Raises:
        BackendUnavailableError: no OpenSSL 3, or its code does not pass the self-test.
    """

    name: ClassVar[str] = "libcrypto"
    summary: ClassVar[str] = "the system's OpenSSL, one call a burst"
    protects: ClassVar[bool] = True
    needs_connection: ClassVar[bool] = False

    def __init__(self) -> None:
        self._library = open_libcrypto()
        prove(self.attach, AES_256_GCM_DIGEST)

    @property
    def detail(self) -> str:
        """Version of the library, and whether a FIPS provider is in use."""
        return self._library.version + (", FIPS provider" if self._library.fips else "")

    def attach(self, established: Established) -> tuple[_Sealer, _Opener]:
        """Make the two ends of an association."""
        return _Sealer(self._library, established.write, established.epoch), _Opener(
            self._library, established.read
        )


class _End:
    """One direction: its context, and the memory in which kernels find it."""

    def __init__(
        self, library: Libcrypto, keys: TrafficKeys, functions: EvpFunctions, *, encrypt: bool
    ) -> None:
        self._state = np.zeros(STATE_SIZE, np.uint8)
        words = self._state[:CELLS_AT].view(np.uint64)
        context = library.new_context(keys.key, encrypt=encrypt)
        words[CONTEXT_AT // 8] = context
        words[FUNCTIONS_AT // 8 : LENGTH_AT // 8] = (
            functions.initialise,
            functions.update,
            functions.final,
            functions.control,
        )
        fill_salt(self._state[CELLS_AT:], keys.salt)
        # Also for an end that nobody closes: the context is no memory of Python's.
        self._free = weakref.finalize(self, _free, library, self._state, context)

    @property
    def _address(self) -> int:
        return int(self._state.ctypes.data)

    def close(self) -> None:
        self._free()

    def _require_open(self) -> None:
        if not self._free.alive:
            raise LocalProtocolError("this end of the association is closed")


def _free(library: Libcrypto, state: NDArray[np.uint8], context: int) -> None:
    state.fill(0)  # first: a native call that comes too late finds no context
    library.free_context(context)


class _Sealer(_End):
    def __init__(self, library: Libcrypto, keys: TrafficKeys, epoch: int) -> None:
        super().__init__(library, keys, library.encrypt, encrypt=True)
        self._epoch = epoch

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(native_functions()[0], self._address)

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        self._require_open()
        require_sealable(burst, first_sequence)
        seal_rows(
            self._state,
            burst.buffer,
            burst.offset - RECORD_PREFIX,
            burst.stride,
            burst.size,
            burst.count,
            burst.last,
            self._epoch,
            first_sequence,
            content_type,
        )
        grow_to_records(burst)


class _Opener(_End):
    def __init__(self, library: Libcrypto, keys: TrafficKeys) -> None:
        super().__init__(library, keys, library.decrypt, encrypt=False)

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(native_functions()[1], self._address)

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        self._require_open()
        require_openable(burst, status)
        open_rows(
            self._state, burst.buffer, burst.offset, burst.stride, burst.size, burst.count, burst.last, status
        )
        shrink_to_packets(burst)
