"""The control socket: what it answers, and that nothing a client does harms the host."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.host.control import server as control
from dtls_emu.host.control.client import ControlError, ask, is_served, main
from dtls_emu.host.control.server import ChangeTarget, ControlServer, ControlSocketError, SetValue


class Host:
    """A server, driven by hand, and what it was asked."""

    def __init__(self, path):
        self.asked = []
        self.now = 0.0
        self.answers = {}
        self.server = ControlServer(path, self.answer)
        self.path = path

    def answer(self, request):
        self.asked.append(request)
        found = self.answers.get(request.command, {})
        if isinstance(found, Exception):
            raise found
        return found

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.path))
        client.setblocking(False)
        return client

    def serve(self, turns=12):
        for _ in range(turns):
            self.server.serve(self.now)

    def talk(self, *lines):
        """Send lines at once and return the answers."""
        with self.connect() as client:
            client.sendall(b"".join(lines))
            self.serve(turns=4 + 2 * len(lines))
            return replies(client)


def replies(client):
    """The answers that are there, and None when the host has hung up."""
    data, ended = b"", False
    with suppress(BlockingIOError):
        while part := client.recv(1 << 16):
            data += part
        ended = True
    return [json.loads(line) for line in data.splitlines()] + [None] * ended


@pytest.fixture
def host(tmp_path):
    """A control socket."""
    made = Host(tmp_path / "h1.sock")
    yield made
    made.server.close()


PING = b'{"command": "ping"}\n'
OK = {"ok": True, "result": {}}


def test_every_command_is_answered(host):
    """With what the host says."""
    host.answers = {"ping": {"pid": 7}, "rekey": {"peers": ["h2"]}}
    assert host.talk(PING) == [{"ok": True, "result": {"pid": 7}}]
    assert host.talk(b'{"command": "rekey", "peer": "h2"}\n') == [{"ok": True, "result": {"peers": ["h2"]}}]
    for command in ("ready", "status", "close"):
        assert host.talk(json.dumps({"command": command}).encode() + b"\n") == [OK]
    line = b'{"command": "set", "path": ["links", 0, "loss"], "value": "1%"}\n'
    assert host.talk(line) == [OK]
    assert host.asked[-1] == SetValue(command="set", path=("links", 0, "loss"), value="1%")
    assert host.talk(b'{"command": "change", "target": "prod", "values": {"a": {"b": null}}}\n') == [OK]
    assert host.asked[-1] == ChangeTarget(command="change", target="prod", values={"a": {"b": None}})


def test_a_refusal_is_an_answer(host):
    """One line a problem where a lab would be wrong."""
    host.answers = {"rekey": DtlsEmuError("no such peer"), "set": LabFileError(["a: bad", "b: worse"])}
    refused = {"ok": False, "error": "no such peer", "problems": []}
    assert host.talk(b'{"command": "rekey"}\n') == [refused]
    wrong = {"ok": False, "error": "the lab would be wrong", "problems": ["a: bad", "b: worse"]}
    assert host.talk(b'{"command": "set", "path": ["x"], "value": 1}\n') == [wrong]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"hello\n",
        b"[]\n",
        b"null\n",
        b"{}\n",
        b'{"command": "reboot"}\n',
        b'{"command": "ping", "extra": 1}\n',
        b'{"command": "set", "value": 1}\n',
        b'{"command": "set", "path": [], "value": 1}\n',
        b'{"command": "set", "path": [1.5], "value": 1}\n',
        b'{"command": "set", "path": [true], "value": 1}\n',
        b'{"command": "set", "path": ' + json.dumps(["x"] * 9).encode() + b', "value": 1}\n',
        b'{"command": "change", "target": "prod"}\n',
        b'{"command": "change", "target": "prod", "values": {}}\n',
        b'{"command": "change", "target": "prod", "values": ["loss=1%"]}\n',
        b'{"command": "change", "target": ["prod"], "values": {"a": 1}}\n',
        b'{"command": "change", "target": "' + b"-" * 129 + b'", "values": {"a": 1}}\n',
        b'{"command": "rekey", "peer": 5}\n',
        b"\xff\xfe\x00\n",
        b"[" * 10_000 + b"]" * 10_000 + b"\n",
        b'{"command": "set", "path": ["x"], "value": ' + b"[" * 9000 + b"]" * 9000 + b"}\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_answered(host, line):
    """On the same connection."""
    refusal, answer = host.talk(line, PING)
    assert (refusal["ok"], refusal["error"]) == (False, "not a request")
    assert answer == OK
    assert [request.command for request in host.asked] == ["ping"]


@given(st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_harm_the_host(host, data):
    """Whatever one client sends, another one is answered; nothing of either is kept once they have gone."""
    host.talk(data)
    assert host.talk(PING) == [OK]
    host.serve()
    assert host.server._clients == {}


def test_requests_are_answered_one_a_turn_and_in_order(host):
    """A client that sends a thousand at once takes no more than its turn."""
    with host.connect() as client:
        client.sendall(PING * 50)
        host.serve(turns=2)
        assert 0 < len(host.asked) <= 2
        host.serve(turns=60)
        assert replies(client) == [OK] * 50


def test_a_line_comes_in_pieces(host):
    """As streams do."""
    with host.connect() as client:
        for byte in PING:
            client.send(bytes([byte]))
            host.serve(turns=2)
        assert replies(client) == [OK]


def test_a_line_without_end_is_refused_and_its_sender_dismissed(host):
    """No more than its limit is kept."""
    with host.connect() as client:
        with suppress(BlockingIOError, BrokenPipeError):
            for _ in range(100):
                client.send(b"x" * 4096)
                host.serve(turns=1)
        host.serve()
        (refusal, end) = replies(client)
        assert refusal["error"] == f"a request has at most {control.MAX_LINE} bytes"
        assert end is None
    assert host.talk(PING) == [OK]


def test_a_silent_client_is_dismissed_in_time(host):
    """At the moment that the loop is told to wake up for."""
    assert host.server.next_timeout() == float("inf")
    with host.connect() as client:
        host.serve()
        assert host.server.next_timeout() == control.CLIENT_TIMEOUT
        host.now = control.CLIENT_TIMEOUT
        host.serve()
        assert replies(client) == [None]
    assert host.server.next_timeout() == float("inf")


def test_a_client_that_does_not_read_is_dismissed_and_holds_nobody_up(host):
    """Its answer fills the kernel's buffer, and then waits for nobody's good."""
    host.answers = {"status": {"long": "x" * 1_000_000}}
    with host.connect() as client:
        client.sendall(b'{"command": "status"}\n')
        host.serve()
        assert host.talk(PING) == [OK]
        host.now = control.CLIENT_TIMEOUT
        host.serve()
        assert host.server._clients == {}


def test_a_long_answer_arrives_whole(host):
    """In as many turns as it takes."""
    host.answers = {"status": {"long": "x" * 3_000_000}}
    with host.connect() as client:
        client.sendall(b'{"command": "status"}\n')
        data = b""
        while not data.endswith(b"\n"):
            host.serve(turns=1)
            with suppress(BlockingIOError):
                data += client.recv(1 << 20)
    assert json.loads(data)["result"] == {"long": "x" * 3_000_000}


def test_one_client_too_many_takes_the_place_of_the_most_silent(host):
    """Nobody can lock the others out."""
    clients = []
    for index in range(control.MAX_CLIENTS):
        host.now = index * 0.1
        clients.append(host.connect())
        host.serve()
    clients[0].sendall(PING)  # the first one speaks, so the second has been silent longest
    host.now = 2.0
    host.serve()
    late = host.connect()
    host.serve()
    late.sendall(PING)
    host.serve()
    assert replies(late) == [OK]
    assert replies(clients[0]) == [OK]
    assert replies(clients[1]) == [None]
    assert replies(clients[2]) == []
    for client in [*clients, late]:
        client.close()


def test_clients_come_and_go_without_a_trace(host):
    """Also those that vanish in the middle of a request, or before their answer."""
    before = len([*Path("/proc/self/fd").iterdir()])
    for data in (b"", b'{"comm', PING, PING * 3):
        for _ in range(20):
            with host.connect() as client:
                client.sendall(data)
            host.serve(turns=3)
    host.serve()
    assert host.server._clients == {}
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_only_its_owner_can_open_it(host):
    """Mode 0600, in a folder that is made for its owner only."""
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o600
    nested = Host(host.path.parent / "run" / "demo" / "h2.sock")
    assert stat.S_IMODE(nested.path.parent.stat().st_mode) == 0o700
    nested.server.close()


def test_the_umask_is_as_it_was(tmp_path):
    """It belongs to the whole process."""
    before = os.umask(0o022)
    try:
        Host(tmp_path / "x.sock").server.close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_the_socket_of_a_killed_host_is_replaced_and_that_of_a_live_one_is_not(host):
    """A second host with the same name is an error that says so."""
    with pytest.raises(ControlSocketError, match=r"h1\.sock: a host answers there already"):
        Host(host.path)
    host.server._listener.close()  # as the kernel does after kill -9
    again = Host(host.path)
    assert again.talk(PING) == [OK]
    host.server._listener = socket.socket()
    host.server.close()
    assert again.path.exists()  # it is not the old one's to remove
    again.server.close()
    assert not again.path.exists()


def test_what_is_there_and_no_socket_is_left_alone(tmp_path):
    """Somebody else's file."""
    path = tmp_path / "h1.sock"
    path.write_text("precious")
    with pytest.raises(ControlSocketError, match="Address already in use"):
        Host(path)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_says_so(tmp_path):
    """The kernel's limit is 107 bytes."""
    with pytest.raises(ControlSocketError, match="AF_UNIX path too long"):
        Host(tmp_path / ("x" * 120))


