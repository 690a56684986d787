"""A lab under load while everything around it is disturbed: does traffic come back, does anything leak or get lost?

Two VMs send each other datagrams and a TCP stream. Meanwhile one end of the cable is pulled out and put back,
keys are renewed, links are changed, a card is killed (SIGKILL) and started anew, and every control socket is
hammered with good, bad and unfinished requests. Then all that stops, and a clean stretch has to arrive to the
last datagram. As root::

    python bench/soak.py --seconds 60

It fails (exit 1) when traffic does not resume by itself after a disturbance, when a card's books do not balance
at any look, when a card has more file descriptors or much more memory than before, or when the clean stretch
loses anything.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtls_emu.cli.streams import run_command
from dtls_emu.deploy.changes import change_run
from dtls_emu.deploy.launcher import process_of
from dtls_emu.deploy.namespaces import set_link_up
from dtls_emu.deploy.plan import cable_device, namespace_name
from dtls_emu.deploy.runs import restart_card, start_run, stop_run
from dtls_emu.deploy.state import RUNS, CardProcess, read_state
from dtls_emu.files.results import ResultFile
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.lab import load_lab
from dtls_emu.machine.environment import environment
from dtls_emu.machine.netns import entered
from dtls_emu.machine.processes import is_alive
from dtls_emu.testing.waiting import eventually


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


HOSTS = ("host-1", "host-2")
ADDRESSES = {"vm-a": "10.0.0.4", "vm-b": "10.0.0.5"}
STREAM_PORT, TRANSFER_PORT = 7001, 7002

RATE = 1000
"""Datagrams a second, each way."""

DATAGRAM = 1200
NUMBER = struct.Struct("!Q")

OUTAGE = 1.0
"""Seconds that a cable is out."""

CALM = 2.0
"""Seconds between two disturbances."""

RESUMED_IN = 60.0
"""Seconds after a disturbance in which everything must flow again. A handshake whose flight was lost is tried again
after one; a TCP that heard nothing for as long as a card needs to start asks again after as long."""

SETTLED_IN = 30.0
"""Seconds after which nothing is kept any more: replaced keys are good for 10, silent clients, too."""

CLEAN = 3.0
"""Seconds of the clean stretch."""

MEMORY_GROWTH = 16 << 20
"""Bytes that a card may have grown by: less than a thousandth of what was carried, were it kept. Some is not there
at the start because it was not touched yet: a device's memory has 4 MiB, and most of it is for long bursts."""

MAX_LINE = 64 << 10
"""Of the control socket."""


class Stream:
    """Numbered datagrams from one VM to another, at a steady rate."""

    def __init__(self, run: str, source: str, destination: str) -> None:
        self.name = f"{source} to {destination}"
        self.sent = self.unsent = self.received = self.twice = 0
        self.last_arrival = 0.0
        self._target = (ADDRESSES[destination], STREAM_PORT)
        self._seen: set[int] = set()
        with entered(namespace_name(run, source)):
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with entered(namespace_name(run, destination)):
            self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self._receiver.bind(self._target)
        self._receiver.settimeout(0.1)

    def send(self, stopping: threading.Event) -> None:
        filling = bytes(DATAGRAM - NUMBER.size)
        due, number = time.monotonic(), 0
        while not stopping.is_set():
            try:
                self._sender.sendto(NUMBER.pack(number) + filling, self._target)
                self.sent += 1
                number += 1
            except OSError:  # without its card a NIC has no carrier
                self.unsent += 1
            due = max(due + 1 / RATE, time.monotonic() - 0.05)
            time.sleep(max(0.0, due - time.monotonic()))

    def receive(self, stopping: threading.Event) -> None:
        quiet = False
        while not (stopping.is_set() and quiet):
            try:
                (number,) = NUMBER.unpack_from(self._receiver.recv(2 * DATAGRAM))
            except TimeoutError:
                quiet = True
                continue
            quiet = False
            self.last_arrival = time.monotonic()
            self.twice += number in self._seen
            self._seen.add(number)
            self.received += 1

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


