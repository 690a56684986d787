"""The simulated network: what arrives where and when, and that every datagram is accounted for."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.errors import LocalProtocolError
from dtls_emu.events import Damaged, Duplicated, Lost, Marked, Reordered, Sent, observer_of, tagged
from dtls_emu.lab.topology import Link
from dtls_emu.nic.effects import Transmit
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.burst import Burst


DATA = b"\x17"
MILLISECOND = 1_000_000
probability = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0])


def packets(count, size=100, start=0):
    return [DATA + (start + index).to_bytes(4, "big") + bytes(size - 5) for index in range(count)]


def test_a_burst_arrives_whole_after_the_delay(make_net):
    """One call of the receiver, with the sender's address and port, the local port and the mark."""
    net = make_net()
    net.send(*packets(5), DATA + b"short", mark=9)
    assert net.clock.run() == 1
    assert net.arrivals == [(MILLISECOND, (net.source, 4433), 4433, [*packets(5), DATA + b"short"], 9)]


@pytest.mark.parametrize(
    "settings", [{}, {"loss": 1e-12}, {"duplicate": 1.0}, {"reorder": 1.0}, {"rate": 1e9}]
)
@pytest.mark.parametrize("tos", [0, 0xBA])
def test_a_type_of_service_travels_with_its_datagrams(make_net, settings, tos):
    """However they are carried; it is shown to taps."""
    net = make_net(**settings)
    datagrams = Datagrams()
    net.fabric.tap(datagrams)
    burst = Burst.from_packets(packets(5))
    burst.tos = tos
    net.fabric.transmit(net.source, Transmit(burst, 4433, (net.destination, 4433)))
    net.clock.run()
    assert [each.sent.tos for each in datagrams.seen] == [tos] * 5
    assert set(net.services) == {tos}
    assert net.fabric.statistics().marked == 0


def test_datagrams_that_are_marked_arrive_apart_from_others(make_net):
    """As GRO merges only what has one type of service; nothing overtakes anything."""
    net = make_net(ecn_mark=0.5)
    for start in range(0, 320, 64):
        burst = Burst.from_packets(packets(64, start=start))
        burst.tos = 0xB8 | 2
        net.fabric.transmit(net.source, Transmit(burst, 4433, (net.destination, 4433)))
    net.send(*packets(64, start=320))
    net.clock.run()
    assert net.received == packets(384)
    sizes = [(tos, len(rows)) for tos, (_, _, _, rows, _) in zip(net.services, net.arrivals, strict=True)]
    assert {tos for tos, _ in sizes} == {0, 0xBA, 0xBB}
    assert sizes[-1] == (0, 64)
    marked = sum(count for tos, count in sizes if tos == 0xBB)
    books = net.fabric.link_statistics("a", "b")
    assert books.marked == marked
    assert 100 < marked < 220
    assert books.balanced


@pytest.mark.parametrize("settings", [{}, {"duplicate": 1.0}, {"duplicate": 1.0, "reorder": 1.0}])
def test_the_senders_buffer_may_be_used_again_at_once(make_net, settings):
    """The fabric copies; what a receiver then does to the bytes is seen by nobody else, a duplicate included."""
    net = make_net(merge=False, **settings)
    burst = Burst.from_packets([DATA + b"before"])
    net.fabric.transmit(net.source, Transmit(burst, 4433, (net.destination, 4433)))
    burst.buffer[:] = 0
    net.clock.run()
    assert net.received == [DATA + b"before"] * (1 + len(net.duplicates))


def test_merging_can_be_switched_off(make_net):
    """Then each datagram is a call of its own, in order."""
    net = make_net(merge=False)
    net.send(*packets(3))
    net.clock.run()
    assert [arrival[3] for arrival in net.arrivals] == [[packet] for packet in packets(3)]


@pytest.mark.parametrize("corrupt", [0.0, 1e-12])
def test_handshake_datagrams_are_never_merged(make_net, corrupt):
    """Their sizes vary from run to run, so whether two are alike must not show in the trace."""
    net = make_net(corrupt=corrupt)
    net.send(b"\x16one", b"\x16two")
    net.clock.run()
    assert [arrival[3] for arrival in net.arrivals] == [[b"\x16one"], [b"\x16two"]]


def test_rows_that_arrive_together_stay_a_burst_around_a_loss(make_net):
    """What a link with chances carries is merged again, up to 64 rows, order kept."""
    net = make_net(loss=0.2, seed=3)
    sent = packets(60)
    net.send(*sent)
    net.clock.run()
    assert len(net.arrivals) == 1
    assert net.received == [packet for packet in sent if packet in net.received]
    assert len(net.received) + len(net.drops) == 60


