"""Sealing and opening bursts: one call for a backend that compiled code can call, and what must not become of it."""

from __future__ import annotations

import secrets
from random import Random

import numpy as np
import pytest

from dtls_emu.crypto.backend import Established, TrafficKeys
from dtls_emu.crypto.native import native_end
from dtls_emu.crypto.registry import load
from dtls_emu.errors import LocalProtocolError
from dtls_emu.testing.pair import Pair
from dtls_emu.tunnel.association import Association
from dtls_emu.tunnel.handshake import Finished
from dtls_emu.tunnel.record_kernels import UNFIT, open_burst, seal_burst
from dtls_emu.tunnel.settings import CONTROL_RECORDS, TunnelSettings
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.overhead import RECORD_OVERHEAD, RECORD_PREFIX, TAG
from dtls_emu.wire.protocol import MAX_PLAINTEXT


BACKENDS = [
    "cryptography",
    pytest.param("libcrypto", marks=pytest.mark.libcrypto),
    pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb),
    "null",
]


@pytest.fixture
def make_ends():
    """Make the two associations of a tunnel: the client's, and the server's."""

    def make(backend, settings=None):
        pair = Pair(backend=backend, settings=settings)
        pair.connect()
        pair.run(1.0)
        return pair.client.active, pair.server.active

    return make


class Recorder:
    """A backend that keeps what it was given, and does its work or refuses it."""

    def __init__(self, name, *, refuses=False):
        self._backend = load(name)
        self._refuses = refuses
        self.given = []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def attach(self, established):
        self.given.append((established, bytes(established.write.key), bytes(established.read.salt)))
        if self._refuses:
            raise LocalProtocolError("refused")
        return self._backend.attach(established)


@pytest.mark.parametrize("backend", ["openssl", *BACKENDS])
def test_raw_keys_are_overwritten_as_soon_as_the_backend_has_them(backend):
    """Invariant 6 of the design; the backend's own copies carry traffic all the same."""
    recorder = Recorder(backend)
    pair = Pair(backend=recorder)
    pair.connect()
    pair.run(1.0)
    pair.send("alpha", b"packet")
    pair.run(2.0)
    assert pair.received["beta"] == [b"packet"]
    assert len(recorder.given) == 2
    for established, key, salt in recorder.given:
        assert any(key)
        assert any(salt)
        for keys in (established.write, established.read):
            assert (keys.key, keys.salt) == (bytes(32), bytes(4))
        assert established.connection is None


def test_raw_keys_are_overwritten_when_no_backend_takes_them():
    """A refusal is the caller's to handle; the keys are gone."""
    recorder = Recorder("cryptography", refuses=True)
    keys = [TrafficKeys(bytearray(secrets.token_bytes(32)), bytearray(4)) for _ in range(2)]
    with pytest.raises(LocalProtocolError, match="refused"):
        Association(
            Established(*keys),
            recorder,
            Finished(b"", 0),
            TunnelSettings(),
            is_client=True,
            ends=(1, 2),
            now=0.0,
        )
    assert [each.key for each in keys] == [bytes(32)] * 2


@pytest.mark.parametrize("records", [8, 2**48 - 3, 2**60])
def test_control_records_end_where_the_proof_of_distinct_nonces_ends(make_ends, records):
    """Nothing is sealed under a number that `may_meet` does not know of; the last of all is 2^48 - 1."""
    client, _ = make_ends("cryptography", TunnelSettings(rekey_records=records))
    end = min(records + CONTROL_RECORDS, 2**48)
    assert TunnelSettings(rekey_records=records).number_end == end
    client.next_sequence = end - 3
    made = [client.empty_record(), client.close_notify(), client.final_flight(), client.empty_record()]
    assert [bool(each) for each in made] == [True, True, True, False]
    assert client.next_sequence == end


def state(association):
    return association.words.tolist(), association.window.state.tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_changed_is_neither_sealed_nor_opened(make_ends, backend):
    """Bytes of Python's own may be shared with anybody: they stay what they are."""
    client, server = make_ends(backend)
    plain = bytes(RECORD_PREFIX) + b"some packet " * 5 + bytes(TAG)
    shape = {"stride": len(plain), "offset": RECORD_PREFIX, "size": 60, "count": 1, "last": 60}
    kept = bytes(bytearray(plain))
    with pytest.raises(LocalProtocolError, match="read-only"):
        client.seal(Burst(np.frombuffer(plain, np.uint8), **shape))
    assert plain == kept
    burst = Burst(np.frombuffer(bytearray(plain), np.uint8), **shape)
    client.seal(burst)
    record = burst.row(0).tobytes()
    kept = bytes(bytearray(record))
    with pytest.raises(LocalProtocolError, match="read-only"):
        server.open(Burst.from_datagrams(np.frombuffer(record, np.uint8)))
    assert record == kept
    status, opened = server.open(Burst.from_packets([record]))
    assert (status.tolist(), opened) == ([0], 1)


