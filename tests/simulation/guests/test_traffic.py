"""The executors of traffic items: who sends what, when, and whose answers count."""

from __future__ import annotations

import itertools
from ipaddress import ip_address

import pytest

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.errors import LabFileError
from dtls_emu.nic.card import Card
from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.simulation.simulation import simulate
from dtls_emu.testing.present import present
from dtls_emu.vocabulary import DropReason, FlowEncryption, FragmentShape, Verdict
from dtls_emu.wire.inspect import PacketClass, key_of
from dtls_emu.wire.packet import icmp_echo, tcp_packet, udp_packet
from dtls_emu.wire.parse import is_intact, parse_packet_untrusted, pull_echo_untrusted, pull_udp_untrusted


FIRST = forward_mark(0)
"""The mark of the first item's packets."""


@pytest.fixture
def sent(monkeypatch):
    """What guests hand to their cards: (time, VM, mark, packets)."""
    log = []
    from_guest = Card.from_guest

    def record(card, vm, burst, now):
        log.append((now, vm, burst.mark, [row.tobytes() for row in burst.rows()]))
        return from_guest(card, vm, burst, now)

    monkeypatch.setattr(Card, "from_guest", record)
    return log


def packets_of(sent, mark=FIRST):
    return [packet for _, _, each, packets in sent for packet in packets if each == mark]


def test_ping_sends_at_its_pace_and_matches_replies(make_lab, sent):
    """Requests number from 1; the replies have the reverse mark; every one is a round trip."""
    ping = "name: p, kind: ping, from: a, to: b, count: 3, interval: 10ms, size: 100, start: 5ms"
    (item,) = simulate(make_lab(ping)).items
    times = [(round(time, 9), vm) for time, vm, mark, _ in sent if mark == FIRST]
    assert times == [(0.005, "a"), (0.015, "a"), (0.025, "a")]
    requests = [present(parse_packet_untrusted(packet)) for packet in packets_of(sent)]
    assert [present(pull_echo_untrusted(packet)).sequence for packet in requests] == [1, 2, 3]
    assert all(packet.dont_fragment and len(packet.transport) == 80 for packet in requests)
    assert len(packets_of(sent, reverse_of(FIRST))) == 3
    assert (item.answered, item.reverse.offered, item.reverse.delivered) == (3, 3, 3)


def test_the_first_round_trip_includes_the_tunnels_set_up(make_lab):
    """Three round trips of handshake and its own; afterwards one."""
    (item,) = simulate(make_lab("name: p, kind: ping, from: a, to: b, count: 5", link="delay: 5ms")).items
    trips = item.round_trips
    assert (trips.count, trips.first, trips.minimum, trips.median, trips.maximum) == (
        5,
        0.04,
        0.01,
        0.01,
        0.01,
    )


def test_a_duplicated_reply_is_one_answer(make_lab):
    """In clear every request and every reply arrives twice; four replies to two requests are two answers."""
    ping = "name: p, kind: ping, from: a, to: b, count: 2"
    (item,) = simulate(make_lab(ping, enabled="false", link="duplicate: 100%")).items
    assert (item.offered, item.duplicated, item.delivered, item.answered) == (2, 2, 4, 2)
    assert (item.reverse.offered, item.reverse.delivered) == (4, 8)


@pytest.mark.parametrize(("version", "header"), [(4, 28), (6, 48)])
def test_a_udp_stream_goes_round_its_flows(make_lab, sent, version, header):
    """Ports in turn, whole packets of the stated size, at the rate's pace."""
    stream = f"name: u, kind: udp, from: a, to: b, count: 5, flows: 2, size: 125, rate: 1Mbit/s, ip_version: {version}"
    outcome = simulate(make_lab(stream))
    packets = [present(parse_packet_untrusted(packet)) for packet in packets_of(sent)]
    datagrams = [present(pull_udp_untrusted(packet)) for packet in packets]
    assert [each.source_port for each in datagrams] == [40000, 40001, 40000, 40001, 40000]
    assert {len(each.payload) for each in datagrams} == {125 - header}
    assert [round(time, 9) for time, *_ in sent] == [0.0, 0.001, 0.002, 0.003, 0.004]
    assert outcome["u"].delivered == 5


