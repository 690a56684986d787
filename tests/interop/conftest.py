"""Our tunnel on real UDP sockets of the loopback device, and programs of other people opposite it."""

from __future__ import annotations

import os
import secrets
import selectors
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.crypto.registry import load
from dtls_emu.host.credentials import write_credentials
from dtls_emu.machine.netns import entered
from dtls_emu.tunnel.context import build_contexts
from dtls_emu.tunnel.cookie import CookieJar
from dtls_emu.tunnel.peers import Identity, Peer
from dtls_emu.tunnel.ports import PortAllocator
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.tunnel.tunnel import Tunnel
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.overhead import RECORD_PREFIX, TAG


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dtls_emu.crypto.authority import HostCredentials
    from dtls_emu.tunnel.outcome import Outcome
    from dtls_emu.vocabulary import DropReason


LOOPBACK = "127.0.0.1"
OURS, THEIRS = "ours.test", "theirs.test"
PATIENCE = 60.0
"""Seconds after which something that has not happened is taken as a failure; nothing waits for it otherwise."""


@dataclass(frozen=True)
class Pki:
    """One CA, and a certificate for each side.

    Fields:
        ours: credentials of our tunnel.
        theirs: folder with host.pem, host.key and ca-interop.pem for the other program.
    """

    authority: RegionAuthority
    ours: HostCredentials
    theirs: Path


class FreePorts(PortAllocator):
    """Stands in for the card's allocator: ports that the kernel says are free, bound as they are handed out."""

    def __init__(self, bind: Callable[[int], int]) -> None:
        super().__init__()
        self._bind = bind

    def take(self) -> int:
        return self._bind(0)

    def give_back(self, port: int) -> None:
        """The socket is closed with the others."""


class Endpoint:
    """A tunnel of ours, driven by sockets and the clock of the machine.

    Fields:
        tunnel: ours.
        port: where the server's side listens, ours or theirs.
        received: packets that came out.
        dropped: records that were dropped, by reason.
        lost: datagrams that `lose` and `lose_incoming` have taken out.
        sent, heard: datagrams that went out and came in.
        lose: says of each outgoing datagram whether the network loses it.
        lose_incoming: likewise for what arrives.
        namespace: network namespace where sockets are made from now on; None for that of the tests.
    """

    def __init__(self, pki: Pki, *, port: int = 0, listens: bool, goodbye: float = 1.0) -> None:
        """
        Args:
            pki: certificates.
            port: of the other program, when we are to be the client.
            listens: whether we are the server, on a free port.
            goodbye: seconds to wait for an answer to our close_notify.
        """
        self._selector = selectors.DefaultSelector()
        self._sockets: dict[int, socket.socket] = {}
        self._programs: list[Program] = []
        self._start = time.monotonic()
        self.namespace: str | None = None
        self.port = self._bind(0) if listens else port
        self.received: list[bytes] = []
        self.dropped: dict[DropReason, int] = {}
        self.lost: list[bytes] = []
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []
        self.lose: Callable[[bytes], bool] = lambda _datagram: False
        self.lose_incoming: Callable[[bytes], bool] = lambda _datagram: False
        now = datetime.now(UTC)
        contexts = build_contexts(pki.ours, [pki.authority.certificate])
        self.tunnel = Tunnel(
            Identity(OURS, LOOPBACK, contexts, CookieJar(secrets.token_bytes(32)), now),
            Peer(THEIRS, LOOPBACK, pki.authority.certificate),
            backend=load("cryptography"),
            settings=TunnelSettings(
                port=self.port, require_alpn=False, initial_timeout=0.2, confirm_timeout=goodbye, drain=1.0
            ),
            ports=FreePorts(self._bind),
            path_mtu=1228,
        )

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def watch(self, program: Program) -> Program:
        """Read what a program writes while waiting for something."""
        self._programs.append(program)

        def read() -> None:
            program.read()
            if program.ended:
                self._selector.unregister(program)

        self._selector.register(program, selectors.EVENT_READ, read)
        return program

    def connect(self) -> None:
        """Begin a handshake."""
        self._carry_out(self.tunnel.connect(self.now))
        self.until(lambda: self.tunnel.state is TunnelState.UP)

    def send(self, *packets: bytes) -> None:
        """Seal packets, each in a record, and send them."""
        for packet in packets:
            burst = Burst.from_packets([packet], headroom=RECORD_PREFIX, tailroom=TAG)
            association, outcome = self.tunnel.seal(burst, self.now)
            self._put(*association.ends, burst.row(0).tobytes())
            self._carry_out(outcome)

    def rekey(self) -> None:
        """Begin a fresh association beside the live one, and wait until it seals."""
        before = self.tunnel.handshakes
        outcome = self.tunnel.rekey(self.now)
        assert not outcome.is_quiet
        self._carry_out(outcome)
        self.until(lambda: self.tunnel.handshakes == before + 1 and self.tunnel.state is TunnelState.UP)

    def close(self) -> None:
        """Say goodbye, and wait until the other side has answered or its time is over."""
        self._carry_out(self.tunnel.close(self.now))
        self.until(lambda: self.tunnel.state is TunnelState.CLOSED)

    def until(self, condition: Callable[[], object]) -> None:
        """Let datagrams and time pass until something is so."""
        give_up = self.now + PATIENCE
        while not condition():
            assert self.now < give_up, self._account()
            wait = min(self.tunnel.timeout(), give_up) - self.now
            for key, _ in self._selector.select(max(wait, 0.0)):
                key.data()
            if self.tunnel.timeout() <= self.now:
                self._carry_out(self.tunnel.handle_timeout(self.now))

    def shut(self) -> None:
        """Close the sockets."""
        self._selector.close()
        for sock in self._sockets.values():
            sock.close()

    def _bind(self, port: int) -> int:
        with entered(self.namespace):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((LOOPBACK, port))
        sock.setblocking(False)
        number: int = sock.getsockname()[1]
        self._sockets[number] = sock
        self._selector.register(sock, selectors.EVENT_READ, lambda: self._receive(sock, number))
        return number

    def _receive(self, sock: socket.socket, port: int) -> None:
        datagram, (_, remote) = sock.recvfrom(65_536)
        if self.lose_incoming(datagram):
            self.lost.append(datagram)
            return
        self.heard.append(datagram)
        burst = Burst.from_packets([datagram])
        self._carry_out(self.tunnel.receive(burst, port, remote, self.now))

    def _carry_out(self, outcome: Outcome) -> None:
        for burst, status in outcome.opened:
            rows = zip(burst.rows(), status.tolist(), strict=True)
            self.received += [row.tobytes() for row, code in rows if code == 0]
        for reason, count, _mark in outcome.dropped:
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        for out in outcome.datagrams:
            self._put(out.local_port, out.remote_port, out.datagram)

    def _put(self, local: int, remote: int, datagram: bytes) -> None:
        if self.lose(datagram):
            self.lost.append(datagram)
        else:
            self.sent.append(datagram)
            self._sockets[local].sendto(datagram, (LOOPBACK, remote))

    def _account(self) -> str:
        outputs = "\n".join(program.output.decode(errors="replace") for program in self._programs)
        return f"{self.tunnel.state} {self.tunnel.failure!r} {self.dropped} {self.received}\n{outputs}"