class Transfer:
    """One TCP connection that never ends, as fast as it goes."""

    name = "TCP"

    def __init__(self, run: str, source: str, destination: str) -> None:
        self.received = 0
        self.last_arrival = 0.0
        with entered(namespace_name(run, destination)):
            listener = socket.create_server((ADDRESSES[destination], TRANSFER_PORT))
        with listener:
            with entered(namespace_name(run, source)):
                self._sender = socket.create_connection(listener.getsockname(), timeout=RESUMED_IN)
            self._receiver, _ = listener.accept()
        self._sender.settimeout(0.1)
        self._receiver.settimeout(0.1)

    def send(self, stopping: threading.Event) -> None:
        block = bytes(1 << 16)
        while not stopping.is_set():
            with suppress(TimeoutError):
                self._sender.send(block)

    def receive(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            with suppress(TimeoutError):
                self.received += len(self._receiver.recv(1 << 20))
                self.last_arrival = time.monotonic()

    def close(self) -> None:
        self._sender.close()
        self._receiver.close()


class Load:
    """Everything that VMs send, until it is stopped. Failures of threads are raised then."""

    def __init__(self, run: str, *, transfer: bool = True) -> None:
        ways = (("vm-a", "vm-b"), ("vm-b", "vm-a"))
        self.streams = [Stream(run, *way) for way in ways]
        self.parts: list[Stream | Transfer] = [*self.streams]
        if transfer:
            self.parts.append(Transfer(run, "vm-a", "vm-b"))
        self._stop_sending, self._stop_receiving = threading.Event(), threading.Event()
        self._senders = [Worker(part.send, self._stop_sending) for part in self.parts]
        self._receivers = [Worker(part.receive, self._stop_receiving) for part in self.parts]

    def resumed_after(self, moment: float) -> dict[str, float]:
        """Wait until everything has arrived since a moment; how long it took each part, in seconds."""
        took: dict[str, float] = {}
        while len(took) < len(self.parts):
            for part in self.parts:
                if part.name not in took and part.last_arrival > moment:
                    took[part.name] = part.last_arrival - moment
            if time.monotonic() > moment + RESUMED_IN:
                silent = [part.name for part in self.parts if part.name not in took]
                raise SoakError(f"nothing arrived within {RESUMED_IN:g} seconds: {', '.join(silent)}")
            time.sleep(0.01)
        return took

    def stop(self) -> None:
        self._stop_sending.set()
        for worker in self._senders:
            worker.join()
        self._stop_receiving.set()
        for worker in self._receivers:
            worker.join()
        for part in self.parts:
            part.close()


class Worker(threading.Thread):
    """A thread whose error is raised where it is joined."""

    def __init__(self, work: Callable[[threading.Event], None], stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self._work, self._stopping = work, stopping
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work(self._stopping)
        except Exception as error:  # raised again by join
            self._error = error

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        if self._error is not None:
            raise self._error


class Hammer:
    """A client of a control socket that behaves badly, and looks at the books whenever it is answered."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.requests = self.refused = 0
        self.unbalanced: list[str] = []
        self._random = random.Random(seed)
        self._idle: list[socket.socket] = []

    def work(self, stopping: threading.Event) -> None:
        deeds = (self._status, self._junk, self._too_long, self._leave, self._stay, self._wrong_change)
        while not stopping.is_set():
            try:
                self._random.choice(deeds)()
                self.requests += 1
            except (OSError, ControlError):  # the card is being started anew, or has enough of us
                self.refused += 1
                time.sleep(0.01)
        for connection in self._idle:
            connection.close()

    def _status(self) -> None:
        self.unbalanced += wrong_books(ask(self.path, "status"))

    def _junk(self) -> None:
        with self._connected() as connection:
            connection.sendall(self._random.randbytes(200) + b"\n")
            connection.recv(1 << 16)

    def _too_long(self) -> None:
        with self._connected() as connection:
            connection.sendall(bytes(MAX_LINE + 1))
            connection.recv(1 << 16)

    def _leave(self) -> None:
        with self._connected() as connection:
            connection.sendall(b'{"command": "status"}\n')

    def _stay(self) -> None:
        self._idle.append(self._connected())
        self._idle[-1].sendall(b'{"command": ')
        if len(self._idle) > 20:
            self._idle.pop(0).close()

    def _wrong_change(self) -> None:
        with suppress(ControlError):
            ask(self.path, "set", path=["hosts", "host-1", "underlay"], value=self._random.random())

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(5.0)
        try:
            connection.connect(str(self.path))
        except OSError:
            connection.close()
            raise
        return connection


class SoakError(Exception):
    """What must not happen."""


@dataclass
class Card:
    """What a card uses."""

    descriptors: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Card:
        """From /proc; memory is what is the process's own."""
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        own = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        return cls(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), own << 10)


@dataclass
class Report:
    """What became of it.

    Fields:
        disturbances: how often each was done.
        resumed_in: the longest that it took after each until something had arrived again, in seconds, by what.
        streams: datagrams of VMs, over all of the disturbed time.
        transferred: bytes that came by TCP.
        requests, refused: to control sockets.
        sent, received: datagrams that host 1 put on the wire, and that all cards of host 2 took from it; the
            difference was lost on the wire, or was with a card when it was killed.
        before, after: what cards use, by host; what was started anew is to use as much as the first one did.
        failures: everything that is wrong; empty when all is well.
    """

    disturbances: dict[str, int] = field(default_factory=dict)
    resumed_in: dict[str, dict[str, float]] = field(default_factory=dict)
    streams: dict[str, dict[str, int]] = field(default_factory=dict)
    transferred: int = 0
    requests: int = 0
    refused: int = 0
    sent: int = 0
    received: int = 0
    before: dict[str, Card] = field(default_factory=dict)
    after: dict[str, Card] = field(default_factory=dict)
    clean: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def soak(seconds: float, *, seed: int = 1, say: Callable[[str], object] = lambda _line: None) -> Report:
    """Bring `two-vms` up, disturb it for at least so many seconds and each disturbance once, take it down."""
    run = f"soak-{os.getpid()}"
    report = Report()
    with ExitStack() as undo:
        start_run(load_lab("two-vms"), run)
        undo.callback(stop_run, run)
        load = Load(run)
        load.resumed_after(time.monotonic())
        time.sleep(CALM)  # everything that is made once has been made
        report.before = {host: Card.of(pid_of(run, host)) for host in HOSTS}
        with hammered(run, seed, report):
            disturb(run, load, seconds, report, say)
        load.stop()
        account(run, load, report)
        await_release(run, report)
        report.failures += [line for host in HOSTS for line in wrong_books(status(run, host))]
        clean_stretch(run, report)
    return report


def disturb(run: str, load: Load, seconds: float, report: Report, say: Callable[[str], object]) -> None:
    """Do everything in turn until time is over."""
    started = time.monotonic()
    while time.monotonic() < started + seconds or len(report.disturbances) < len(DISTURBANCES):
        for name, act in DISTURBANCES.items():
            act(run, report)
            moment = time.monotonic()
            try:
                took = load.resumed_after(moment)
            except SoakError as error:
                report.failures.append(f"{name}: {error}")
                return
            report.disturbances[name] = report.disturbances.get(name, 0) + 1
            longest = report.resumed_in.setdefault(name, dict.fromkeys(took, 0.0))
            longest.update({part: max(value, longest[part]) for part, value in took.items()})
            say(f"{moment - started:6.1f} s  {name}: {flowing(took)}")
            time.sleep(CALM)


def pull_near(run: str, _report: Report) -> None:
    """Take the cable out at host 1, which has no route then."""
    pull(run, HOSTS[0], HOSTS[1])


def pull_far(run: str, _report: Report) -> None:
    """Take the cable out at host 2: host 1 has a route, and no carrier."""
    pull(run, HOSTS[1], HOSTS[0])


def pull(run: str, host: str, peer: str) -> None:
    set_link_up(namespace_name(run, host), cable_device(peer), up=False)
    time.sleep(OUTAGE)
    set_link_up(namespace_name(run, host), cable_device(peer), up=True)


def rekey(run: str, _report: Report) -> None:
    """Have fresh keys made on both sides at once."""
    for host in HOSTS:
        ask(socket_of(run, host), "rekey")


def change_link(run: str, _report: Report) -> None:
    """Make the fabric smaller and lossy, and as it was."""
    change_run(run, "-".join(HOSTS), ["loss=5%", "mtu=1400"])
    time.sleep(OUTAGE)
    change_run(run, "-".join(HOSTS), ["loss=", "mtu="])


def kill_card(run: str, report: Report) -> None:
    """Kill the card of host 2, and start it anew while everybody goes on sending."""
    report.received += status(run, HOSTS[1])["fabric"]["received"]
    process = process_of(card_of(run, HOSTS[1]))
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(process), "the killed card is gone")
    restart_card(run, HOSTS[1])