def test_payloads_depend_on_seed_and_name_only(make_lab, sent):
    """The same in another lab; others with another seed, and for another item."""
    one, other = (
        "name: one, kind: udp, from: a, to: b, count: 1",
        "name: two, kind: udp, from: a, to: b, count: 1",
    )
    for lab in (make_lab(one), make_lab(other, one), make_lab(one, seed=2)):
        simulate(lab)
    first, in_other_lab, again, other_seed = (packets[0] for _, _, _, packets in sent)
    assert again == first
    assert len({first, in_other_lab, other_seed}) == 3


def test_fragments_come_shape_after_shape(make_lab, sent):
    """Every one is a fragment to the card, of either version, and none completes another."""
    shapes = list(FragmentShape)
    item = f"name: f, kind: fragments, from: a, to: b, count: 2, size: 200, shapes: [{', '.join(shapes)}]"
    (outcome,) = simulate(make_lab(item)).items
    fragments = packets_of(sent)
    assert [packet[0] >> 4 for packet in fragments] == [int(shape[1]) for shape in shapes] * 2
    assert {key_of(packet, 0)[0] for packet in fragments} == {PacketClass.FRAGMENT}
    assert (outcome.verdict, outcome.encryption) == (Verdict.DROP, None)
    assert outcome.dropped == {DropReason.FRAGMENT: 14}


def _capture(folder, name, *packets):
    path = folder / name
    path.write_bytes(encode_pcap((index * 0.01, packet) for index, packet in enumerate(packets)))
    return path


def test_both_sides_of_a_capture_are_played(make_lab, sent):
    """Captured echoes are not answered once more; addresses are the VMs', checksums right, times as recorded."""
    client, server = "198.51.100.1", "198.51.100.2"
    _capture(
        make_lab.folder,
        "echo.pcap",
        icmp_echo(client, server, 1, 1),
        icmp_echo(server, client, 1, 1, reply=True),
        tcp_packet(client, server, 1, 80, flags=2),
    )
    (item,) = simulate(make_lab("name: c, kind: pcap, from: a, to: b, file: echo.pcap")).items
    assert [(round(time, 9), vm) for time, vm, *_ in sent] == [(0.0, "a"), (0.01, "b"), (0.02, "a")]
    parsed = [present(parse_packet_untrusted(packet)) for packet in packets_of(sent)]
    assert {frozenset((each.source, each.destination)) for each in parsed} == {
        frozenset((ip_address("10.0.0.4"), ip_address("10.0.0.5")))
    }
    assert all(is_intact(each) for each in parsed)
    assert (item.offered, item.delivered, item.reverse.offered) == (3, 3, 0)


def test_a_capture_as_it_is_goes_where_it_says(make_lab):
    """A packet of its own is encrypted and answered; one with a foreign source address is a spoof, and malformed
    ones are no flow at all. None of these two has a verdict.
    """
    echo = icmp_echo("10.0.0.4", "10.0.0.5", 1, 1)
    spoofed = udp_packet("10.0.0.99", "10.0.0.5", 1, 2)
    lying = echo[:2] + (len(echo) + 40).to_bytes(2) + echo[4:]
    _capture(make_lab.folder, "raw.pcap", echo, spoofed, lying)
    (item,) = simulate(make_lab("name: c, kind: pcap, from: a, file: raw.pcap, rewrite: none")).items
    assert (item.offered, item.delivered, item.reverse.delivered) == (3, 1, 1)
    assert item.dropped == {DropReason.SPOOFED_SOURCE: 1, DropReason.MALFORMED: 1}
    assert (item.verdict, item.encryption) == (Verdict.ENCRYPT, FlowEncryption.X)


def test_an_item_with_several_verdicts_has_none_of_them(make_lab):
    """Both are shown instead."""
    _capture(
        make_lab.folder,
        "mixed.pcap",
        udp_packet("10.0.0.4", "10.0.0.5", 1, 2),
        udp_packet("10.0.0.4", "203.0.113.7", 1, 2),
    )
    (item,) = simulate(make_lab("name: c, kind: pcap, from: a, file: mixed.pcap, rewrite: none")).items
    assert (item.verdict, item.encryption) == (None, None)
    assert (item.verdicts, item.encryptions) == ("encrypt 1, clear 1", "X 1, NX 1")


def test_a_capture_that_is_gone_is_the_users_error(make_lab):
    """Between validation and the run."""
    path = _capture(make_lab.folder, "gone.pcap", icmp_echo("10.0.0.4", "10.0.0.5", 1, 1))
    lab = make_lab("name: gone, kind: pcap, from: a, to: b, file: gone.pcap")
    path.unlink()
    with pytest.raises(LabFileError, match=r"cannot read .*gone\.pcap"):
        simulate(lab)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("to", ["b", "c"])