# ----------------------------------------------------------------------------------------- the client


@pytest.fixture
def answering(host):
    """The host on a thread of its own, until the end of the test."""
    done = threading.Event()

    def run():
        while not done.is_set():
            host.server._epoll.poll(0.02)
            host.server.serve(host.now)

    thread = threading.Thread(target=run)
    thread.start()
    yield host
    done.set()
    thread.join()


def test_asking_gives_the_result_or_an_error_with_its_problems(answering):
    """What a command prints is what the host said."""
    answering.answers = {"ping": {"pid": 7}, "set": LabFileError(["a: bad"])}
    assert ask(answering.path, "ping") == {"pid": 7}
    with pytest.raises(ControlError, match="the lab would be wrong") as caught:
        ask(answering.path, "set", path=["x"], value=None)
    assert caught.value.problems == ("a: bad",)


def test_nobody_there_is_an_error_that_names_the_socket(tmp_path):
    """No file, no listener, no answer, or a path that no socket can have, which is not the same as silence."""
    with pytest.raises(ControlError, match=r"x: AF_UNIX path too long$"):
        ask(tmp_path / ("x" * 120), "ping")
    with pytest.raises(ControlError, match="surrogates not allowed"):
        ask(tmp_path / "\ud800", "ping")
    with pytest.raises(ControlError, match=r"h1\.sock: No such file or directory"):
        ask(tmp_path / "h1.sock", "ping")
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "h2.sock"))
        with pytest.raises(ControlError, match=r"h2\.sock: Connection refused"):
            ask(tmp_path / "h2.sock", "ping")
        mute.listen()
        with pytest.raises(ControlError, match=r"h2\.sock: no answer in 0\.05 seconds"):
            ask(tmp_path / "h2.sock", "ping", timeout=0.05)