DISTURBANCES: dict[str, Callable[[str, Report], None]] = {
    "cable out at host-1": pull_near,
    "fresh keys": rekey,
    "cable out at host-2": pull_far,
    "link changed": change_link,
    "card killed": kill_card,
}


@contextmanager
def hammered(run: str, seed: int, report: Report) -> Iterator[None]:
    """Have two clients at every control socket during the body."""
    hammers = [Hammer(socket_of(run, host), seed + index) for index, host in enumerate(HOSTS * 2)]
    stopping = threading.Event()
    workers = [Worker(hammer.work, stopping) for hammer in hammers]
    try:
        yield
    finally:
        stopping.set()
        for worker in workers:
            worker.join()
    report.requests = sum(hammer.requests for hammer in hammers)
    report.refused = sum(hammer.refused for hammer in hammers)
    report.failures += sorted({line for hammer in hammers for line in hammer.unbalanced})


def account(run: str, load: Load, report: Report) -> None:
    """What VMs and wire have seen of the disturbed time."""
    for stream in load.streams:
        books = {"sent": stream.sent, "unsent": stream.unsent, "received": stream.received}
        report.streams[stream.name] = books
        if stream.twice:
            report.failures.append(f"{stream.twice} datagrams were delivered twice")
    report.transferred = sum(part.received for part in load.parts if isinstance(part, Transfer))
    report.sent = status(run, HOSTS[0])["fabric"]["sent"]
    report.received += status(run, HOSTS[1])["fabric"]["received"]
    if report.received > report.sent:
        report.failures.append(f"{report.received} datagrams were received, but only {report.sent} sent")


