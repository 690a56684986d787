"""A live run goes as far as it is asked to, and what is done to it shows in its events."""

from __future__ import annotations

import pytest

from dtls_emu.capture.trace_file import encode_trace, parse_trace
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import AssociationOpened, Decided, Dropped, LabChanged, Lost, Refused, Sent
from dtls_emu.teach.page.requests import order
from dtls_emu.teach.page.session import LiveSession, RecordedSession
from dtls_emu.teach.page.views import about, decision, packet
from dtls_emu.vocabulary import DropReason, Verdict


@pytest.fixture
def session(make_lab):
    """A lab without traffic but one ping, which has brought up the tunnel of h1 and h2."""
    session = LiveSession(make_lab("name: one, kind: ping, from: a, to: b, count: 1"), seed=1)
    settle(session)
    yield session
    session.close()


def settle(session):
    while not session.has_ended:
        session.advance(1.0, 5000)


def send(session, what, count=1):
    """What happens because of it."""
    before = len(session.events)
    session.send(order({"what": what, "from": "a", "to": "b", "count": count}))
    settle(session)
    return session.events[before:]


def kinds(events):
    return {type(event).__name__ for event in events}


def first(events, kind):
    return next(event for event in events if isinstance(event, kind))


def test_a_step_is_at_least_one_event(make_lab):
    """And no more than there are; in the end nothing happens any more."""
    session = LiveSession(make_lab("name: one, kind: ping, from: a, to: b, count: 2, interval: 10s"))
    try:
        count, steps = 0, 0
        while not session.has_ended:
            session.advance(0.0, 1)
            assert len(session.events) > count or session.has_ended
            count, steps = len(session.events), steps + 1
        assert steps > 10
        assert session.now >= 10
    finally:
        session.close()


def test_time_goes_as_far_as_it_is_asked_to(make_lab):
    """Up to that moment, or to the next event where nothing happens before."""
    session = LiveSession(make_lab("name: one, kind: ping, from: a, to: b, count: 20, interval: 10ms"))
    try:
        session.advance(0.05, 5000)
        assert session.now <= 0.05
        session.advance(1e-9, 5000)
        assert 0.05 < session.now < 0.07
    finally:
        session.close()


def test_rows_are_those_of_the_events(session):
    """Whichever part is asked for first."""
    tail = session.rows(5, 3)
    everything = session.rows(0, 10_000)
    assert everything[5:8] == tail
    assert [row[0] for row in everything] == [event.time for event in session.events]


def test_a_trace_shows_what_the_run_showed(session):
    """Back is a replay: rows made of a file are the same, to the last field."""
    trace = parse_trace(list(encode_trace(session.trace)))
    again = RecordedSession(trace)
    assert again.rows(0, 10_000) == session.rows(0, 10_000)
    assert again.vms() == session.vms()
    assert again.has_ended
    assert not again.is_live


def test_a_ping_is_answered(session):
    """Encrypted both ways."""
    events = send(session, "ping")
    assert {"Offered", "Sealed", "Opened", "Delivered"} <= kinds(events)
    assert sum(type(event).__name__ == "Delivered" for event in events) == 2


def test_a_stream_is_as_long_as_asked(session):
    """Each packet a record."""
    events = send(session, "stream", 5)
    assert len([event for event in events if isinstance(event, Sent)]) >= 5


def test_a_fragment_and_a_jumbo_are_dropped(session):
    """A fragment because of what it is, a jumbo because it does not fit; and its sender is told."""
    assert first(send(session, "fragment"), Dropped).reason is DropReason.FRAGMENT
    events = send(session, "jumbo")
    assert first(events, Dropped).reason is DropReason.TOO_BIG
    assert "Answered" in kinds(events)


def test_what_an_attacker_sends_is_refused(session, wire_watch):
    """A replay as such, a record that was changed because its tag does not verify."""
    send(session, "ping")
    assert first(send(session, "replay"), Refused).reason is DropReason.REPLAYED
    assert first(send(session, "tamper"), Refused).reason is DropReason.AUTH_FAILED
    wire_watch._compare()
    wire_watch.violations.clear()  # it takes the attacker's datagrams for the card's


def test_settings_show_in_what_happens(session):
    """Of a link, of a VM, of a network: told as an event, and the next packet goes by them."""
    session.set("h1-h2", ["loss=100%"])
    assert session.topology.link("h1", "h2").loss == 1
    assert first(session.events, LabChanged)
    assert first(send(session, "ping"), Lost).reason is DropReason.LOST
    session.set("h1-h2", ["loss=0%"])
    session.set("vms.a", ["size=Standard_B2s"])
    assert first(send(session, "ping"), Decided).verdict is Verdict.CLEAR
    session.set("virtual_networks.prod", ["encryption.enforcement=DropUnencrypted"])
    assert first(send(session, "ping"), Dropped).reason is DropReason.NOT_ACCEPTED