def test_bulk_delivers_every_byte(make_lab, sent, to, version):
    """To another host and on the same one; the sender's bursts are rows of full segments."""
    bulk = f"name: t, kind: bulk, from: a, to: {to}, bytes: 300kB, ip_version: {version}"
    (item,) = simulate(make_lab(bulk, link="delay: 1ms")).items
    assert (item.payload_bytes, item.note, item.dropped) == (300_000, "", {})
    assert max(len(packets) for _, _, mark, packets in sent if mark == FIRST) > 30
    assert {len(packet) for packet in packets_of(sent)} >= {1500}
    assert item.round_trips.count > 2


def test_bulk_with_a_segment_size_of_its_own(make_lab, sent):
    """`mss` is the most payload of a segment."""
    simulate(make_lab("name: t, kind: bulk, from: a, to: b, bytes: 50kB, mss: 500"))
    assert max(map(len, packets_of(sent))) == 540


def test_bulk_to_nobody_gives_up(make_lab):
    """No host answers; the note says so."""
    (item,) = simulate(make_lab("name: t, kind: bulk, from: a, to: 10.0.0.77, bytes: 50kB")).items
    assert (item.payload_bytes, item.delivered, item.note) == (0, 0, "no answer after 8 retransmissions")
    assert item.dropped == {DropReason.NO_ROUTE: 9}


def test_the_internet_answers_pings_and_takes_everything_else(make_lab):
    """20 ms there and back; a transfer to it works, too."""
    outcome = simulate(
        make_lab(
            "name: ping, kind: ping, from: a, to: 203.0.113.7, count: 2",
            "name: v6, kind: ping, from: a, to: '2001:db8::7', count: 1",
            "name: udp, kind: udp, from: a, to: 203.0.113.7, count: 3",
            "name: bulk, kind: bulk, from: a, to: 203.0.113.7, bytes: 100kB",
        )
    )
    assert {(item.verdict, item.encryption) for item in outcome.items} == {(Verdict.CLEAR, FlowEncryption.NX)}
    assert [outcome[name].answered for name in ("ping", "v6")] == [2, 1]
    assert outcome["ping"].round_trips.median == 0.02
    assert outcome["udp"].delivered == 3
    assert outcome["bulk"].payload_bytes == 100_000


def test_items_run_side_by_side_from_their_start(make_lab, sent):
    """The second begins while the first runs; time never goes back."""
    simulate(
        make_lab(
            "name: one, kind: udp, from: a, to: b, count: 3, interval: 10ms",
            "name: two, kind: udp, from: b, to: a, count: 2, interval: 10ms, start: 5ms",
        )
    )
    order = [(round(time, 9), mark) for time, _, mark, _ in sent]
    one, two = FIRST, forward_mark(1)
    assert order == [(0.0, one), (0.005, two), (0.01, one), (0.015, two), (0.02, one)]


def test_items_are_stopped_at_the_deadline(make_lab):
    """What was not sent is said, what was sent is accounted for, and a later item never begins."""
    outcome = simulate(
        make_lab(
            "name: ping, kind: ping, from: a, to: b, count: 100",
            "name: bulk, kind: bulk, from: a, to: 10.0.0.77, bytes: 1kB",
            "name: late, kind: udp, from: a, to: b, start: 1h",
            "name: later, kind: bulk, from: a, to: b, bytes: 1kB, start: 1h, source_port: 1",
        ),
        deadline=4.5,
    )
    assert [item.note for item in outcome.items] == [
        "stopped after 4.5s: 5 of 100 packets were sent",
        "stopped after 4.5s: 0 of 1,000 bytes were acknowledged",
        "stopped after 4.5s: 0 of 100 packets were sent",
        "stopped after 4.5s: 0 of 1,000 bytes were acknowledged",
    ]
    assert [item.offered for item in outcome.items] == [5, 3, 0, 0]


def test_marks_are_unique_and_come_in_pairs():
    """No mark is nobody's, and no item's reverse is another's forward."""
    marks = list(itertools.chain(*((forward_mark(i), reverse_of(forward_mark(i))) for i in range(100))))
    assert len(set(marks)) == 200
    assert 0 not in marks
    assert reverse_of(0) == 0