def await_release(run: str, report: Report) -> None:
    """Wait until what is kept for a while has been let go: old keys, silent clients."""
    deadline = time.monotonic() + SETTLED_IN
    while True:
        report.after = {host: Card.of(pid_of(run, host)) for host in HOSTS}
        found = leaks(report)
        if not found or time.monotonic() > deadline:
            report.failures += found
            return
        time.sleep(0.5)


def leaks(report: Report) -> list[str]:
    """What cards use more of than before."""
    found: list[str] = []
    # Together: the client of a handshake has a socket more than its server, and after a while another is client.
    before, after = (
        sum(card.descriptors for card in cards.values()) for cards in (report.before, report.after)
    )
    if after > before:
        found.append(f"{before} descriptors became {after}")
    for host in HOSTS:
        before, after = report.before[host].memory, report.after[host].memory
        if after > before + MEMORY_GROWTH:
            found.append(f"{host}: {before} bytes of memory became {after}")
    return found


def clean_stretch(run: str, report: Report) -> None:
    """Without any disturbance every datagram arrives, at the VM and on the wire."""
    before = {host: status(run, host) for host in HOSTS}
    load = Load(run, transfer=False)
    time.sleep(CLEAN)
    load.stop()
    after = {host: status(run, host) for host in HOSTS}
    for stream in load.streams:
        if not stream.sent == stream.received > 0:
            report.failures.append(f"clean stretch: {stream.sent} datagrams sent, {stream.received} received")
    report.clean = {
        "sent": sum(stream.sent for stream in load.streams),
        "received": sum(stream.received for stream in load.streams),
    }
    for one, other in (HOSTS, HOSTS[::-1]):
        sent = after[one]["fabric"]["sent"] - before[one]["fabric"]["sent"]
        received = after[other]["fabric"]["received"] - before[other]["fabric"]["received"]
        if sent != received:
            report.failures.append(
                f"clean stretch: {one} sent {sent} to the wire, {other} received {received}"
            )
    report.failures += [line for host in HOSTS for line in wrong_books(after[host])]