DEEP = b"[" * 100_000 + b"\n"
"""Nested deeper than Python recurses."""


@pytest.mark.parametrize("answer", [b"", b"hm\n", b"{}\n", b'{"ok": false}\n', b"[1]\n", DEEP])
def test_what_is_no_answer_is_an_error(tmp_path, answer):
    """Something else listens there."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "x.sock"))
        other.listen()

        def speak():
            connection, _ = other.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(ControlError, match="not the answer of a host"):
            ask(tmp_path / "x.sock", "ping")
        thread.join()


def test_the_probe_of_a_container_exits_with_the_answer(answering, capsys):
    """0 when ready, 1 with the reason when not, 2 when asked for something else."""
    answering.answers = {"ready": {"ready": True, "reason": ""}}
    assert main([str(answering.path), "ready"]) == 0
    assert main([str(answering.path), "ping"]) == 0
    answering.answers = {"ready": {"ready": False, "reason": "tun0 is gone"}}
    assert main([str(answering.path), "ready"]) == 1
    assert capsys.readouterr().err == "tun0 is gone\n"
    assert main([str(answering.path), "close"]) == 2
    assert main(["/nowhere", "ready"]) == 1


def test_whether_a_host_is_behind_a_socket_is_told_without_its_help(host, tmp_path):
    """One that is busy with so many that nobody more can wait is; one that was killed, or never was, is not."""
    assert is_served(host.path)
    waiting = []
    with suppress(BlockingIOError):
        while True:
            waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
            waiting[-1].connect(str(host.path))
    assert is_served(host.path)
    for each in waiting:
        each.close()
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(dead))
    assert not is_served(dead)
    assert not is_served(tmp_path / "nowhere.sock")
