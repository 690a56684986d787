"""The event socket: everything in order to who keeps up, a bounded amount to who does not, and nothing for nobody."""

from __future__ import annotations

import json
import socket
import stat
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from dtls_emu.events import (
    AssociationOpened,
    FlowEnded,
    FlowStarted,
    Forwarded,
    Offered,
    PortClosed,
    Sealed,
    Sent,
    name_of,
    to_json,
)
from dtls_emu.host.control import event_client, event_server
from dtls_emu.host.control.client import ControlError
from dtls_emu.host.control.event_client import EventClient
from dtls_emu.host.control.event_server import BATCH, BATCH_SECONDS, SAMPLED, EventServer
from dtls_emu.host.control.listening import ControlSocketError
from dtls_emu.lab import compile_lab
from dtls_emu.testing.wire import Wire
from dtls_emu.wire.packet import udp_packet


class Host:
    """A server, driven by hand on a clock of its own, and what it said of its listeners."""

    def __init__(self, path):
        self.now = 0.0
        self.said: list[Any] = []
        self.clients: list[Any] = []
        self.wishes: list[None] = []
        self.server = EventServer(path, "h1", self.said.append, lambda: self.wishes.append(None))
        self.path = path

    def listen(self, **options):
        client = EventClient(self.path, timeout=5.0, **options)
        self.clients.append(client)
        self.serve(3)
        return client

    def raw(self, line=b""):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.path))
        client.sendall(line)
        self.serve(3)
        client.setblocking(False)
        return client

    def serve(self, turns=1):
        for _ in range(turns):
            self.server.serve(self.now)


MAX_WAITING = 1024
"""Of the servers here; what is true of a small queue is true of a large one."""


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(event_server, "MAX_WAITING", MAX_WAITING)
    made = Host(tmp_path / "h1.events")
    yield made
    made.server.close()
    for client in made.clients:
        client.close()


def sent(number, *, packet=0, payload=b""):
    return Sent(0.5, "h1", 2, packet or number, number, ("192.0.2.1", 1), ("192.0.2.2", 2), 3, 0, 9, payload)


def told(host, clients):
    """What each client was told, until there is nothing more: batches."""
    batches: dict[Any, list[Any]] = {client: [] for client in clients}
    for client in clients:
        client._socket.settimeout(0)
    progress = True
    while progress:
        progress = False
        host.serve()
        for client, found in batches.items():
            with suppress(ControlError, BlockingIOError):
                for batch in client:
                    found.append(batch)
                    progress = True
    return [batches[client] for client in clients]


def events_of(batches):
    return [event for batch in batches for event in batch.events]


def left_out(batches):
    return sum((Counter(batch.left_out) for batch in batches), Counter())


def test_everything_is_told_in_order_to_everybody_who_listens(host):
    """In batches of a bounded size; nothing is left out as long as they keep up."""
    clients = [host.listen(), host.listen()]
    events = [sent(number) for number in range(1, BATCH + 50)]
    for event in events:
        host.server(event)
    for batches in told(host, clients):
        assert events_of(batches) == events
        assert max(len(batch.events) for batch in batches) == BATCH
        assert {batch.host for batch in batches} == {"h1"}
        assert left_out(batches) == Counter()


def test_only_its_owner_can_open_it(host):
    """Mode 0600, as the control socket's."""
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o600
    with pytest.raises(ControlSocketError, match="answers there already"):
        EventServer(host.path, "h1", lambda _: None)


def test_the_card_is_told_who_listens_and_that_nobody_does(host):
    """Once when the first comes, once when the last goes: between, and before, nothing is built for nobody."""
    assert host.said == []
    first = host.listen()
    second = host.listen(wants_bytes=True)
    assert host.said == [host.server]
    assert host.server.wants_bytes
    second.close()
    host.serve()
    assert not host.server.wants_bytes
    first.close()
    host.serve()
    assert host.said == [host.server, None]


def test_an_event_waits_only_so_long_for_others(host):
    """The loop is asked to come back; with nothing to tell, it is not."""
    assert host.server.next_timeout() == float("inf")
    with host.listen() as client:
        host.server(sent(1))
        assert host.server.next_timeout() == 0.5 + BATCH_SECONDS
        host.now = host.server.next_timeout()
        host.serve()
        assert host.server.next_timeout() == float("inf")
        heard, batch = (next(iter(client)) for _ in range(2))
        assert (events_of([heard]), events_of([batch])) == ([], [sent(1)])


