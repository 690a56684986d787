"""What an observer of a run is told: everything, in order, the same for the same seed, and enough to make every view of."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from typing import Any

import pytest

from dtls_emu.capture.traces import WireCapture, WireTrace
from dtls_emu.events import (
    AssociationOpened,
    Classified,
    Decided,
    Delivered,
    Dropped,
    Duplicated,
    FlightReceived,
    FlightRetransmitted,
    FlightSent,
    FlowContinued,
    FlowEnded,
    FlowStarted,
    Forwarded,
    How,
    KeysRequested,
    Lost,
    Missed,
    Offered,
    Opened,
    PacketEvent,
    PortClosed,
    PortOpened,
    Queued,
    Received,
    Refused,
    Rekeyed,
    Sealed,
    Sent,
    StateChanged,
    fan_out,
    from_line,
    observer_of,
    to_line,
)
from dtls_emu.lab import shipped_labs
from dtls_emu.simulation import simulate
from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.wire.protocol import is_handshake


LABS = shipped_labs()
PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 50"
BULK = "name: bulk, kind: bulk, from: b, to: a, bytes: 200kB"


class Run:
    """One run of a lab.

    Fields:
        outcome: what it came to.
        events: with bytes.
        trace, capture: views that were made while it ran.
    """

    def __init__(self, lab, **options):
        self.events: list[Any] = []
        self.trace, self.capture = WireTrace(), WireCapture()
        mine = observer_of(self.events.append, wants_bytes=True)
        self.outcome = simulate(lab, observer=fan_out([mine, self.trace, self.capture]), **options)

    def of(self, *kinds):
        return [event for event in self.events if isinstance(event, kinds)]

    def about(self, number):
        """The events about a packet that was a burst of its own."""
        return [each for each in self.of(PacketEvent) if each.packet == number]


@pytest.fixture(scope="module")
def runs():
    """Every shipped lab, observed."""
    return {name: Run(name) for name in LABS}


def masked(run):
    """The events without keys, nonces and what depends on them: of records, numbers count from the first."""
    first: dict[Any, int] = {}

    def number(event, value):
        return value - first.setdefault((event.host, event.peer, event.association, type(event)), value)

    for event in run.events:
        changes: dict[str, Any] = {name: () for name in ("packets", "payloads") if hasattr(event, name)}
        if isinstance(event, Sent):
            changes |= {"payload": b""} | ({"length": 0} if is_handshake(event.payload[0]) else {})
        elif (isinstance(event, Received) and not event.mark) or isinstance(
            event, FlightSent | FlightRetransmitted | FlightReceived
        ):  # nobody's are handshakes, some of them damaged
            changes["nbytes"] = 0
        elif isinstance(event, Sealed):
            changes["number"] = number(event, event.number)
        elif isinstance(event, Opened):
            changes["numbers"] = tuple(number(event, each) for each in event.numbers)
        yield dataclasses.replace(event, **changes)


# ------------------------------------------------------------------------------------------------ in order


@pytest.mark.parametrize("name", LABS)
def test_the_same_seed_has_the_same_events(runs, name):
    """In the same order, but for keys and nonces."""
    again = list(masked(Run(name)))
    assert list(masked(runs[name])) == again
    assert again


def test_a_bad_link_has_the_same_events_every_time(make_lab):
    """Losses in the handshake, copies and damage included, whatever the keys are."""
    link = "loss: 15%, duplicate: 10%, corrupt: 10%, reorder: 10%, delay: 5ms"
    for seed in range(10):
        print(f"seed {seed}")
        lab = make_lab(PING, STREAM, BULK, link=link, seed=seed)
        first, second = Run(lab), Run(lab)
        assert list(masked(first)) == list(masked(second))


@pytest.mark.parametrize("name", LABS)
def test_time_never_goes_back(runs, name):
    """Events come as they happen."""
    times = [event.time for event in runs[name].events]
    assert times == sorted(times)


@pytest.mark.parametrize("name", LABS)
def test_to_be_observed_changes_nothing(runs, name):
    """Neither what comes of the traffic, nor when."""
    outcome = simulate(name)
    assert outcome.as_dict() == runs[name].outcome.as_dict()


def test_bytes_are_there_only_on_request(make_lab):
    """The same events without them for an observer that does not ask. (What is on links, others may watch besides.)"""
    events: list[Any] = []
    lab = make_lab(
        PING, STREAM, "name: jumbo, kind: udp, from: a, to: b, size: 8000", mtu=9000, link="loss: 10%"
    )
    simulate(lab, observer=observer_of(events.append))
    shown = [getattr(event, name, ()) for event in events for name in ("packets", "payloads", "answer")]
    assert not any(shown)
    assert [type(event) for event in events] == [type(event) for event in Run(lab).events]


# ------------------------------------------------------------------------------------------------ accounts


@pytest.mark.parametrize("name", LABS)
def test_the_accounts_balance_from_the_events_alone(runs, name):
    """For each mark: offered + duplicated = delivered + dropped, and each figure is that of the outcome."""
    run = runs[name]
    offered: Counter[int] = Counter()
    duplicated: Counter[int] = Counter()
    delivered: Counter[int] = Counter()
    dropped: defaultdict[int, Counter[Any]] = defaultdict(Counter)
    for event in run.events:
        match event:
            case Offered():
                offered[event.mark] += event.count
            case Duplicated():
                duplicated[event.mark] += 1
            case Delivered():
                delivered[event.mark] += event.count
            case Dropped() | Refused() | Lost():
                dropped[event.mark][event.reason] += event.count
    for index, item in enumerate(run.outcome.items):
        forward = forward_mark(index)
        for mark, account in ((forward, item.forward), (reverse_of(forward), item.reverse)):
            assert offered[mark] + duplicated[mark] == delivered[mark] + dropped[mark].total()
            assert offered[mark] == account.offered
            assert duplicated[mark] == account.duplicated
            assert delivered[mark] == account.delivered
            assert dropped[mark] == account.dropped
    assert offered.total()


@pytest.mark.parametrize("name", LABS)
def test_how_packets_left_is_told_as_the_outcome_says(runs, name):
    """By row, verdict and code of the decision, sent or dropped."""
    run = runs[name]
    told: defaultdict[int, Counter[Any]] = defaultdict(Counter)
    for event in run.of(Forwarded, Dropped):
        if event.row:
            fate = event.how if isinstance(event, Forwarded) else event.reason
            told[event.mark // 2][event.row, event.verdict, event.code, str(fate)] += event.count
    for index, item in enumerate(run.outcome.items):
        said: Counter[Any] = Counter()
        for account in (item.forward, item.reverse):
            for (decision, fate), count in account.handled.items():
                said[decision.row.number, decision.verdict, decision.code, str(fate)] += count
        came_in = {key: count for key, count in said.items() if key[3] == How.GATEWAY}
        for key in came_in:  # the answers of the internet are accounted for by the card that lets them in
            said[key] = told[forward_mark(index) // 2][key]
        assert told[forward_mark(index) // 2] == said


@pytest.mark.parametrize("name", LABS)
def test_flows_end_with_exact_counters_of_both_directions(runs, name):
    """Together they are what left each card and what was delivered there; each flow has started, and ends once."""
    run = runs[name]
    for host, card in run.outcome.cards.items():
        mine = [event for event in run.events if event.host == host]
        ended = [event for event in mine if isinstance(event, FlowEnded)]
        left = [event for event in mine if isinstance(event, Forwarded)]
        handed = [event for event in mine if isinstance(event, Delivered) and event.vm]
        assert sum(each.packets_out for each in ended) == sum(each.count for each in left)
        assert sum(each.packets_in for each in ended) == sum(each.count for each in handed)
        assert sum(each.bytes_in for each in ended) == sum(each.nbytes for each in handed)
        started = Counter((each.vm, each.flow) for each in mine if isinstance(each, FlowStarted))
        assert started == Counter((each.vm, each.flow) for each in ended)
        egress = card["egress"]
        out = sum(egress[how] for how in ("encrypted", "clear", "local", "gateway"))
        assert sum(each.packets_out for each in ended) == out


@pytest.mark.parametrize("name", LABS)
def test_counters_of_a_flow_never_go_back(runs, name):
    """Also when it is decided again, and its entry replaced."""
    latest: dict[Any, Any] = {}
    for event in runs[name].of(FlowContinued, FlowEnded):
        counters = event.packets_out, event.bytes_out, event.packets_in, event.bytes_in
        before = latest.get((event.host, event.vm, event.flow), (0, 0, 0, 0))
        assert all(now >= then for now, then in zip(counters, before, strict=True))
        latest[event.host, event.vm, event.flow] = counters


# ---------------------------------------------------------------------------------------------- one packet


def test_the_path_of_a_first_packet(make_lab):
    """From the VM to the VM at the other end: decided, queued, decided again under the fresh keys, sealed, opened."""
    run = Run(make_lab(PING))
    path = run.about(1)
    assert [type(event) for event in path] == [
        Offered,
        Classified,
        Missed,
        Decided,
        FlowStarted,
        Queued,
        Classified,
        Missed,
        Decided,
        Forwarded,
        Sealed,
        Sent,
        Received,
        Opened,
        Classified,
        Missed,
        FlowStarted,
        Delivered,
    ]
    kinds: tuple[type[Any], ...] = (Offered, Sealed, Sent, Opened, Delivered)
    offered, sealed, sent, opened, delivered = (
        next(event for event in path if isinstance(event, kind)) for kind in kinds
    )
    assert (offered.host, offered.vm, delivered.host, delivered.vm) == ("h1", "a", "h2", "b")
    assert delivered.packets == offered.packets
    assert (opened.epoch, opened.numbers) == (sealed.epoch, (sealed.number,))
    assert opened.association == sealed.association[::-1]
    received = next(event for event in path if isinstance(event, Received))
    assert (sent.payload,) == received.payloads
    assert received.time == sent.arrival / 1e9
    assert {event.mark for event in path} == {forward_mark(0)}


@pytest.mark.parametrize("name", LABS)
def test_every_record_that_is_opened_was_sealed_once(runs, name):
    """The two ends name an association by the same ports, and a record by the same number."""
    sealed: Counter[Any] = Counter()
    opened: Counter[Any] = Counter()
    for event in runs[name].of(Sealed):
        numbers = range(event.number, event.number + event.count)
        sealed.update((event.host, event.association, event.epoch, number) for number in numbers)
    for event in runs[name].of(Opened):
        ends = event.association[::-1]
        opened.update((event.peer, ends, event.epoch, number) for number in event.numbers)
    assert max(sealed.values()) == max(opened.values()) == 1
    assert opened <= sealed


@pytest.mark.parametrize("name", LABS)
def test_packets_are_numbered_as_they_are_offered(runs, name):
    """Without a gap; whatever is told of a packet later has its number."""
    following = 1
    for event in runs[name].of(Offered):
        assert event.packet == following
        following += event.count
    marks = {event.packet: event.mark for event in runs[name].of(Offered)}
    for event in runs[name].of(PacketEvent):
        assert marks.get(event.packet, 0) == event.mark


def test_dropped_packets_show_why_and_what_they_were(make_lab):
    """A jumbo packet that does not fit, with its bytes, the row of its flow, and the ICMP that its VM gets."""
    run = Run(make_lab("name: jumbo, kind: udp, from: a, to: b, size: 8000, count: 1", mtu=9000))
    (dropped,) = run.of(Dropped)
    (offered,) = run.of(Offered)
    assert (dropped.vm, dropped.reason, dropped.packets) == ("a", "too_big", offered.packets)
    assert (dropped.verdict, dropped.code) == ("encrypt", "X")
    (answered,) = [event for event in run.about(offered.packet) if type(event).__name__ == "Answered"]
    assert answered.mtu == 1563
    assert answered.answer[9] == 1  # ICMP


# ------------------------------------------------------------------------------------------------- tunnels


def test_a_handshake_is_told_flight_by_flight(make_lab):
    """Both ends, in order; then the association, and that its keys are in force. Its client's port was opened first. Of a
    hello without a cookie its server tells nothing, because it remembers nothing.
    """
    run = Run(make_lab(PING))
    tunnel = [
        (event.host, type(event))
        for event in run.of(FlightSent, FlightReceived, AssociationOpened, Rekeyed, StateChanged, PortOpened)
    ]
    assert tunnel == [
        ("h1", StateChanged),
        ("h1", PortOpened),
        ("h1", FlightSent),
        ("h1", FlightReceived),
        ("h1", FlightSent),
        ("h2", FlightReceived),
        ("h2", FlightSent),
        ("h2", StateChanged),
        ("h1", FlightReceived),
        ("h1", FlightSent),
        ("h2", FlightReceived),
        ("h2", FlightSent),
        ("h2", AssociationOpened),
        ("h2", Rekeyed),
        ("h2", StateChanged),
        ("h1", FlightReceived),
        ("h1", AssociationOpened),
        ("h1", Rekeyed),
        ("h1", StateChanged),
    ]
    server, client = run.of(AssociationOpened)
    assert client.client
    assert not server.client
    assert client.association == server.association[::-1]


def test_a_lost_flight_is_sent_again(make_lab):
    """And told as such, with how often it was."""
    run = Run(make_lab(PING, link="loss: 60%", seed=3))
    again = run.of(FlightRetransmitted)
    assert again
    assert again[0].retransmission == 1
    assert max(each.retransmission for each in again) > 1


def test_rekeys_and_ports_are_told():
    """In a lab whose keys wear out: who sealed before, and that the old port is closed."""
    run = Run("rekey")
    changes = [event for event in run.of(Rekeyed) if event.association and event.replaces]
    assert changes
    opened = {(each.host, each.association): each.number for each in run.of(AssociationOpened)}
    for each in changes:
        assert opened[each.host, each.association] > opened[each.host, each.replaces]
    closed = {(each.host, each.port) for each in run.of(PortClosed)}
    assert closed
    assert closed <= {(each.host, each.port) for each in run.of(PortOpened)}


def test_keys_of_a_broker_are_told_as_requested(runs):
    """There is no flight, and still an association."""
    run = runs["broker"]
    assert run.of(KeysRequested)
    assert run.of(AssociationOpened)
    assert not run.of(FlightSent, FlightReceived)


# --------------------------------------------------------------------------------------------------- views


@pytest.mark.parametrize("name", LABS)
def test_views_are_made_again_from_a_saved_trace(runs, name):
    """Every event comes back from its line; trace and capture of these are, byte for byte, those of the run."""
    run = runs[name]
    saved = [to_line(event) for event in run.events]
    events = [from_line(line) for line in saved]
    assert events == run.events
    trace, capture = WireTrace(), WireCapture()
    for event in events:
        trace(event)
        capture(event)
    assert trace.lines == run.trace.lines
    assert capture.encode() == run.capture.encode()
