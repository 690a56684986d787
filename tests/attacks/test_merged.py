"""What a kernel hands over as one receive: datagrams back to back, with a length that says where each begins."""

import random

import pytest

from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import MAX_ROWS


def test_merged_records_are_delivered_in_order(make_cards):
    """The honest case, of more datagrams than a burst has rows."""
    target = make_cards().up()
    source, local, records = target.records(64)
    more = target.records(36)[2]
    target.merged(source, local, b"".join(records + more), len(records[0]))
    assert target.delivered["b"] == target.sent
    assert not target.drops


def test_a_receive_cut_at_wrong_places_delivers_nothing_false(make_cards):
    """At every length but the right one: what comes out was sent, once; then all of it does."""
    target = make_cards().up()
    size = len(target.records(1)[2][0])
    for segment in [*range(-1, 2 * size + 2), 65_507]:
        source, local, records = target.records(3)
        before = len(target.delivered["b"])
        target.merged(source, local, b"".join(records), segment)
        assert set(target.delivered["b"][before:]) <= set(target.sent[-3:]), segment
        target.merged(source, local, b"".join(records), size)
        assert sorted(target.delivered["b"][before:]) == sorted(target.sent[-3:]), segment
    target.talk(5)


@pytest.mark.parametrize("segment", [1, 12, 13, 36, 37, 1023, 65_506])
def test_the_largest_receive_is_taken_whatever_its_length_says(make_cards, segment):
    """65,507 bytes of zeros, of ones and of junk, up to as many datagrams: each is counted."""
    target = make_cards().up()
    source, local, _ = target.records(1)
    for data in (bytes(65_507), b"\xff" * 65_507, random.Random(segment).randbytes(65_507)):
        before = sum(target.drops_at("h2").values())
        target.merged(source, local, data, segment)
        assert sum(target.drops_at("h2").values()) - before == -(-len(data) // segment)
    target.talk(5)


def test_good_records_among_bad_ones_of_one_receive_are_delivered(make_cards):
    """Replays, forgeries, other epochs and junk of the same size in any order, 50 receives (seed 1)."""
    rng = random.Random(1)
    target = make_cards().up()
    for _ in range(50):
        source, local, records = target.records(8)
        size = len(records[0])
        bad = [rng.randbytes(size), bytes(size), records[0], rng.choice(records)]
        for _ in range(8):
            forged = bytearray(rng.choice(records))
            forged[rng.randrange(size)] ^= 1 << rng.randrange(8)
            bad.append(bytes(forged))
        rows = records + bad
        rng.shuffle(rows)
        assert len(rows) <= MAX_ROWS
        before = len(target.delivered["b"])
        target.merged(source, local, b"".join(rows), size)
        assert sorted(target.delivered["b"][before:]) == sorted(target.sent[-8:])
    assert target.drops_at("h2")[DropReason.AUTH_FAILED] > 100
    assert target.drops_at("h2")[DropReason.REPLAYED] >= 100


def test_several_records_in_each_of_several_merged_datagrams(make_cards):
    """Datagrams that hold two records each are merged like others; all of them count."""
    target = make_cards().up()
    source, local, records = target.records(10)
    target.merged(source, local, b"".join(records), 2 * len(records[0]))
    assert target.delivered["b"] == target.sent
    assert not target.drops


@pytest.mark.parametrize("segment", [0, 1, 22, 40, 100, 65_507])
def test_merged_frames_in_clear_are_read_with_the_same_care(make_cards, segment):
    """On the VXLAN port of cards whose network is not encrypted: junk is malformed, and nothing is made up."""
    target = make_cards(encrypted=False)
    target.talk(3)
    frames = [datagram for *_, datagram in target.datagrams]
    target.sent.clear()
    target.delivered.clear()
    target.datagrams.clear()
    data = random.Random(1).randbytes(30) + b"".join(frames)
    target.merged(("10.255.0.1", 4789), 4789, data, segment)
    assert target.delivered == {}
    assert set(target.drops_at("h2")) <= {DropReason.MALFORMED, DropReason.UNKNOWN_VNI}
