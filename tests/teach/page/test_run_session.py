"""A lab that is up, as the page has it: what its hosts tell, what becomes of them, and what can be done to it."""

from __future__ import annotations

import json
import select
import time
from contextlib import ExitStack
from threading import Thread
from typing import Any

import pytest
from starlette.testclient import TestClient

from dtls_emu.deploy import changes
from dtls_emu.deploy.state import CardProcess, RunFolder, RunState, boot_id
from dtls_emu.errors import DtlsEmuError, RunError
from dtls_emu.events import Classified, Delivered, Direction, FlowId, Forwarded, How, Offered, Sealed
from dtls_emu.host.control.event_server import EventServer
from dtls_emu.host.control.server import ChangeTarget, ControlServer, Rekey, SetValue, Status
from dtls_emu.paths import control_socket_in, event_socket
from dtls_emu.teach.page import run_session
from dtls_emu.teach.page.run_session import RunSession
from dtls_emu.teach.page.server import Page
from dtls_emu.teach.page.views import about
from dtls_emu.testing.waiting import eventually
from dtls_emu.vocabulary import FlowEncryption, Verdict


FLOW = FlowId(5001, 17, "10.0.0.4", "10.0.0.5", 1, 2)
RUN = "demo"


class Host:
    """A stand-in for the process of a card: its two sockets, on a thread of its own."""

    def __init__(self, folder, name, peer):
        self.name, self.peer = name, peer
        self.pid = 100
        self.state = "up"
        self.asked: list[Any] = []
        self.started_at = time.monotonic()
        self._control = control_socket_in(folder, name)
        self._waiting: list[Any] = []
        self.start()

    def start(self):
        self.is_over = False
        self._observed: list[Any] = []
        self.listeners: list[Any] = []
        self._thread = Thread(target=self._run)
        self._thread.start()

    def stop(self):
        self.is_over = True
        self._thread.join()

    def tell(self, *events):
        self._waiting += events

    def _run(self):
        control = ControlServer(self._control, self._answer)
        events = EventServer(event_socket(self._control), self.name, self.listeners.append)
        while not self.is_over:
            select.select([control.fileno(), events.fileno()], [], [], 0.01)
            now = time.monotonic()
            while self._waiting and self.is_heard:
                events(self._waiting.pop(0))
            control.serve(now)
            events.serve(now)
        events.close()
        control.close()

    @property
    def is_heard(self):
        return bool(self.listeners and self.listeners[-1] is not None)

    def _answer(self, request):
        self.asked.append(request)
        match request:
            case Status():
                return self.report()
            case Rekey():
                return {"peers": [request.peer] if self.state == "up" else []}
            case SetValue() | ChangeTarget():
                return {}
        return {}

    def report(self):
        ways: dict[str, Any] = {
            "egress": dict.fromkeys(
                ("offered", "offered_bytes", "encrypted", "clear", "local", "gateway", "waiting"), 3
            ),
            "ingress": dict.fromkeys(("received", "delivered", "delivered_bytes", "control"), 2),
        }
        for way in ways.values():
            way["dropped"] = {"fragment": 1}
        tunnel = {"state": self.state, "failure": "", "handshakes": 1, "last_handshake_seconds": 0.01}
        return {
            "host": self.name,
            "pid": self.pid,
            "uptime_seconds": time.monotonic() - self.started_at,
            "trouble": "",
            "io_path": "TUN packets",
            "card": {"backend": "ipsec-mb", "protects": True, "tunnels": {self.peer: tunnel}, **ways},
        }


@pytest.fixture
def runs(tmp_path, make_lab):
    """A folder of runs with one that was brought up; its VMs' lab."""
    lab = make_lab("name: one, kind: ping, from: a, to: b, count: 1")
    document = lab.model_dump(mode="json", exclude_unset=True, exclude={"traffic"})
    folder = RunFolder.claim(RUN, tmp_path)
    folder.write(RunState(run=RUN, boot=boot_id(), lab=document))
    for host in ("h1", "h2"):
        folder.add(CardProcess(host=host, socket=control_socket_in(tmp_path / RUN, host)))
    folder.close()
    return tmp_path


@pytest.fixture
def hosts(runs):
    with ExitStack() as stack:
        found = {}
        for name, peer in (("h1", "h2"), ("h2", "h1")):
            found[name] = Host(runs / RUN, name, peer)
            stack.callback(found[name].stop)
        for host in found.values():
            eventually(event_socket(control_socket_in(runs / RUN, host.name)).exists, "a host is there")
        yield found


@pytest.fixture
def session(runs, hosts):
    session = RunSession(RUN, runs=runs)
    eventually(lambda: all(host.is_heard for host in hosts.values()), "somebody listens")
    yield session
    session.close()


def rows_of(session, kind):
    return [row for row in session.rows(0, 100_000) if row[1] == kind]


def appears(session, kind, count=1):
    """Rows of a kind, when there are so many."""
    return eventually(
        lambda: found if len(found := rows_of(session, kind)) >= count else None, f"{count} of {kind}"
    )