class Program:
    """Somebody else's program, its input and all of its output.

    Fields:
        output: what it has written, complaints among it.
        ended: it has closed its output.
    """

    def __init__(self, *command: str | Path, enter: Sequence[str] = ()) -> None:
        """
        Args:
            command: with its arguments.
            enter: in front of them, to run it somewhere else.
        """
        self.output = b""
        self.ended = False
        self._process = subprocess.Popen(
            [*enter, *map(str, command)],
            stdin=PIPE,
            stdout=PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self.fileno(), False)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def fileno(self) -> int:
        """For a selector: readable when there is output."""
        return self._stdout.fileno()

    def read(self) -> None:
        """Take what it has written."""
        chunk = self._stdout.read(65_536)
        self.output += chunk or b""
        self.ended = chunk == b""

    def write(self, data: bytes) -> None:
        """Type something."""
        self._stdin.write(data)

    def end_input(self) -> None:
        """Let it see the end of its input, on which most programs say goodbye."""
        self._stdin.close()

    def reap(self) -> None:
        """End it and what it has started, whatever they are doing."""
        os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._stdin.close()
        self._stdout.close()


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """Certificates of one CA for both sides; they carry host names, as those of a lab do."""
    now = datetime.now(UTC)
    authority = RegionAuthority.create("interop", now)
    folder = tmp_path_factory.mktemp("theirs")
    write_credentials(folder, authority.issue(THEIRS, now), {"interop": authority.certificate})
    return Pki(authority, authority.issue(OURS, now), folder)


@pytest.fixture
def make_endpoint(pki):
    """Make endpoints of ours; their sockets are closed at the end of the test."""
    with ExitStack() as stack:

        def make(**options) -> Endpoint:
            endpoint = Endpoint(pki, **options)
            stack.callback(endpoint.shut)
            return endpoint

        yield make


@pytest.fixture
def run():
    """Run programs; each is dead and reaped at the end of the test."""
    with ExitStack() as stack:

        def start(*command, **options) -> Program:
            program = Program(*command, **options)
            stack.callback(program.reap)
            return program

        yield start


@pytest.fixture
def free_port():
    """A port that nothing uses, for a program that cannot choose one itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((LOOPBACK, 0))
        return sock.getsockname()[1]
