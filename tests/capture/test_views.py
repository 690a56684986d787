"""A run's capture: each packet where it was seen, why some go no further, and the secrets before what they open."""

from __future__ import annotations

from collections import Counter

import pytest

from dtls_emu.capture.pcapng import INBOUND, OUTBOUND, parse_pcapng
from dtls_emu.capture.trace_file import Trace
from dtls_emu.capture.views import CaptureError, CaptureStream, capture_trace
from dtls_emu.events import (
    Damaged,
    Delivered,
    Duplicated,
    KeysRequested,
    Lost,
    Offered,
    Opened,
    Received,
    Refused,
    Sent,
)
from dtls_emu.vocabulary import DropReason
from dtls_emu.wire.parse import is_intact, parse_packet_untrusted
from dtls_emu.wire.record import push_record_header


PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 60, size: 200, interval: 1ms"
FAR = "name: far, kind: ping, from: a, to: 203.0.113.7, count: 3"
BAD_LINK = "loss: 10%, duplicate: 10%, corrupt: 10%, reorder: 10%"


@pytest.fixture(scope="module")
def bad_link(run, make_lab):
    """A run over a link that does everything that links do; and its capture."""
    trace, secrets = run(make_lab(PING, STREAM, FAR, link=BAD_LINK, seed=3))
    return trace, parse_pcapng(capture_trace(trace, secrets).content)


def of(trace, kind):
    return [event for event in trace.events if isinstance(event, kind)]


def seen(capture, name, direction):
    return [each for each in capture.packets if each.interface.name == name and each.direction == direction]


def parsed(packet):
    found = parse_packet_untrusted(packet.data)
    assert found is not None
    return found


def payload(packet):
    return bytes(parsed(packet).transport[8:])


def test_each_end_of_a_link_has_what_it_sent_and_what_came_in(bad_link):
    """At their times, as they were then: lost ones at one end only, copies twice at the other, damaged ones damaged."""
    trace, capture = bad_link
    for host, peer in (("h1", "h2"), ("h2", "h1")):
        sent = [event for event in of(trace, Sent) if event.host == host]
        assert [(each.time_ns, payload(each)) for each in seen(capture, f"{host}:{peer}", OUTBOUND)] == [
            (round(event.time * 1e9), event.payload) for event in sent
        ]
        received = [event for event in of(trace, Received) if event.host == host]
        assert [(each.time_ns, payload(each)) for each in seen(capture, f"{host}:{peer}", INBOUND)] == [
            (round(event.time * 1e9), each) for event in received for each in event.payloads
        ]
    assert len(of(trace, Lost)) > 3
    assert len(of(trace, Duplicated)) > 3


def test_what_a_link_has_damaged_has_a_wrong_checksum_where_it_comes_in_only(bad_link):
    """As the bytes that were sent have it; and a remark at both ends."""
    trace, capture = bad_link
    sent = seen(capture, "h1:h2", OUTBOUND) + seen(capture, "h2:h1", OUTBOUND)
    assert all(is_intact(parsed(each)) for each in sent)
    flipped = [each for each in sent if any("flips bit" in words for words in each.comments)]
    assert len(flipped) == len(of(trace, Damaged)) > 3
    arrived = seen(capture, "h1:h2", INBOUND) + seen(capture, "h2:h1", INBOUND)
    wrong = [each for each in arrived if not is_intact(parsed(each))]
    assert wrong == [each for each in arrived if any("has flipped" in words for words in each.comments)]
    assert wrong


def test_the_inside_of_each_vm_and_the_internet_are_there(bad_link):
    """What VMs sent and got, byte for byte; and what the gateway was handed and gave."""
    trace, capture = bad_link
    for name, vm, out, back in (
        ("a", "a", OUTBOUND, INBOUND),
        ("b", "b", OUTBOUND, INBOUND),
        ("h1:internet", "", INBOUND, OUTBOUND),
    ):
        for kind, direction in ((Offered, out), (Delivered, back)):
            packets = [each for event in of(trace, kind) if event.vm == vm for each in event.packets]
            assert [each.data for each in seen(capture, name, direction)] == packets
            assert packets


def test_every_record_that_was_refused_says_why(bad_link):
    """As many remarks as refusals, reason by reason, each on a packet that came in."""
    trace, capture = bad_link
    refused: Counter[str] = Counter()
    for event in of(trace, Refused):
        refused[str(event.reason)] += event.count
    arrived = seen(capture, "h1:h2", INBOUND) + seen(capture, "h2:h1", INBOUND)
    remarks = Counter(
        words.removeprefix("dropped: ")
        for each in arrived
        for words in each.comments
        if words.startswith("dropped: ")
    )
    assert remarks == refused
    assert {"replayed", "auth_failed"} <= set(refused)


def test_a_decision_is_on_the_packet_that_led_to_it(run, make_lab):
    """With the row; and a packet that is dropped says so with reason and row."""
    big = "name: big, kind: udp, from: a, to: b, count: 1, size: 1600, start: 1s"
    trace, secrets = run(make_lab(PING, big, mtu=1600))
    first, *_, last = seen(parse_pcapng(capture_trace(trace, secrets).content), "a", OUTBOUND)
    assert first.comments == (
        "decided: row 16, encrypted: encrypt, code X",
        "waits for the tunnel to h2",
    )
    assert last.comments[-1] == "dropped: too_big (row 16, encrypted, code X)"


