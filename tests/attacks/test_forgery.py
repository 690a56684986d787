"""Records that nobody with the keys has made: they cost a count, and nothing else."""

import random

import numpy as np
import pytest

from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.protocol import APPLICATION_DATA, MAX_CIPHERTEXT
from dtls_emu.wire.record import push_record_header


FORGERIES = 100_000

on_every_engine = pytest.mark.parametrize(
    "backend",
    [
        "cryptography",
        pytest.param("libcrypto", marks=pytest.mark.libcrypto),
        pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb),
    ],
)


def last_record(target, sender="alpha"):
    """The last thing a host sent: ports as the receiver sees them, and the datagram."""
    return target.recorded(sender)[-1]


@on_every_engine
def test_a_hundred_thousand_forged_tags_do_not_keep_the_next_record_out(make_target, backend):
    """Sequence numbers all over the 48 bits: not one moves the replay window (RFC 6347 4.1.2.6)."""
    target = make_target(backend=backend).up()
    target.chat()
    local, remote, record = last_record(target)
    rng = np.random.default_rng(1)
    given = 0
    while given < FORGERIES:
        count = min(MAX_ROWS, FORGERIES - given)
        burst = Burst.from_packets([record] * count)
        rows = burst.buffer.reshape(count, len(record))
        rows[:, 5:11] = rng.integers(0, 256, (count, 6))
        rows[:, -16:] = rng.integers(0, 256, (count, 16))
        given += count
        assert target.server.receive(burst, local, remote, target.now) == []
        assert not rows[:, 21:-16].any(), "plaintext of a forgery was left in the buffer"
    assert target.server.forgeries == FORGERIES
    assert target.dropped["beta"] == {DropReason.AUTH_FAILED: FORGERIES}
    assert target.client.state is TunnelState.UP
    target.chat(3)


def test_the_books_of_forgeries_survive_a_rekey(make_target):
    """The limit is that of one key (RFC 9325 4.4), the sum is for the operator."""
    target = make_target(settings=TunnelSettings(forgery_limit=10)).up()
    for _ in range(2):
        target.chat()
        local, remote, record = last_record(target)
        for number in range(7):
            target.inject("beta", local, remote, record[:-1] + bytes([record[-1] ^ (number + 1)]))
            target.inject("beta", local, remote, forged(record, 10_000 + number))
        assert target.client.rekey(target.now)
        target._flush("alpha")
        target.run(until=target.now + 1)
    assert target.server.forgeries == 14
    target.chat()


def forged(record, sequence):
    """A record under another number, its tag unchanged."""
    return record[:5] + sequence.to_bytes(6, "big") + record[11:]


def test_records_of_another_association_are_refused(make_target):
    """Of the same two hosts even: other keys, equal numbers."""
    target, other = make_target().up(), make_target().up()
    target.chat(50)
    other.chat(50)
    for name in ("alpha", "beta"):
        receiver = "beta" if name == "alpha" else "alpha"
        ends = {"beta": target.server.active.ends, "alpha": target.client.active.ends}[receiver]
        target.dropped[receiver].clear()
        foreign = [datagram for _, _, datagram in other.recorded(name) if datagram[0] == APPLICATION_DATA]
        for datagram in foreign:
            target.inject(receiver, *ends, datagram)
            target.inject(receiver, *ends, forged(datagram, 5000))
        assert target.dropped[receiver][DropReason.AUTH_FAILED] >= len(foreign)
        assert target.dropped[receiver].total() == 2 * len(foreign)
    target.chat(3)


def test_datagrams_cut_short_or_padded_are_refused(make_target):
    """Every length of a record from 1 byte on, alone and with junk behind it."""
    target = make_target().up()
    target.send("alpha", target.packet())
    local, remote, record = last_record(target)
    target.run(until=1.0)  # the record itself has not arrived yet
    for length in range(1, len(record)):
        target.inject("beta", local, remote, record[:length])
    assert target.dropped["beta"].keys() <= {DropReason.BAD_DATAGRAM}
    assert target.dropped["beta"].total() == len(record) - 1
    relabelled = [record[:11] + length.to_bytes(2, "big") + record[13:] for length in range(len(record) - 13)]
    for datagram in relabelled:
        target.inject("beta", local, remote, datagram)
    assert target.received["beta"] == []
    target.inject("beta", local, remote, record + b"junk")
    assert target.received["beta"] == target.sent["alpha"]
    target.chat(3)


@pytest.mark.parametrize("size", [1, 12, 13, 36, 37, 1500, MAX_CIPHERTEXT + 13, MAX_CIPHERTEXT + 14, 65_507])
def test_datagrams_of_any_size_are_counted_and_dropped(make_target, size):
    """Runts, giants and everything between: zeros, ones, junk, and a header that says the length is right."""
    target = make_target().up()
    ends = target.server.active.ends
    rng = random.Random(size)
    announced = push_record_header(APPLICATION_DATA, 1, 1000, (size - 13) % 65_536) + bytes(max(size - 13, 0))
    datagrams = [bytes(size), b"\xff" * size, rng.randbytes(size), announced[:size]]
    for datagram in datagrams:
        target.inject("beta", *ends, datagram)
    assert target.dropped["beta"].total() == len(datagrams)
    target.chat(3)


@pytest.mark.parametrize("seed", range(4))
def test_spliced_records_of_a_real_session_are_never_believed(make_target, seed):
    """Cut, joined, shuffled and bit-flipped pieces of everything that was on the wire, 1500 datagrams."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    target = make_target().up()
    target.chat(20)
    recorded = [(name, *each) for name in ("alpha", "beta") for each in target.recorded(name)]
    pieces = [datagram for *_, datagram in recorded]
    for _ in range(1500):
        name, local, remote, datagram = rng.choice(recorded)
        mutated = bytearray(rng.choice([datagram, datagram + rng.choice(pieces), rng.choice(pieces)]))
        if rng.random() < 0.5:
            del mutated[rng.randrange(len(mutated)) :]
        for _ in range(rng.randrange(4)):
            if mutated:
                mutated[rng.randrange(min(len(mutated), 30))] ^= 1 << rng.randrange(8)
        target.inject("beta" if name == "alpha" else "alpha", local, remote, bytes(mutated))
        if rng.random() < 0.02:
            target.run(until=target.now + rng.random())
    target.chat(3)
    target.run(until=target.now + 60)
    target.chat(3)
