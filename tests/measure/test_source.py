"""Where packets come from: in turn, for a time, and on a schedule with a queue."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from dtls_emu.measure.packets import Ends, check_rows, read_tags, udp_bursts
from dtls_emu.measure.source import ForTime, Load, OnSchedule, Turns, WholeTurns, make_source
from dtls_emu.simulation.accounts import AccountingError
from dtls_emu.wire.checksum import internet_checksum


ENDS = Ends(ip_address("10.0.0.4"), ip_address("10.0.0.5"))
BURSTS = udp_bursts(ENDS, 128, rows=2, flows=2)


class Clock:
    """Stands still but for what is slept and what reading it costs."""

    def __init__(self, read_ns=10):
        self.now = 1_000_000_000
        self.read_ns = read_ns

    def read(self):
        self.now += self.read_ns
        return self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9)


def on_schedule(clock, seconds=0.01, rate=2_000, queue=500):
    """Bursts of two: one a millisecond."""
    return OnSchedule(BURSTS, seconds, rate, queue, clock.read, clock.sleep)


def test_turns_end_after_so_many():
    """The given bursts in turn."""
    source = Turns(BURSTS, 3)
    assert [source.next(), source.next(), source.next(), source.next()] == [*BURSTS, BURSTS[0], None]
    assert source.offered == 6


def test_a_closed_loop_lasts_its_time():
    """And has at least one burst, whatever a read of the clock costs."""
    clock = Clock(read_ns=1000)
    source = ForTime(BURSTS, 10e-6, clock.read)
    list(iter(source.next, None))
    assert source.offered == 2 * 10
    assert ForTime(BURSTS, 0.0, clock.read).next() is BURSTS[0]


def test_whole_turns_are_whole():
    """Whatever the time, each burst is offered as often as the others."""
    clock = Clock(read_ns=1000)
    source = WholeTurns(BURSTS, 5e-6, clock.read)
    list(iter(source.next, None))
    assert source.offered == source.turns * 4
    assert source.turns > 1


def test_packets_on_a_schedule_have_the_time_at_which_they_were_due():
    """A millisecond apart, none early, none refused."""
    clock = Clock()
    source = on_schedule(clock)
    begun = clock.now
    due = []
    while (burst := source.next()) is not None:
        times = read_tags(burst)
        assert set(times) == {times[0]}
        assert clock.now >= times[0]
        due.append(int(times[0]) - begun)
    assert due == [number * 1_000_000 for number in range(10)]
    assert (source.offered, source.refused) == (20, 0)


def test_what_is_late_is_sent_at_once_and_its_delay_is_from_when_it_was_due():
    """No coordinated omission: what stood still delays all that was due meanwhile."""
    clock = Clock()
    source = on_schedule(clock)
    begun = clock.now
    source.next()
    clock.now += 5_500_000
    burst = source.next()
    assert read_tags(burst)[0] - begun == 1_000_000
    for number in range(2, 6):
        assert read_tags(source.next())[0] - begun == number * 1_000_000
        assert clock.now - begun < 6_000_000


def test_a_full_queue_refuses_the_last_comers_and_counts_them():
    """Two bursts wait; the rest of what was due meanwhile never gets to the card."""
    clock = Clock()
    source = on_schedule(clock, queue=4)
    begun = clock.now
    source.next()
    clock.now += 6_500_000
    taken = []
    while (burst := source.next()) is not None:
        taken.append(int(read_tags(burst)[0]) - begun)
    assert taken == [1_000_000, 2_000_000, 7_000_000, 8_000_000, 9_000_000]
    assert (source.offered, source.refused) == (20, 8)


def test_a_time_in_a_packet_leaves_its_checksum_right():
    """The time and its complement add up to nothing."""
    source = on_schedule(Clock())
    burst = source.next()
    packet = bytes(burst.row(0))
    assert internet_checksum(packet[:20]) == 0
    pseudo = packet[12:20] + b"\x00\x11" + packet[24:26]
    assert internet_checksum(pseudo + packet[20:]) == 0


def test_an_altered_time_is_found():
    """One bit of it."""
    burst = on_schedule(Clock()).next()
    burst.row(1)[30] ^= 1
    with pytest.raises(AccountingError, match="alters packets"):
        read_tags(burst)


def test_packets_of_several_flows_are_compared_with_their_own():
    """And a burst of one flow that pretends to be of another is not taken."""
    flows = udp_bursts(ENDS, 128, rows=2, flows=2)
    for burst in flows:
        check_rows(burst, flows)
    with pytest.raises(AccountingError):
        check_rows(flows[0], flows[::-1])


@pytest.mark.parametrize(("rate", "kind"), [(None, ForTime), (1000.0, OnSchedule)])
def test_a_load_says_which(rate, kind):
    """A rate makes an open loop."""
    assert isinstance(make_source(Load("plain", 128, 0.01, rate=rate), BURSTS), kind)
