"""The text of a trace: what is in it, and what is left out because it changes from run to run."""

from __future__ import annotations

from collections import Counter

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.capture.traces import WireCapture, WireTrace
from dtls_emu.events import Damaged, Duplicated, Lost, Marked, PortOpened, Reordered, Sent, fan_out
from dtls_emu.lab.pcap import parse_pcap
from dtls_emu.nic.card import Card
from dtls_emu.simulation import simulate
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.parse import is_intact, parse_packet_untrusted
from dtls_emu.wire.record import push_record_header


HERE, THERE = ("192.0.2.1", 49152), ("192.0.2.2", 4433)
ENDS = "192.0.2.1 49152 > 192.0.2.2 4433"
PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 50"


def sent(payload, *, number=1, time=0.001, source=HERE, arrival=50_000):
    return Sent(time, "h1", 0, 0, number, source, THERE, len(payload), 0, arrival, payload)


def lines(*payloads, fate=()):
    trace = WireTrace()
    for number, payload in enumerate(payloads, 1):
        trace(sent(payload, number=number))
        for kind, *words in fate:
            trace(kind(0.001, "h1", 0, 0, number, *words))
    assert str(trace) == "\n".join(trace.lines)
    return trace.lines


def record(number, content, epoch=1):
    return push_record_header(0x17, epoch, number, len(content)) + content


def test_a_record_has_number_and_length_but_no_content():
    """Two runs differ in nonce and ciphertext only; numbers count from the first."""
    one = lines(record(1, b"nonce 1 and ciphertext"), record(2, b"and more"))
    other = lines(record(5, b"nonce 2 and something!"), record(6, b"and else"))
    assert one == other
    assert one == [
        f"0.001000000 {ENDS}: record epoch 1 number 0 length 22, arrives 50000 ns",
        f"0.001000000 {ENDS}: record epoch 1 number 1 length 8, arrives 50000 ns",
    ]


def test_each_pair_of_ends_counts_for_itself():
    """A rekeyed association has another port, and begins anew."""
    trace = WireTrace()
    for source, number in ((HERE, 4), (("192.0.2.1", 49153), 1), (HERE, 5)):
        trace(sent(record(number, b""), source=source))
    assert [line.split("number ")[1][0] for line in trace.lines] == ["0", "0", "1"]


def test_of_a_handshake_there_is_only_that_it_was():
    """Neither length nor which bit was flipped, which depends on the length."""
    assert (
        lines(b"\x16 one", b"\x16 a longer one", fate=[(Damaged, 77)])
        == [f"0.001000000 {ENDS}: handshake, arrives 50000 ns, corrupted"] * 2
    )


def test_what_is_in_clear_is_there_by_its_hash():
    """A changed byte is a changed line."""
    one, same, other = lines(b"\x08 clear", b"\x08 clear", b"\x08 cleaR")
    assert one == same != other
    assert "clear length 7 sha256 " in one


def test_a_fate_is_told():
    """Dropped and why, or when it arrives and what happens on the way."""
    assert lines(b"\x08", fate=[(Lost, DropReason.LOST)])[0].endswith(", dropped lost")
    everything = [(Reordered,), (Duplicated,), (Marked,), (Damaged, 3)]
    assert lines(b"\x08", fate=everything)[0].endswith(
        ", arrives 50000 ns, overtaken, twice, marked, bit 3 flipped"
    )


def test_what_happens_on_other_links_meanwhile_is_no_part_of_a_fate():
    """Events are told apart by the number of the datagram."""
    trace = WireTrace()
    trace(sent(b"\x08", number=4))
    trace(Lost(0.001, "h2", 0, 0, 0, DropReason.NO_LINK, 3))
    trace(PortOpened(0.001, "h1", 49152))
    assert trace.lines[0].endswith(", arrives 50000 ns")


def test_junk_is_clear():
    """A datagram that begins like a record and is none."""
    assert "clear length 3 " in lines(b"\x17\xfe\xfd")[0]


def test_a_capture_has_what_links_make_of_datagrams_and_what_leaves_for_the_internet(make_lab, monkeypatch):
    """Everything that a card receives is in it, copies and damaged ones as they came; the rest was lost or dropped."""
    received = Counter()
    from_fabric = Card.from_fabric

    def listen(card, burst, *args):
        received.update(row.tobytes() for row in burst.rows())
        return from_fabric(card, burst, *args)

    monkeypatch.setattr(Card, "from_fabric", listen)
    capture = WireCapture()
    link = "loss: 10%, duplicate: 10%, corrupt: 10%, reorder: 10%"
    items = (PING, STREAM, "name: far, kind: ping, from: a, to: 203.0.113.7, count: 3")
    outcome = simulate(make_lab(*items, link=link), observer=capture)
    packets = [parse_packet_untrusted(packet.data) for packet in parse_pcap(capture.encode())]
    outside = [each for each in packets if str(each.source) in {"10.0.0.4", "203.0.113.7"}]
    assert len(outside) == 6
    inside = [each for each in packets if each not in outside]
    captured = Counter(bytes(each.transport[8:]) for each in inside)
    fabric = outcome.fabric
    assert (captured - received).total() == sum(fabric.dropped.values())
    assert received - captured == Counter()
    assert captured.total() == fabric.offered + fabric.duplicated
    damaged = Counter(bytes(each.transport[8:]) for each in inside if not is_intact(each))
    assert len(damaged) == fabric.corrupted > 5
    assert fabric.duplicated > 5


def test_the_fabric_can_be_kept_as_a_capture(make_lab):
    """Outer IP packets that a sniffer of a host would see, with the times of the virtual clock."""
    capture, datagrams = WireCapture(), Datagrams()
    simulate(make_lab(PING), observer=fan_out([capture, datagrams]))
    packets = [parse_packet_untrusted(packet.data) for packet in parse_pcap(capture.encode())]
    assert [bytes(packet.transport[8:]) for packet in packets] == datagrams.payloads
    assert {str(packet.source) for packet in packets} == {"192.0.2.1", "192.0.2.2"}