def test_bursts_are_handed_in_within_the_limits_of_a_receive(make_net):
    """At most 64 rows and 65,507 bytes, as UDP_GRO would."""
    net = make_net(mtu=9000)
    net.send(*packets(65))
    net.send(*packets(10, size=8000))
    net.clock.run()
    assert [len(arrival[3]) for arrival in net.arrivals] == [64, 1, 8, 2]


def test_a_datagram_above_the_mtu_is_dropped_and_the_shorter_last_one_is_not(make_net):
    """Each datagram is judged by itself, by the size of its outer packet."""
    net = make_net()
    net.send(bytes(1473), bytes(1473), bytes(1472), mark=4)
    net.clock.run()
    assert net.received == [bytes(1472)]
    assert net.drops == [(DropReason.LINK_MTU, 1, 4)] * 2


def test_an_ipv6_underlay_pays_for_its_larger_header(make_net):
    """1500 - 40 - 8 bytes fit."""
    net = make_net(addresses=("2001:db8::1", "2001:db8::2", "2001:db8::3"))
    net.send(bytes(1453), bytes(1452))
    net.clock.run()
    assert net.received == [bytes(1452)]


def test_nobody_at_that_address_is_no_link(make_net):
    """An address outside the topology, and a host that went down while datagrams were under way."""
    net = make_net()
    net.send(*packets(2), destination="198.51.100.1", mark=5)
    net.send(*packets(3), mark=6)
    net.fabric.detach(net.destination)
    net.clock.run()
    assert net.drops == [(DropReason.NO_LINK, 2, 5), (DropReason.NO_LINK, 3, 6)]
    assert net.arrivals == []
    assert net.fabric.statistics().balanced


def test_a_gateway_outside_the_topology_can_be_connected(make_net):
    """By its address, with a link of its own; hosts are linked already."""
    net = make_net()
    link = replace(net.topology.link("a", "b"), destination="internet", delay=0.5)
    net.fabric.connect(net.source, "198.51.100.1", link)
    net.fabric.attach("198.51.100.1", net._receive)
    net.send(*packets(1), destination="198.51.100.1")
    net.clock.run()
    assert net.arrivals[0][0] == 500 * MILLISECOND
    assert net.fabric.link_statistics("a", "internet").delivered == 1
    with pytest.raises(LocalProtocolError, match="linked already"):
        net.fabric.connect(net.source, net.destination, link)


def test_a_reordered_datagram_is_overtaken_by_the_next(make_net):
    """With certainty of reordering, neighbours change places: one steps aside at a time."""
    net = make_net(reorder=1.0)
    for packet in packets(4):
        net.send(packet)
    net.clock.run()
    one, two, three, four = packets(4)
    assert net.received == [two, one, four, three]
    assert net.fabric.statistics().reordered == 2


def test_rows_of_one_burst_are_reordered_too(make_net):
    """The rows are datagrams of their own."""
    net = make_net(reorder=1.0)
    net.send(*packets(4))
    net.clock.run()
    one, two, three, four = packets(4)
    assert net.received == [two, one, four, three]


def test_a_burst_on_a_link_that_has_become_clean_still_overtakes(make_net):
    """The datagram that had stepped aside is let go behind the first one that passes."""
    net = make_net(reorder=1.0)
    one, two, three = packets(3)
    net.send(one)
    net.fabric.reconfigure(replace(net.topology.link("a", "b"), reorder=0.0))
    net.send(two, three)
    net.clock.run()
    assert net.received == [two, one, three]


def test_a_reordered_datagram_that_nothing_follows_arrives_after_the_hold(make_net):
    """10 ms behind its time, and a later one does not pass it any more."""
    net = make_net(reorder=1.0)
    net.send(*packets(1))
    net.clock.run()
    assert [arrival[0] for arrival in net.arrivals] == [11 * MILLISECOND]
    assert net.fabric.statistics().in_flight == 0