def test_keys_are_made_anew(session):
    """By a handshake beside the association that is in force; and where there is no tunnel, that is said."""
    before = len(session.events)
    session.rekey("h1", "h2")
    settle(session)
    opened = [event for event in session.events[before:] if isinstance(event, AssociationOpened)]
    assert [event.number for event in opened] == [2, 2]
    with pytest.raises(DtlsEmuError, match="no tunnel from h1 to nobody is up"):
        session.rekey("h1", "nobody")


def test_a_card_starts_anew(session):
    """With the backend that is asked for; and what cannot be had is refused, and nothing is changed."""
    session.restart("h2", "cryptography")
    assert session.backends()["h2"] == "cryptography"
    assert "card_restarted" in {row[1] for row in session.rows(0, 10_000)}
    assert "AssociationOpened" in kinds(send(session, "ping"))
    with pytest.raises(DtlsEmuError, match="no backend"):
        session.restart("h2", "rot13")
    assert session.backends()["h2"] == "cryptography"


def test_records_without_a_cipher_are_never_shown_as_sealed(make_lab):
    """The `null` backend makes the shape of a record, and no more."""
    lab = make_lab("name: one, kind: ping, from: a, to: b, count: 1")
    hosts = {
        name: host.model_copy(update={"smartnic": host.smartnic.model_copy(update={"backend": "null"})})
        for name, host in lab.hosts.items()
    }
    session = LiveSession(lab.model_copy(update={"hosts": hosts}))
    try:
        settle(session)
        shapes = {row[7]["as"] for row in session.rows(0, 10_000) if row[1] == "sent"}
        assert shapes == {"handshake", "unprotected"}
    finally:
        session.close()


def test_what_is_in_clear_is_shown_in_clear(make_lab):
    """Where encryption is off, and for the internet."""
    session = LiveSession(make_lab("name: one, kind: ping, from: a, to: b, count: 1", enabled="false"))
    try:
        settle(session)
        assert {row[7]["as"] for row in session.rows(0, 10_000) if row[1] == "sent"} == {"clear"}
    finally:
        session.close()


def test_keys_of_a_broker_are_not_made_by_a_handshake(make_lab):
    """So there is nothing to make anew, and that is said."""
    session = LiveSession(
        make_lab("name: one, kind: ping, from: a, to: b, count: 1", overrides="keying: broker")
    )
    try:
        settle(session)
        with pytest.raises(DtlsEmuError, match="keys come from the broker"):
            session.rekey("h1", "h2")
    finally:
        session.close()


def test_a_run_that_is_full_goes_no_further(session, monkeypatch):
    """What is kept has an end, and who wants more is told."""
    monkeypatch.setattr("dtls_emu.teach.page.session.MOST_EVENTS", len(session.events))
    before = len(session.events)
    session.advance(1.0, 100)
    assert len(session.events) == before
    with pytest.raises(DtlsEmuError, match="no more are kept"):
        session.send(order({"what": "ping", "from": "a", "to": "b"}))


def test_a_trace_without_its_lab_is_shown_all_the_same(session):
    """Hosts and VMs are those that have done something; what would take the lab is told to be missing."""
    trace = parse_trace(list(encode_trace(session.trace)))
    trace.lab = {}
    again = RecordedSession(trace)
    assert again.vms() == {"h1": ["a"], "h2": ["b"]}
    shown = about(again)
    assert shown["settings"] == {"networks": {}, "vms": {}, "links": {}, "hosts": {}}
    assert [host["name"] for host in shown["scenes"]["tall"]["hosts"]] == ["h1", "h2"]
    assert again.rows(0, 10_000) == session.rows(0, 10_000)
    with pytest.raises(DtlsEmuError, match="the lab is not in this trace"):
        decision(again, "a", "b")
    assert packet(again, 1)["plain"]


def test_a_lost_packet_is_shown_to_where_it_got(session):
    """It has gone out of one card, and into no other."""
    session.set("h1-h2", ["loss=100%"])
    events = send(session, "ping")
    view = packet(session, first(events, Lost).packet)
    assert [device["name"] for device in view["devices"]] == ["card of h1"]
    assert view["lines"][-1]["what"] == "lost"
    assert view["lines"][-1]["text"].endswith("lost")