UNSEALABLE = {
    "no headroom": {"offset": RECORD_PREFIX - 1},
    "no tailroom": {"stride": RECORD_PREFIX + 100 + TAG - 1},
    "too large": {"size": MAX_PLAINTEXT + 1, "last": MAX_PLAINTEXT + 1, "stride": 20_000},
    "last is longer": {"last": 101},
    "negative last": {"last": -1},
    "no row": {"count": 0},
    "too many rows": {"count": MAX_ROWS + 1},
    "behind the buffer": {"count": MAX_ROWS, "stride": 1000},
}


@pytest.mark.parametrize("how", UNSEALABLE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_caller_that_gets_a_shape_wrong_is_told_and_nothing_is_written(make_ends, backend, how):
    """Whoever seals; the number that was taken for it is not used again."""
    client, _ = make_ends(backend)
    shape = {"stride": 200, "offset": RECORD_PREFIX, "size": 100, "count": 2, "last": 100} | UNSEALABLE[how]
    buffer = np.full(50_000, 0xA5, np.uint8)
    before = client.next_sequence
    with pytest.raises(LocalProtocolError):
        client.seal(Burst(buffer, **shape))
    assert (buffer == 0xA5).all()
    assert client.next_sequence >= before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_association_seals_and_opens_nothing(make_ends, backend):
    """It raises, and every byte and number stays as it was."""
    client, server = make_ends(backend)
    burst = Burst.from_packets([b"packet"] * 3, headroom=RECORD_PREFIX, tailroom=TAG)
    client.seal(burst)
    records = burst.buffer.copy()
    client.close()
    server.close()
    before = state(client), state(server)
    late = Burst.from_packets([b"packet"] * 3, headroom=RECORD_PREFIX, tailroom=TAG)
    plain = late.buffer.copy()
    with pytest.raises(LocalProtocolError):
        client.seal(late)
    with pytest.raises(LocalProtocolError):
        server.open(Burst.from_datagrams(records, 6 + RECORD_OVERHEAD))
    assert (late.buffer == plain).all()
    assert (state(client), state(server)) == before


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_whatever_shape_a_kernel_is_told_of_it_stays_inside_the_buffer(make_ends, backend):
    """Or does nothing at all. Rooms are guarded on both sides; another seed each time, a failure names it."""
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    rng = Random(seed)
    client, server = make_ends(backend)
    sealer, opener = native_end(client.sealer), native_end(server.opener)
    done = [0, 0]
    for _ in range(3000):
        memory = np.full(4096, 0xA5, np.uint8)
        buffer = memory[1024 : 1024 + rng.choice((0, 40, 200, 1000, 2048))]
        size = rng.choice((-1, 0, 1, 30, 100, 16_384, 1 << 40))
        last = rng.choice((size, size, size - 1, size + 1, 0, -1, 5))
        offset = rng.choice((RECORD_PREFIX, RECORD_PREFIX, 0, 20, 22, -1, 1 << 40))
        stride = offset + size + rng.choice((TAG, TAG, TAG - 1, TAG + 3, 0, -50))
        count = rng.choice((1, 1, 2, 5, 64, 65, 0, -1))
        numbers = state(client), state(server)
        if rng.random() < 0.5:
            end = client.next_sequence + rng.choice((1 << 20, 1 << 20, 1, 0))
            shape = (buffer, offset, stride, size, count, last)
            if seal_burst(client.words, end, *sealer[:2], *shape, 1):
                done[0] += 1
            else:
                assert (memory == 0xA5).all()
                assert (state(client), state(server)) == numbers
        else:
            status = np.zeros(rng.choice((0, 1, 64)), np.uint8)
            window = server.window.state
            shape = (buffer, stride, size, count, last)
            if open_burst(server.words, window, *opener[:2], *shape, 1, status, False) != UNFIT:
                done[1] += 1
            assert (memory == 0xA5).all()  # there is no record in it
            assert (state(client), state(server)) == numbers
        assert (memory[:1024] == 0xA5).all()
        assert (memory[1024 + len(buffer) :] == 0xA5).all()
    assert min(done) > 3