def test_a_follower_that_comes_after_the_hold_does_not_release_it(make_net):
    """The delay went up meanwhile; the held one arrives when its hold is over."""
    net = make_net(reorder=1.0)
    net.send(packets(2)[0])
    net.fabric.reconfigure(replace(net.topology.link("a", "b"), delay=1.0))
    net.send(packets(2)[1])
    net.clock.run()
    assert [(arrival[0] // MILLISECOND, arrival[3]) for arrival in net.arrivals] == [
        (11, [packets(2)[0]]),
        (1000, [packets(2)[1]]),
    ]


def test_a_duplicate_arrives_right_behind_its_original(make_net):
    """Counted and told with its mark."""
    net = make_net(duplicate=1.0)
    net.send(*packets(2), mark=7)
    net.clock.run()
    one, two = packets(2)
    assert net.received == [one, one, two, two]
    assert net.duplicates == [(1, 7), (1, 7)]
    assert net.fabric.statistics().duplicated == 2


def test_corruption_flips_one_bit_and_delivers(make_net):
    """Exactly one bit of each datagram differs, at the same place for the same seed."""
    net, again = make_net(corrupt=1.0), make_net(corrupt=1.0)
    for each in (net, again):
        each.send(*packets(10))
        each.clock.run()
    for before, after in zip(packets(10), net.received, strict=True):
        assert (int.from_bytes(before) ^ int.from_bytes(after)).bit_count() == 1
    assert net.received == again.received
    assert net.fabric.statistics().corrupted == 10


def test_a_full_queue_drops_and_says_whose(make_net):
    """Three wait, two do not fit."""
    net = make_net(rate=1e6, link_queue=3)
    net.send(*packets(5), mark=8)
    net.clock.run()
    assert net.received == packets(3)
    assert net.drops == [(DropReason.LINK_QUEUE, 1, 8)] * 2


@pytest.mark.parametrize(
    "settings",
    [
        {"delay": 660.0},
        {"rate": 9600.0},
        {"delay": 0.01, "jitter": 0.01},
        {"reorder": 1.0},
        {"duplicate": 1.0},
    ],
    ids=str,
)
def test_it_knows_when_everything_under_way_has_arrived(make_net, settings):
    """Whatever makes it slow: not a moment before, and nothing is left then."""
    net = make_net(**settings)
    assert net.fabric.settled_at() == 0
    net.send(*packets(20))
    settled_at = net.fabric.settled_at()
    net.clock.run()
    assert net.clock.now == settled_at
    assert set(net.received) == set(packets(20))


def test_settings_can_change_at_run_time_and_only_that_direction(make_net):
    """What is under way still arrives; the way back is as it was."""
    net = make_net()
    net.send(*packets(1))
    net.fabric.reconfigure(replace(net.topology.link("a", "b"), loss=1.0))
    net.send(*packets(2))
    net.clock.run()
    assert len(net.received) == 1
    assert net.fabric.link_statistics("a", "b").dropped == {DropReason.LOST: 2}
    assert net.fabric.link_statistics("b", "a").offered == 0
    with pytest.raises(LocalProtocolError, match="no link from a to nobody"):
        net.fabric.reconfigure(replace(net.topology.link("a", "b"), destination="nobody"))


def test_an_observer_is_told_of_every_datagram_as_it_was_sent(make_net):
    """Carried, corrupted and dropped ones, with time, host, ends, mark and fate; not after it has ended."""
    net = make_net(corrupt=1.0)
    datagrams = Datagrams()
    untap = net.fabric.tap(datagrams)
    net.clock.run_until(2.0)
    net.send(DATA + b"one", DATA + b"two", mark=tagged(3, 11))
    net.send(bytes(1473))
    net.send(DATA, destination="198.51.100.1")
    untap()
    net.send(DATA + b"unseen")
    sent = [each.sent for each in datagrams.seen]
    assert [(each.time, each.host, each.mark, each.packet, each.payload) for each in sent] == [
        (2.0, "a", 3, 11, DATA + b"one"),
        (2.0, "a", 3, 11, DATA + b"two"),
        (2.0, "a", 0, 0, bytes(1473)),
        (2.0, "a", 0, 0, DATA),
    ]
    assert [each.datagram for each in sent] == [1, 2, 3, 4]
    fates = [None, None, DropReason.LINK_MTU, DropReason.NO_LINK]
    assert [each.fate.lost for each in datagrams.seen] == fates
    assert [each.arrival >= 0 for each in sent] == [lost is None for lost in fates]
    assert sent[0].source == (net.source, 4433)
    assert sent[3].destination == ("198.51.100.1", 4433)
    assert [each.fate.damaged >= 0 for each in datagrams.seen] == [True, True, False, False]


def test_an_observer_is_told_of_a_burst_that_travels_whole(make_net):
    """The shortcut for clean links reports each row."""
    net = make_net()
    datagrams = Datagrams()
    net.fabric.tap(datagrams)
    net.send(*packets(3))
    assert datagrams.payloads == packets(3)
    assert {each.sent.arrival for each in datagrams.seen} == {MILLISECOND}


def test_bytes_are_copied_only_for_an_observer_that_wants_them(make_net):
    """The others are told lengths, also beside one that wants bytes."""
    net = make_net()
    without, having = Datagrams(wants_bytes=False), Datagrams()
    net.fabric.tap(without)
    net.send(DATA)
    net.fabric.tap(having)
    net.send(DATA)
    assert [(each.sent.length, each.payload) for each in without.seen] == [
        (len(DATA), b""),
        (len(DATA), b""),
    ]
    assert having.payloads == [DATA]


def test_the_events_of_a_link_add_up_to_its_counters(make_net):
    """For each mark: sent + duplicated = what arrived + lost, also what is lost because its host has gone."""
    net = make_net(loss=0.2, duplicate=0.2, corrupt=0.2, reorder=0.2, ecn_mark=0.3)
    kinds: Counter[Any] = Counter()
    net.fabric.tap(observer_of(lambda event: kinds.update({type(event): getattr(event, "count", 1)})))
    for index in range(100):
        burst = Burst.from_packets(packets(1 + index % 3), mark=index)
        burst.tos = 2
        net.fabric.transmit(net.source, Transmit(burst, 4433, (net.destination, 4433)))
        if index == 80:
            net.clock.run()
            net.fabric.detach(net.destination)
    net.clock.run()
    totals = net.fabric.statistics()
    assert totals.in_flight == 0
    assert kinds[Sent] == totals.offered
    assert kinds[Duplicated] == totals.duplicated > 10
    assert kinds[Damaged] == totals.corrupted > 10
    assert kinds[Marked] == totals.marked > 10
    assert kinds[Lost] == sum(totals.dropped.values())
    assert totals.dropped[DropReason.NO_LINK] > 10
    assert kinds[Reordered] >= totals.reordered > 3


def test_another_link_does_not_change_this_one(make_net):
    """Traffic from a to c draws from a generator of its own."""
    alone, busy = make_net(loss=0.5), make_net(loss=0.5)
    lossy = Link("a", "c", mtu=1500, delay=0, jitter=0, loss=0.5, reorder=0, duplicate=0, corrupt=0, rate=0)
    busy.fabric.reconfigure(lossy)
    for packet in packets(100):
        alone.send(packet)
        busy.send(packet)
        busy.send(packet, destination="192.0.2.3")
    alone.clock.run()
    busy.clock.run()
    assert 20 < len(alone.received) < 80
    lost_alone = alone.fabric.link_statistics("a", "b").dropped
    assert busy.fabric.link_statistics("a", "b").dropped == lost_alone
    assert busy.fabric.link_statistics("a", "c").dropped != lost_alone


def digest(net, seconds=0.001, count=300):
    """Send a mix and fold everything that was seen into one number."""
    trace = hashlib.sha256()
    net.fabric.tap(observer_of(lambda event: trace.update(repr(event).encode()), wants_bytes=True))
    for index in range(count):
        net.clock.run_until(index * seconds)
        net.send(*packets(1 + index % 5, size=100 + index), mark=index)
    net.clock.run()
    trace.update(repr((net.arrivals, net.drops, net.duplicates)).encode())
    return trace.hexdigest()


def test_same_seed_same_trace(make_net):
    """Byte for byte, with everything on at once; another seed gives another."""
    settings = {"loss": 0.1, "reorder": 0.1, "duplicate": 0.1, "corrupt": 0.1, "jitter": 0.0005, "rate": 5e6}
    first = digest(make_net(seed=11, **settings))
    assert digest(make_net(seed=11, **settings)) == first
    assert digest(make_net(seed=12, **settings)) != first


@given(
    seed=st.integers(0, 2**32),
    settings=st.fixed_dictionaries(
        {
            "loss": probability,
            "reorder": probability,
            "duplicate": probability,
            "corrupt": probability,
            "jitter": st.sampled_from([0.0, 0.01]),
            "rate": st.sampled_from([0.0, 1e5]),
            "mtu": st.sampled_from([300, 1500]),
        }
    ),
    merge=st.booleans(),
    sends=st.lists(
        st.tuples(
            st.integers(1, 70), st.integers(5, 400), st.sampled_from([0.0, 0.001, 0.02]), st.booleans()
        ),
        max_size=12,
    ),
)
def test_every_datagram_is_accounted_for(make_net, seed, settings, merge, sends):
    """The books balance at every event, and agree with what the observers and the receiver saw."""
    net = make_net(seed=seed, merge=merge, link_queue=20, **settings)
    offered = 0
    for count, size, gap, known in sends:
        net.send(*packets(count, size, offered), destination=None if known else "198.51.100.1")
        offered += count
        net.clock.run_until(net.clock.now + gap)
        assert net.fabric.statistics().balanced
    while net.clock.run_next():
        assert net.fabric.statistics().balanced
    books = net.fabric.statistics()
    assert (books.offered, books.in_flight) == (offered, 0)
    assert books.delivered == len(net.received)
    assert books.duplicated == sum(count for count, _ in net.duplicates)
    assert sum(books.dropped.values()) == sum(count for _, count, _ in net.drops)
    assert books.offered + books.duplicated == books.delivered + sum(books.dropped.values())
    assert all(len(rows) <= (64 if merge else 1) for _, _, _, rows, _ in net.arrivals)
    if not settings["reorder"] and not settings["corrupt"]:
        numbers = [packet[1:5] for packet in net.received]
        assert numbers == sorted(numbers)