def test_secrets_stand_before_the_first_record_that_they_open(run, make_lab):
    """Of each handshake, rekeys included; the packet behind them is the first with its epoch."""
    trace, secrets = run(make_lab(PING.replace("4", "40"), overrides="rekey_seconds: 100ms"))
    made = capture_trace(trace, secrets)
    capture = parse_pcapng(made.content)
    assert len(capture.secrets) == len(secrets) == made.opened == made.handshakes > 2
    for at, log in capture.secrets:
        label, random, master = log.decode().split()
        assert (label, bytes.fromhex(master)) == ("CLIENT_RANDOM", secrets[bytes.fromhex(random)])
        ends = ports(capture.packets[at])
        before = [each for each in capture.packets[:at] if ":" in each.interface.name and ports(each) == ends]
        assert has_epoch(capture.packets[at])
        assert before
        assert not any(has_epoch(each) for each in before)


def ports(packet):
    return frozenset((packet.data[20:22], packet.data[22:24]))


def has_epoch(packet):
    from dtls_emu.wire.record import pull_records_untrusted

    return any(record.header.epoch for record in pull_records_untrusted(payload(packet)))


def test_an_eavesdropper_has_the_links_only(run, make_lab):
    """No secrets, no inside of a VM, no remarks; what it has of the links is the same."""
    trace, secrets = run(make_lab(PING, STREAM, link=BAD_LINK, seed=3))
    whole, outside = (parse_pcapng(capture_trace(trace, each).content) for each in (secrets, None))
    assert not outside.secrets
    assert [(each.time_ns, each.data) for each in outside.packets] == [
        (each.time_ns, each.data) for each in whole.packets if ":" in each.interface.name
    ]
    assert not any(each.comments for each in outside.packets)
    assert "What an eavesdropper has" in outside.comments[-1]


def test_a_brokers_keys_are_told_in_the_header(run, make_lab):
    """There is no handshake that a key log could be of."""
    trace, secrets = run(make_lab(PING, overrides="keying: broker"))
    made = capture_trace(trace, secrets)
    capture = parse_pcapng(made.content)
    assert (made.sessions, made.opened, made.handshakes, capture.secrets) == (
        len(of(trace, KeysRequested)),
        0,
        0,
        [],
    )
    assert any("came from a broker: there was no handshake" in words for words in capture.comments)


def test_a_trace_without_bytes_makes_no_capture():
    """It says how to make one with them."""
    trace = Trace(events=[Sent(0.0, "h1", 0, 0, 1, ("192.0.2.1", 1), ("192.0.2.2", 2), 5, 0, 1)])
    with pytest.raises(CaptureError, match="no bytes of packets; record it"):
        capture_trace(trace, {})


@pytest.mark.parametrize(
    "lab", [{"hosts": {"h1": {"underlay": "nowhere"}}}, {"hosts": ["h1"]}, {"hosts": {"h1": {}}}]
)
def test_a_damaged_trace_makes_no_capture(lab):
    """It is one line, and no traceback."""
    with pytest.raises(CaptureError, match="the trace is damaged"):
        capture_trace(Trace(lab=lab), {})


def test_a_datagram_to_nowhere_makes_no_capture():
    """An address of the trace that is none."""
    event = Sent(0.0, "h1", 0, 0, 1, ("192.0.2.1", 1), ("nowhere", 2), 1, 0, -1, b"x")
    with pytest.raises(CaptureError, match="the trace is damaged"):
        capture_trace(Trace(events=[event]), {})


def test_a_capture_can_be_written_as_the_run_goes_on(run, make_lab):
    """In batches, with secrets that come meanwhile: packets, interfaces and secrets are those of the whole."""
    trace, secrets = run(make_lab(PING, FAR, overrides="rekey_seconds: 100ms"))
    whole = parse_pcapng(capture_trace(trace, secrets).content)
    known: dict[bytes, bytes] = {}
    stream = CaptureStream({}, known)
    written = stream.header()
    middle = len(trace.events) // 2
    known.update(secrets)
    for batch in (trace.events[:middle], trace.events[middle:]):
        written += b"".join(stream.blocks(batch))
    found = parse_pcapng(written)
    assert [each.data for each in found.packets] == [each.data for each in whole.packets]
    assert {each.name for each in found.interfaces} == {each.name for each in whole.interfaces}
    assert found.secrets == whole.secrets


def record(number):
    return push_record_header(0x17, 1, number, 4) + bytes([number] * 4)


def test_refused_records_of_a_burst_are_those_that_were_not_opened():
    """Told apart by their numbers; where two reasons could be meant, all of them are said."""
    where = 0.0, "h2", 0, 1
    came = Received(*where, ("192.0.2.1", 1), 2, 3, 0, 0, (record(1), record(2), record(1)))
    opened = Opened(*where, "h1", (2, 1), 1, (1, 2))

    def remarks(*refused):
        trace = Trace(lab={"hosts": {"h2": {"underlay": "192.0.2.2"}}}, events=[came, *refused, opened])
        return [each.comments for each in parse_pcapng(capture_trace(trace, {}).content).packets]

    assert remarks(Refused(*where, DropReason.REPLAYED, 1)) == [(), (), ("dropped: replayed",)]
    last = Refused(*where, DropReason.REPLAYED, 1), Refused(*where, DropReason.LATE, 1)
    assert remarks(*last)[2] == ("dropped: replayed 1, late 1; of 1 that came in together",)
