"""The `ipsec-mb` backend: Intel Multi-Buffer Crypto, the library that DPDK and VPP use. One call a burst.

This is the engine of the emulated SmartNIC. Everything secret of one direction lies in one piece of memory::

    key schedule 4096 | context 512 | cells 2048 | tag 16 | address of the cipher's function 8

which :meth:`close` overwrites. ``struct gcm_key_data`` is 1008 bytes in version 1.3 and 1264 in 2.0; the
rest of its place is for versions to come.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from dtls_emu.crypto.backend import APPLICATION_DATA, Established, TrafficKeys
from dtls_emu.crypto.framing import (
    fill_salt,
    grow_to_records,
    require_openable,
    require_sealable,
    shrink_to_packets,
)
from dtls_emu.crypto.ipsec_mb_kernels import (
    CELLS_AT,
    CONTEXT_AT,
    FUNCTION_AT,
    STATE_SIZE,
    TAG_AT,
    native_functions,
    open_rows,
    seal_rows,
)
from dtls_emu.crypto.ipsec_mb_library import (
    INSTRUCTION_SETS,
    GcmFunctions,
    cpu_flags,
    find_functions,
    open_library,
)
from dtls_emu.crypto.native import NativeEnd
from dtls_emu.crypto.self_test import AES_256_GCM_DIGEST, prove
from dtls_emu.errors import BackendUnavailableError, LocalProtocolError
from dtls_emu.wire.overhead import RECORD_PREFIX


if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dtls_emu.wire.burst import Burst


__all__ = ["IpsecMbBackend"]

_CACHE_LINE: Final = 64  # the alignment that the header asks for


class IpsecMbBackend:
    """See the module.

    Args:
        instruction_set: one of ``INSTRUCTION_SETS``, for tests and comparisons; by default the first one
            that this CPU and the library have and that passes its self-test.

    Raises:
        BackendUnavailableError: no library, or none of its code works here; with the reason for each.
    """

    name: ClassVar[str] = "ipsec-mb"
    summary: ClassVar[str] = "Intel Multi-Buffer Crypto, one call a burst"
    protects: ClassVar[bool] = True
    needs_connection: ClassVar[bool] = False

    def __init__(self, instruction_set: str | None = None) -> None:
        library, self._version = open_library()
        flags = cpu_flags()
        reasons: list[str] = []
        for candidate in [instruction_set] if instruction_set else INSTRUCTION_SETS:
            try:
                self._functions = find_functions(library, candidate, flags)
                prove(self.attach, AES_256_GCM_DIGEST)
                return
            except BackendUnavailableError as error:
                reasons.append(f"{candidate}: {error}")
        raise BackendUnavailableError(f"libIPSec_MB {self._version} cannot be used: {'; '.join(reasons)}")

    @property
    def detail(self) -> str:
        """Version of the library and the instruction set in use."""
        return f"libIPSec_MB {self._version}, {self._functions.instruction_set}"

    def attach(self, established: Established) -> tuple[_Sealer, _Opener]:
        """Make the two ends of an association."""
        return (
            _Sealer(self._functions, established.write, established.epoch),
            _Opener(self._functions, established.read),
        )


class _End:
    """One direction: its memory, and the addresses in it that the kernels take."""

    def __init__(self, functions: GcmFunctions, keys: TrafficKeys, function: int) -> None:
        self._memory = _aligned(STATE_SIZE)
        self._key_data = self._memory.ctypes.data
        self._context = self._key_data + CONTEXT_AT
        self._cells = self._memory[CELLS_AT:TAG_AT]
        self._tag = self._memory[TAG_AT:FUNCTION_AT]
        self._memory[FUNCTION_AT:].view(np.uint64)[0] = function
        self._closed = False
        fill_salt(self._cells, keys.salt)
        key = (ctypes.c_ubyte * len(keys.key)).from_buffer(keys.key)  # no copy of the key
        functions.expand_key(ctypes.addressof(key), self._key_data)

    def close(self) -> None:
        self._closed = True
        self._memory.fill(0)

    def _require_open(self) -> None:
        if self._closed:
            raise LocalProtocolError("this end of the association is closed")


class _Sealer(_End):
    def __init__(self, functions: GcmFunctions, keys: TrafficKeys, epoch: int) -> None:
        super().__init__(functions, keys, functions.encrypt)
        self._encrypt = functions.encrypt
        self._epoch = epoch

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(native_functions()[0], self._key_data)

    def seal(self, burst: Burst, first_sequence: int, content_type: int = APPLICATION_DATA) -> None:
        self._require_open()
        require_sealable(burst, first_sequence)
        seal_rows(
            self._encrypt,
            self._key_data,
            self._context,
            burst.buffer,
            burst.offset - RECORD_PREFIX,
            burst.stride,
            burst.size,
            burst.count,
            burst.last,
            self._epoch,
            first_sequence,
            content_type,
            self._cells,
        )
        grow_to_records(burst)


class _Opener(_End):
    def __init__(self, functions: GcmFunctions, keys: TrafficKeys) -> None:
        super().__init__(functions, keys, functions.decrypt)
        self._decrypt = functions.decrypt

    @property
    def native(self) -> NativeEnd:
        """For :mod:`dtls_emu.crypto.native`."""
        return NativeEnd(native_functions()[1], self._key_data)

    def open(self, burst: Burst, status: NDArray[np.uint8]) -> None:
        self._require_open()
        require_openable(burst, status)
        open_rows(
            self._decrypt,
            self._key_data,
            self._context,
            burst.buffer,
            burst.offset,
            burst.stride,
            burst.size,
            burst.count,
            burst.last,
            status,
            self._cells,
            self._tag,
        )
        shrink_to_packets(burst)


def _aligned(size: int) -> NDArray[np.uint8]:
    memory = np.zeros(size + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size]