def test_what_hosts_tell_is_shown(session, hosts):
    """Sealed and in clear on their way to the peer's host, which follows from the flow; each as long as it can be seen."""
    now = time.monotonic()
    encrypted = Verdict.ENCRYPT, FlowEncryption.X
    clear = Verdict.CLEAR, FlowEncryption.NX
    hosts["h1"].tell(
        Offered(now, "h1", 0, 1, "a", 1, 100),
        Classified(now, "h1", 0, 1, Direction.EGRESS, "a", 1, FLOW),
        Forwarded(now, "h1", 0, 1, How.ENCRYPTED, 1, 16, *encrypted),
        Sealed(now, "h1", 0, 1, "h2", (49152, 4433), 1, 3, 1),
        Classified(now, "h1", 0, 2, Direction.EGRESS, "a", 1, FLOW),
        Forwarded(now, "h1", 0, 2, How.CLEAR, 1, 11, *clear),
    )
    hosts["h2"].tell(Delivered(now, "h2", 0, 0, "b", 1, 100))
    (sealed,) = appears(session, "sealed")
    assert {key: sealed[7][key] for key in ("peer", "as", "fly")} == {
        "peer": "h2",
        "as": "sealed",
        "fly": 0.5,
    }
    appears(session, "delivered")
    encrypted_row, clear_row = appears(session, "forwarded", 2)
    assert "fly" not in encrypted_row[7]
    assert (clear_row[7]["peer"], clear_row[7]["as"]) == ("h2", "clear")
    assert json.dumps(session.stand())
    assert session.stand()["trouble"] == ""


def test_a_tunnel_that_was_up_before_is_shown_so(session):
    """Nobody tells of it any more: the status does."""
    states = appears(session, "state_changed", 2)
    assert {(row[2], row[7]["peer"], row[7]["state"]) for row in states} == {
        ("h1", "h2", "up"),
        ("h2", "h1", "up"),
    }


def test_a_card_that_starts_anew_tells_on(session, hosts):
    """It is noticed, its tunnels are those of the new one, and its events go on."""
    appears(session, "state_changed", 2)
    hosts["h2"].stop()
    eventually(lambda: "h2" in session.silent, "its silence is noticed")
    assert session.stand()["trouble"].startswith("h2: ")
    hosts["h2"].pid, hosts["h2"].state = 101, "handshaking"
    hosts["h2"].start()
    (restarted,) = appears(session, "card_restarted")
    assert restarted[2] == "h2"
    assert appears(session, "state_changed", 3)[-1][7]["state"] == "handshaking"
    eventually(lambda: hosts["h2"].is_heard, "somebody listens again")
    hosts["h2"].tell(Delivered(time.monotonic(), "h2", 0, 0, "b", 1, 100))
    appears(session, "delivered")


def test_what_hosts_have_counted_is_told_exactly(session):
    """With what goes on a second, once it is known."""
    eventually(lambda: session.rates.keys() == {"h1", "h2"}, "two reports of each")
    status = session.status()
    assert [host["host"] for host in status["hosts"]] == ["h1", "h2"]
    (h1, _) = status["hosts"]
    assert h1["counters"]["encrypted"] == 3
    assert h1["counters"]["refused: fragment"] == 1
    assert h1["rates"]["encrypted"] == 0
    assert status["silent"] == {}


def test_a_lab_that_is_up_is_changed(session, hosts, monkeypatch):
    """In its state, and every card is told; the page says so. Keys are made anew by the host that is asked."""
    monkeypatch.setattr(changes, "must_enter", lambda: False)
    session.set("virtual_networks.prod", ["encryption.enforcement=DropUnencrypted"])
    (row,) = appears(session, "lab_changed")
    assert "DropUnencrypted" in row[6]
    assert about(session)["settings"]["networks"]["prod"]["enforcement"] == "DropUnencrypted"
    for host in hosts.values():
        assert any(isinstance(each, SetValue) for each in host.asked)
    session.rekey("h1", "h2")
    assert [each.peer for each in hosts["h1"].asked if isinstance(each, Rekey)] == ["h2"]
    hosts["h1"].state = "idle"
    with pytest.raises(DtlsEmuError, match="no tunnel from h1 to h2 is up"):
        session.rekey("h1", "h2")


def test_what_cannot_be_done_to_a_run_is_refused_with_the_reason(session):
    """By the server, and the page knows it beforehand."""
    page = Page(session, "t", ["127.0.0.1:8000"])
    client = TestClient(page.app, base_url="http://127.0.0.1:8000")
    told = client.get("/t/api/0/about").json()
    assert (told["kind"], told["live"]) == ("run", True)
    assert set(told["refusals"]) == {"advance", "send", "fabric", "backend", "attack", "handshake"}
    for name, body in (
        ("advance", {}),
        ("send", {"what": "replay"}),
        ("attack", {"name": "replay"}),
    ):
        answer = client.post(f"/t/api/0/{name}", json=body)
        assert answer.status_code == 409
        assert answer.json()["error"] == told["refusals"][name]
    answer = client.post("/t/api/0/restart", json={"host": "h1", "backend": "null"})
    assert answer.status_code == 422
    assert "up --backend" in answer.json()["error"]
    assert client.get("/t/api/0/status").json()["hosts"]


def test_what_is_kept_of_a_run_has_an_end(session, hosts, monkeypatch):
    """Then it begins anew, and whoever looks at it is told."""
    appears(session, "state_changed", 2)
    monkeypatch.setattr(run_session, "MOST_EVENTS", 2)
    assert session.stand()["era"] == 0
    hosts["h1"].tell(Offered(time.monotonic(), "h1", 0, 1, "a", 1, 100))
    appears(session, "offered")
    assert session.stand()["era"] == 1
    assert len(session.events) == 1


def test_a_run_that_is_not_there_is_told_with_those_that_are(runs):
    """As any command says it."""
    with pytest.raises(RunError, match="there is no run `other`; there is: demo"):
        RunSession("other", runs=runs)