def test_a_listener_that_does_not_read_costs_a_bounded_amount_and_nobody_else_anything(host):
    """Told and left out are together what happened; who reads meanwhile is told everything."""
    slow, quick = host.listen(), host.listen()
    events = [sent(number) for number in range(1, 6 * MAX_WAITING)]
    batches: list[Any] = []
    for start in range(0, len(events), BATCH):
        for event in events[start : start + BATCH]:
            host.server(event)
        (more,) = told(host, [quick])
        batches += more
    assert events_of(batches) == events
    waiting = max(len(each.waiting) for each in host.server._listeners.values())
    assert MAX_WAITING / 2 <= waiting <= MAX_WAITING
    (late,) = told(host, [slow])
    assert left_out(late)["sent"] > MAX_WAITING
    assert len(events_of(late)) + left_out(late)["sent"] == len(events)
    numbers = [event.packet for event in events_of(late)]
    assert numbers == sorted(numbers)
    assert all(number % SAMPLED == 0 for number in numbers[-50:])


def test_what_is_rare_has_room_when_packets_have_none(host):
    """Tunnels, keys and flows are told of all the same; the last room is theirs."""
    slow = host.listen()
    for number in range(1, 40 * MAX_WAITING, SAMPLED):
        host.server(sent(number, packet=SAMPLED))
    rare = [AssociationOpened(1.0, "h1", "h2", (49152, 4433), client=True, number=n) for n in range(50)]
    for event in rare:
        host.server(event)
    (batches,) = told(host, [slow])
    assert [event for event in events_of(batches) if isinstance(event, AssociationOpened)] == rare
    assert set(left_out(batches)) == {"sent"}
    for number in range(2 * MAX_WAITING):
        host.server(PortClosed(2.0, "h1", number))
    (batches,) = told(host, [slow])
    assert len(events_of(batches)) == MAX_WAITING
    assert left_out(batches) == {"port_closed": MAX_WAITING}


def test_bytes_fill_a_queue_too(host, monkeypatch):
    """A few large events are as much as many small ones."""
    monkeypatch.setattr(event_server, "MAX_WAITING_BYTES", 100_000)
    slow = host.listen(wants_bytes=True)
    events = [sent(number, payload=bytes(1400)) for number in range(1, 1000)]
    for event in events:
        host.server(event)
    (listener,) = host.server._listeners.values()
    assert listener.nbytes < 100_000
    (batches,) = told(host, [slow])
    assert len(events_of(batches)) + left_out(batches)["sent"] == len(events)
    assert listener.nbytes == 0


def test_one_listener_too_many_is_turned_away(host):
    """And those who are there stay."""
    clients = [host.listen() for _ in range(event_server.MAX_LISTENERS)]
    with pytest.raises(ControlError, match="reset"):
        list(host.listen())
    host.server(sent(1))
    assert all(events_of(batches) == [sent(1)] for batches in told(host, clients))


@pytest.mark.parametrize(
    "line",
    [b"\n", b"[]\n", b"null\n", b'{"bytes": 1}\n', b"{" * 5000 + b"\n", b"x" * 5000, b"\xff\n"],
    ids=lambda line: repr(line[:12]),
)
def test_who_makes_no_sense_is_hung_up_on(host, line):
    """And does the host no harm."""
    with host.raw(line) as client:
        host.serve(3)
        assert client.recv(100) == b""
    assert host.said == [host.server, None]


def test_a_listener_need_not_say_anything(host):
    """It is told of events without bytes, such as with socat."""
    with host.raw() as client:
        host.server(sent(1))
        host.serve()
        assert json.loads(client.recv(1 << 16)) == {
            "host": "h1",
            "events": [to_json(sent(1))],
            "left_out": {},
        }


