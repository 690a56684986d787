"""Each impairment does what its setting says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dtls_emu.fabric.impairment import Direction
from dtls_emu.lab.topology import Link
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.protocol import is_handshake


CLEAN = Link("a", "b", mtu=1500, delay=0.001, jitter=0, loss=0, reorder=0, duplicate=0, corrupt=0, rate=0)
MILLISECOND = 1_000_000


def direction(seed=1, version=4, queue_limit=1000, **settings):
    return Direction(replace(CLEAN, **settings), seed, underlay_version=version, queue_limit=queue_limit)


def fates(way, count=1000, length=100, gap_ns=0):
    return [way.judge(length, index * gap_ns, handshake=False) for index in range(count)]


@pytest.mark.parametrize(("version", "largest"), [(4, 1472), (6, 1452)])
def test_mtu_counts_the_outer_headers(version, largest):
    """MTU 1500 carries 1500 - 20 - 8 or 1500 - 40 - 8 bytes of UDP payload; one more is dropped."""
    way = direction(version=version)
    assert way.judge(largest, 0, handshake=False).dropped is None
    assert way.judge(largest + 1, 0, handshake=False).dropped == DropReason.LINK_MTU
    assert (way.fits(largest), way.fits(largest + 1)) == (True, False)


def test_a_clean_link_only_delays():
    """No chance, no draw: every datagram arrives after exactly the delay."""
    way = direction()
    assert way.transparent
    assert {
        (fate.dropped, fate.arrival_ns, fate.duplicated, fate.reordered, fate.flipped_bit)
        for fate in fates(way)
    } == {(None, MILLISECOND, False, False, -1)}


@pytest.mark.parametrize(
    ("setting", "happened"),
    [
        ("loss", lambda fate: fate.dropped == DropReason.LOST),
        ("duplicate", lambda fate: fate.duplicated),
        ("reorder", lambda fate: fate.reordered),
        ("corrupt", lambda fate: fate.flipped_bit >= 0),
    ],
)
def test_a_probability_is_met_and_certainty_is_certain(setting, happened):
    """5 % of 10,000 is 500 give or take four standard deviations (87); 0 is never and 1 is always."""
    count = sum(map(happened, fates(direction(**{setting: 0.05}), 10_000)))
    assert 413 <= count <= 587
    assert not any(map(happened, fates(direction(jitter=0.0001))))
    assert all(map(happened, fates(direction(**{setting: 1.0}))))


def test_impairments_do_not_disturb_each_other():
    """Raising one probability leaves the other decisions as they were."""
    before = fates(direction(loss=0.1, corrupt=0.1))
    after = fates(direction(loss=0.1, corrupt=0.1, duplicate=0.5, jitter=0.0005))
    assert [fate.dropped for fate in before] == [fate.dropped for fate in after]
    assert [fate.flipped_bit for fate in before] == [fate.flipped_bit for fate in after]


def test_marks_are_for_what_is_capable_of_them():
    """RFC 3168 5: ECT(0) and ECT(1) become CE; what is not capable passes as it is, and what is marked stays so."""
    marks = direction(ecn_mark=1.0)
    assert not marks.transparent
    found = [marks.judge(1000, 0, handshake=False, tos=0xB8 | ecn).marked for ecn in range(4)]
    assert found == [False, True, True, False]
    some = [direction(ecn_mark=0.3).judge(1000, 0, handshake=False, tos=2).marked for _ in range(3)]
    assert len(set(some)) == 1
    share = direction(ecn_mark=0.3)
    assert 200 < sum(share.judge(1000, 0, handshake=False, tos=2).marked for _ in range(1000)) < 400


def test_marks_leave_all_other_decisions_as_they_were():
    """They are drawn apart, so a lab without them has the trace that it always had."""
    before = fates(direction(loss=0.1, corrupt=0.1, jitter=0.0005))
    assert fates(direction(loss=0.1, corrupt=0.1, jitter=0.0005, ecn_mark=0.5)) == before


def test_more_loss_loses_the_same_and_more():
    """So two runs that differ in one probability can be compared."""
    less, more = fates(direction(loss=0.05)), fates(direction(loss=0.2))
    lost_less = {index for index, fate in enumerate(less) if fate.dropped}
    lost_more = {index for index, fate in enumerate(more) if fate.dropped}
    assert lost_less < lost_more


def test_the_generator_depends_on_the_seed_and_the_ends():
    """Same seed and ends: same draws. Another seed, or another pair of hosts: others."""
    same = fates(direction(seed=7, loss=0.5))
    assert fates(direction(seed=7, loss=0.5)) == same
    assert fates(direction(seed=8, loss=0.5)) != same
    assert fates(direction(seed=7, loss=0.5, destination="c")) != same
    assert fates(direction(seed=7, loss=0.5, source="b", destination="a")) != same


def test_a_seed_means_the_same_in_every_process():
    """No salted hash has a part in it: these are the losses of seed 1, today and on another machine."""
    lost = [index for index, fate in enumerate(fates(direction(seed=1, loss=0.3), 20)) if fate.dropped]
    assert lost == [0, 8, 11, 15, 17]


def test_jitter_spreads_around_the_delay():
    """Far apart in time, arrivals fill the range of delay minus jitter to delay plus jitter."""
    gap_ns = 10 * MILLISECOND
    delays = [
        fate.arrival_ns - index * gap_ns
        for index, fate in enumerate(fates(direction(jitter=0.0005), gap_ns=gap_ns))
    ]
    assert 500_000 <= min(delays) < 520_000
    assert 1_480_000 < max(delays) <= 1_500_000


def test_jitter_alone_never_reorders():
    """A datagram behind a slow one waits for it."""
    arrivals = [fate.arrival_ns for fate in fates(direction(jitter=0.001), gap_ns=1000)]
    assert arrivals == sorted(arrivals)


def test_jitter_above_the_delay_never_arrives_before_it_was_sent():
    """The delay is cut at zero."""
    arrivals = [fate.arrival_ns for fate in fates(direction(delay=0, jitter=1.0), gap_ns=10**10)]
    assert all(arrival >= index * 10**10 for index, arrival in enumerate(arrivals))


def test_a_delay_that_is_lowered_does_not_reorder():
    """What is sent after it queues up behind what is still in the pipe."""
    way = direction(delay=0.1)
    first = way.judge(100, 0, handshake=False)
    way.reconfigure(replace(CLEAN, delay=0.001))
    assert way.judge(100, 0, handshake=False).arrival_ns == first.arrival_ns == 100 * MILLISECOND


def test_rate_spaces_datagrams_by_the_size_of_the_outer_packet():
    """1000 bytes of payload are 1028 on the wire: 8224 microseconds at 1 Mbit/s."""
    arrivals = [fate.arrival_ns for fate in fates(direction(rate=1e6), 3, length=1000)]
    assert arrivals == [MILLISECOND + 8_224_000 * (index + 1) for index in range(3)]


def test_the_queue_of_a_rate_is_bounded_and_empties():
    """The next datagram is dropped; when one has left there is room again."""
    way = direction(rate=1e6, queue_limit=5)
    dropped = [fate.dropped for fate in fates(way, 7, length=972)]  # 1000 bytes: 8 ms each
    assert dropped == [None] * 5 + [DropReason.LINK_QUEUE] * 2
    assert way.judge(972, 8 * MILLISECOND - 1, handshake=False).dropped == DropReason.LINK_QUEUE
    assert way.judge(972, 8 * MILLISECOND, handshake=False).arrival_ns == 49 * MILLISECOND


def test_a_handshake_is_charged_as_a_full_packet():
    """Its signatures vary in length from run to run; the times must not."""
    short, long = direction(rate=1e6), direction(rate=1e6)
    assert short.judge(300, 0, handshake=True) == long.judge(303, 0, handshake=True)
    assert short.judge(300, 0, handshake=True).arrival_ns == 2 * 12 * MILLISECOND + MILLISECOND


@pytest.mark.parametrize(
    ("first_byte", "expected"), [(0x14, True), (0x15, True), (0x16, True), (0x17, False), (0x08, False)]
)
def test_handshakes_are_told_by_their_first_byte(first_byte, expected):
    """Change cipher spec, alert, handshake; neither application data nor VXLAN."""
    assert is_handshake(first_byte) is expected


def test_a_flipped_bit_lies_in_the_datagram():
    """Every byte of it is hit in the long run."""
    bits = {fate.flipped_bit for fate in fates(direction(corrupt=1.0), 10_000, length=3)}
    assert bits == set(range(24))


def test_the_flipped_bit_of_a_handshake_does_not_depend_on_its_length():
    """Which varies from run to run with keys and signatures; nor does it lie in a length field or behind it."""

    def bits(length):
        way = direction(corrupt=1.0)
        return [way.judge(length, 0, handshake=True).flipped_bit for _ in range(2000)]

    assert bits(200) == bits(203) == bits(1400)
    assert {bit // 8 for bit in bits(200)} == {*range(11), 17, 18}
    assert set(bits(1)) == set(range(8))
