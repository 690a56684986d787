"""Seal and open, per backend and packet size, beside the bare libraries that they stand on.

A round is one burst of 45 rows, which is a TCP super-packet of 64 KB at 1400 bytes. ``ns_per_record`` in the
extra information is the median. The bare runs are the limit: the library called in the same loop on the same
memory, without header, nonce, tag comparison and checks.
"""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dtls_emu.crypto.framing import AAD_AT, CELL
from dtls_emu.crypto.ipsec_mb_kernels import call_gcm
from dtls_emu.crypto.libcrypto_kernels import CELLS_AT, CONTEXT_AT, FUNCTIONS_AT, LENGTH_AT, call_evp
from dtls_emu.crypto.libcrypto_library import GCM_GET_TAG
from dtls_emu.crypto.loopback import loopback_handshake
from dtls_emu.crypto.registry import available, load
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.memory import kernel, load_u64_native
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG


ROWS = 45
SIZES = [64, 512, 1400, 8900]
ROUNDS, WARM_UP = 400, 40
BACKENDS = [name for name, found in available() if not isinstance(found, str)]


@pytest.fixture(params=SIZES)
def size(request, benchmark):
    benchmark.extra_info["size"] = request.param
    return request.param


@pytest.fixture
def measure(benchmark, size):
    """Run ``function`` on what ``prepare`` gives, round by round; the preparation is not measured."""

    def run(group, function, prepare):
        benchmark.group = f"{group}, {size} bytes"
        benchmark.pedantic(
            function, setup=lambda: (prepare(), {}), rounds=ROUNDS, warmup_rounds=WARM_UP, iterations=1
        )
        if benchmark.stats:
            benchmark.extra_info["ns_per_record"] = round(benchmark.stats.stats.median / ROWS * 1e9, 1)

    return run


class Traffic:
    """Two ends of an association, and fresh bursts for them."""

    def __init__(self, name, size):
        backend = load(name)
        client, server = loopback_handshake()
        source = client.established(with_connection=backend.needs_connection)
        self.sealer, _ = backend.attach(source)
        _, self.opener = backend.attach(server.established(with_connection=backend.needs_connection))
        self.sequence = source.next_sequence
        self.burst = Burst.allocate(size, ROWS, headroom=RECORD_PREFIX, tailroom=TAG)
        self.burst.buffer[:] = 0x5A
        self.status = np.zeros(ROWS, np.uint8)
        self.size = size

    def packets(self):
        """The rows as packets again, under the next sequence numbers."""
        burst = self.burst
        burst.offset, burst.size, burst.last = RECORD_PREFIX, self.size, self.size
        first, self.sequence = self.sequence, self.sequence + ROWS
        return burst, first

    def records(self):
        """The rows as fresh records."""
        self.sealer.seal(*self.packets())
        self.status[:] = 0
        return self.burst, self.status


@pytest.fixture(params=BACKENDS)
def traffic(request, benchmark, size):
    benchmark.extra_info["backend"] = request.param
    return Traffic(request.param, size)


def test_seal(measure, traffic):
    measure("seal", traffic.sealer.seal, traffic.packets)
    assert traffic.burst.size == traffic.size + RECORD_OVERHEAD


def test_open(measure, traffic):
    measure("open", traffic.opener.open, traffic.records)
    assert not traffic.status.any()


@kernel
def call_for_rows(function, key_data, context, buffer, size, count, cells):
    """The bare library in our loop: in place, at our stride, on our nonces."""
    payload = buffer.ctypes.data + RECORD_PREFIX
    cell = cells.ctypes.data
    for _ in range(count):
        call_gcm(function, key_data, context, payload, size, cell, cell + AAD_AT, payload + size)
        payload += size + RECORD_OVERHEAD
        cell += CELL


@pytest.fixture
def ipsec_mb(size):
    try:
        return Traffic("ipsec-mb", size)
    except BackendUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("direction", ["seal", "open"])
def test_bare_ipsec_mb(measure, ipsec_mb, direction):
    end = ipsec_mb.sealer if direction == "seal" else ipsec_mb.opener
    function = end._encrypt if direction == "seal" else end._decrypt
    arguments = (
        function,
        end._key_data,
        end._context,
        ipsec_mb.burst.buffer,
        ipsec_mb.size,
        ROWS,
        end._cells,
    )
    measure(direction, call_for_rows, lambda: arguments)


@pytest.mark.parametrize("direction", ["seal", "open"])
def test_bare_aesgcm(measure, size, direction):
    cipher, nonce, additional = AESGCM(os.urandom(32)), bytes(12), bytes(13)
    packet = bytes(size)
    if direction == "open":
        packet = cipher.encrypt(nonce, packet, additional)
    call = cipher.encrypt if direction == "seal" else cipher.decrypt

    def loop():
        for _ in range(ROWS):
            call(nonce, packet, additional)

    measure(direction, loop, tuple)


@kernel
def call_evp_for_rows(state, buffer, size, count):
    """The bare EVP calls in our loop: in place, at our stride, on our nonces, without framing."""
    context = np.int64(load_u64_native(state, CONTEXT_AT))
    initialise = np.int64(load_u64_native(state, FUNCTIONS_AT))
    update = np.int64(load_u64_native(state, FUNCTIONS_AT + 8))
    final = np.int64(load_u64_native(state, FUNCTIONS_AT + 16))
    control = np.int64(load_u64_native(state, FUNCTIONS_AT + 24))
    length_at = state.ctypes.data + LENGTH_AT
    payload = buffer.ctypes.data + RECORD_PREFIX
    cell = state.ctypes.data + CELLS_AT
    for _ in range(count):
        call_evp(initialise, (context, 0, 0, 0, cell))
        call_evp(update, (context, 0, length_at, cell + AAD_AT, 13))
        call_evp(update, (context, payload, length_at, payload, size))
        call_evp(final, (context, payload + size, length_at, 0, 0))
        call_evp(control, (context, GCM_GET_TAG, 16, payload + size, 0))
        payload += size + RECORD_OVERHEAD
        cell += CELL


def test_bare_evp(measure, size):
    try:
        traffic = Traffic("libcrypto", size)
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    arguments = (traffic.sealer._state, traffic.burst.buffer, traffic.size, ROWS)
    measure("seal", call_evp_for_rows, lambda: arguments)