def test_the_end_of_a_host_is_the_end_of_its_events(host):
    """What it has told before is read to the end, and the socket is gone."""
    with host.listen() as client:
        host.server(sent(1))
        host.server.close()
        assert events_of(list(client)) == [sent(1)]
    assert not host.path.exists()
    with pytest.raises(ControlError, match="No such file"):
        EventClient(host.path)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b'{"host": "h1", "events": [{"event": "no such"}], "left_out": {}}\n',
        b'{"events": 1}\n',
    ],
)
def test_a_client_refuses_what_is_no_batch(tmp_path, line):
    """With an error that shows it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "other.sock"))
        listener.listen()
        with EventClient(tmp_path / "other.sock", timeout=5.0) as client:
            connection, _ = listener.accept()
            connection.sendall(line)
            connection.close()
            with pytest.raises(ControlError, match="no batch of events"):
                list(client)


def test_a_client_does_not_take_a_batch_without_end(tmp_path, monkeypatch):
    """Whatever is behind the socket."""
    monkeypatch.setattr(event_client, "MAX_BATCH", 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "other.sock"))
        listener.listen()
        with EventClient(tmp_path / "other.sock", timeout=5.0) as client:
            connection, _ = listener.accept()
            connection.sendall(b"x" * 70_000)
            with pytest.raises(ControlError, match="a batch of more than 1000 bytes"):
                list(client)
            connection.close()


def test_a_card_that_is_listened_to_tells_of_its_packets_and_flows(host, make_lab):
    """From the first packet on until its end, with exact counters; before and after it tells nobody."""
    wire = Wire(compile_lab(make_lab("name: p, kind: ping, from: a, to: b")))
    card = wire.cards["h1"]
    server = host.server

    def on_listen(observer):
        host.said.append(observer)
        card.observe(observer)

    server._on_listen = on_listen
    packets = [udp_packet("10.0.0.4", "10.0.0.5", 1, 2, bytes(100)) for _ in range(5)]
    with host.listen(wants_bytes=True) as client:
        wire.send("a", *packets)
        wire.send("a", *packets[:2])
        card.abort(7.0)
        ((*batches,),) = told(host, [client])
    events = events_of(batches)
    counted = Counter(name_of(event) for event in events)
    assert [event.packet for event in events if isinstance(event, Offered)] == [1, 6]
    assert [packet for event in events if isinstance(event, Offered) for packet in event.packets] == [
        *packets,
        *packets[:2],
    ]
    assert sum(event.count for event in events if isinstance(event, Sealed)) == 7
    assert sum(event.count for event in events if isinstance(event, Forwarded)) == 7
    (started,) = [event for event in events if isinstance(event, FlowStarted)]
    (ended,) = [event for event in events if isinstance(event, FlowEnded)]
    assert (started.vm, started.flow, started.code) == ("a", ended.flow, "X")
    assert (ended.time, ended.packets_out, ended.packets_in) == (7.0, 7, 0)
    assert counted["association_opened"] == 1
    host.serve()
    assert host.said == [server, None]
    assert card._watcher is None


def test_each_listener_is_shown_what_it_asked_for(host):
    """Bytes go to who wants them, and to nobody else, although the host builds them for one."""
    plain, curious = host.listen(), host.listen(wants_bytes=True)
    event = sent(1, payload=b"of interest")
    host.server(event)
    bare, whole = told(host, [plain, curious])
    assert events_of(whole) == [event]
    assert events_of(bare) == [sent(1)]


def test_secrets_are_told_only_to_who_asks(host):
    """At once; the server is told that somebody wants them, and before that nobody is asked for any."""
    plain = host.listen(wants_bytes=True)
    assert host.wishes == []
    opener = host.listen(wants_secrets=True)
    assert host.wishes == [None]
    told(host, [plain, opener])
    host.server.tell_secret(b"CLIENT_RANDOM aa bb")
    assert host.server.next_timeout() <= host.now
    without, having = told(host, [plain, opener])
    assert [batch.secrets for batch in having] == [("CLIENT_RANDOM aa bb",)]
    assert [batch.secrets for batch in without] == []


def test_a_wish_is_answered_when_it_is_heard(host):
    """By a batch, be it empty: who captures asks for fresh keys only then."""
    (batches,) = told(host, [host.listen(wants_bytes=True)])
    assert [(batch.events, batch.left_out) for batch in batches] == [((), {})]
    assert told(host, host.clients) == [[]]


def test_packets_that_are_not_shown_are_counted_by_place(host):
    """Inside of a VM, or at this end of the link to an address: for the statistics of a capture's interfaces."""
    curious, plain = host.listen(wants_bytes=True), host.listen()
    for number in range(1, MAX_WAITING + 100):
        host.server(sent(number, payload=b"?"))
        host.server(Offered(0.5, "h1", 2, number, "a", 3, 90, (b"packet",)))
    batches, others = told(host, [curious, plain])
    missed = sum((Counter(batch.missed) for batch in batches), Counter())
    counted = left_out(batches)
    assert missed == Counter({"192.0.2.2": counted["sent"], "a": 3 * counted["offered"]})
    assert counted.total() + len(events_of(batches)) == 2 * (MAX_WAITING + 99)
    assert [batch.missed for batch in others if batch.missed] == []


def test_what_there_was_no_time_for_is_left_out_for_everybody(host):
    """By name, with the next batch."""
    clients = [host.listen(), host.listen()]
    told(host, clients)
    host.server.leave_out("sealed", 5)
    assert [left_out(batches) for batches in told(host, clients)] == [Counter(sealed=5)] * 2