def wrong_books(report: dict[str, Any]) -> list[str]:
    """Where the books of a card do not balance, or do not fit those beside it."""
    egress, ingress = report["card"]["egress"], report["card"]["ingress"]
    devices, fabric = report["devices"].values(), report["fabric"]
    links = [tunnel["link"] for tunnel in report["card"]["tunnels"].values() if tunnel["link"]]
    sent = sum(egress[key] for key in ("encrypted", "clear", "local", "gateway", "waiting"))
    to_vms = ingress["delivered"] + egress["local"] + egress["answered"]
    right = {
        "egress": egress["offered"] == sent + sum(egress["dropped"].values()),
        "ingress": ingress["received"]
        == ingress["delivered"] + ingress["control"] + sum(ingress["dropped"].values()),
        "fabric": fabric["balanced"],
        "links": all(link["balanced"] for link in links),
        "devices": all(device["balanced"] for device in devices),
        "from VMs": egress["offered"] == sum(device["received"] for device in devices),
        "to VMs": to_vms == sum(device["offered"] for device in devices),
    }
    return [
        f"{report['host']}: the books of {name} are wrong" for name, is_right in right.items() if not is_right
    ]


def card_of(run: str, host: str) -> CardProcess:
    state = read_state(RUNS / run)
    assert state is not None
    cards: list[CardProcess] = [card for card in state.of(CardProcess) if card.host == host]
    return cards[0]


def pid_of(run: str, host: str) -> int:
    pid = card_of(run, host).pid
    assert pid is not None
    return pid


def socket_of(run: str, host: str) -> Path:
    return card_of(run, host).socket


def status(run: str, host: str) -> dict[str, Any]:
    report: dict[str, Any] = ask(socket_of(run, host), "status")
    return report


def main() -> int:
    """From the command line; 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description="A lab under load while everything around it is disturbed.")
    parser.add_argument("--seconds", type=float, default=60.0, help="at least; each disturbance is done once")
    parser.add_argument("--seed", type=int, default=1, help="of what control sockets are hammered with")
    parser.add_argument("--json", metavar="FILE", help="write everything there")
    parser.add_argument("--force", action="store_true", help="write over a file that is there already")
    options = parser.parse_args()
    file = ResultFile(options.json, force=options.force) if options.json else None
    report = soak(options.seconds, seed=options.seed, say=lambda line: print(line, file=sys.stderr))
    document = {"environment": environment(), **asdict(report)}
    trouble = file.save(json.dumps(document, indent=1).encode()).trouble if file else ""
    print_report(report)
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if report.failures or trouble else 0


def flowing(took: dict[str, float]) -> str:
    """For people."""
    return ", ".join(f"{part} after {seconds:.2f} s" for part, seconds in took.items())


def print_report(report: Report) -> None:
    """For people."""
    for name, count in report.disturbances.items():
        print(f"{name}: {count} times; at most {flowing(report.resumed_in[name])}")
    for way, books in report.streams.items():
        lost = books["sent"] - books["received"]
        print(f"{way}: {books['sent']} datagrams sent, {books['received']} received, {lost} lost")
    print(f"TCP: {report.transferred / 1e9:.2f} GB")
    print(f"control sockets: {report.requests} requests, {report.refused} while a card was away or busy")
    wire = f"{report.sent} sent, {report.received} received"
    print(f"wire, host-1 to host-2: {wire}, {report.sent - report.received} lost there or with a killed card")
    for host in report.after:
        before, after = report.before[host], report.after[host]
        print(
            f"{host}: descriptors {before.descriptors} to {after.descriptors}, "
            f"memory {before.memory / 2**20:.1f} to {after.memory / 2**20:.1f} MiB"
        )
    if report.clean:
        print(f"clean stretch: {report.clean['sent']} datagrams sent, {report.clean['received']} received")
    for failure in report.failures:
        print(f"WRONG: {failure}")


if __name__ == "__main__":
    sys.exit(run_command(lambda: sys.exit(main())))
