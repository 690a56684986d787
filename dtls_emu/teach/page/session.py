"""The run behind a page: a trace that is read, or a lab that is run on as far as somebody looks.

A live run goes forward only, and by what is asked for: so many events, or so many seconds of its clock. It never goes
back: whoever wants to see what was, has the events of it. All of a session may be called from several threads.
"""

from __future__ import annotations

import time
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly.lab_document import compile_document
from dtls_emu.assembly.targets import waiting_vms
from dtls_emu.capture.trace_file import Trace, TraceRecorder
from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.events import Delivered, Offered, Sent
from dtls_emu.lab import load_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.simulation.simulation import Simulation
from dtls_emu.teach.page.journal import Journal
from dtls_emu.teach.page.sending import send
from dtls_emu.teach.secrets import Secrets, parse_key_log, with_server_randoms
from dtls_emu.teach.story import hosts_of
from dtls_emu.teach.transcript import handshakes_of


if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dtls_emu.events import Event
    from dtls_emu.lab.topology import Topology
    from dtls_emu.teach.page.sending import Order


__all__ = ["ACTIONS", "LiveSession", "RecordedSession", "Session", "SessionError"]

MOST_EVENTS: Final = 400_000
"""Of a live run. An event with its bytes takes about a kilobyte here, and a third of that in the browser."""

MOST_SECONDS: Final = 0.25
"""Of real time that one call of :meth:`LiveSession.advance` runs on."""


ACTIONS: Final = (
    "advance",
    "set",
    "send",
    "fabric",
    "rekey",
    "restart",
    "backend",
    "attack",
    "handshake",
)
"""What may be done to a run, or looked into."""


class SessionError(DtlsEmuError):
    """What was asked of a run cannot be done. Says why."""


class Session:
    """A run as a page sees it.

    Fields:
        trace: its events so far.
        topology: the lab as it is now; None where it is not known.
    """

    is_live = False
    kind = "trace"
    """What it is: a trace, a lab that is simulated, or a run of real hosts."""

    def __init__(self, trace: Trace, topology: Topology | None, journal: Journal) -> None:
        self.trace = trace
        self.topology = topology
        self.lock = RLock()
        self.era = 0  # goes up when events are forgotten, and numbers of events begin anew
        self._journal = journal
        self._rows: list[list[Any]] = []
        self._listeners: set[Callable[[], None]] = set()

    @property
    def events(self) -> list[Event]:
        """Everything that happened so far."""
        return self.trace.events

    @property
    def now(self) -> float:
        """Seconds on the lab's clock, up to where it has run."""
        return self.events[-1].time if self.events else 0.0

    @property
    def has_ended(self) -> bool:
        """Nothing more happens by itself."""
        return True

    def refusal(self, what: str) -> str:
        """Why something of :data:`ACTIONS` cannot be done to it; "" where it can."""
        return "" if what == "handshake" else "this is a recorded run: nothing can be changed in it"

    def status(self) -> dict[str, Any]:
        """What real hosts say of themselves.

        Raises:
            SessionError: there are none.
        """
        raise SessionError("only a lab that is up has a status")

    def stand(self) -> dict[str, Any]:
        """How far it is, in JSON's types."""
        return {"events": len(self.events), "now": self.now, "ended": self.has_ended, "era": self.era}

    def begin_anew(self) -> None:
        """Forget what has happened so far."""
        with self.lock:
            self.trace.events = []
            self._rows = []
            self.era += 1

    def rows(self, start: int, limit: int) -> list[list[Any]]:
        """Events from number ``start`` on as rows of :mod:`.journal`, at most so many."""
        with self.lock:
            stop = min(start + limit, len(self.events))
            self._rows += [self._journal.row(event) for event in self.events[len(self._rows) : stop]]
            return self._rows[start:stop]

    def secrets(self) -> list[Secrets]:
        """Of the handshakes, where they are known."""
        return []

    def backends(self) -> dict[str, str]:
        """Who seals and opens on the card of each host; empty where that is not known."""
        return {}

    def vms(self) -> dict[str, list[str]]:
        """Names of the VMs of each host."""
        if self.topology is not None:
            return {name: [vm.name for vm in self.topology.vms_on(name)] for name in self.topology.hosts}
        found: dict[str, list[str]] = {name: [] for name in hosts_of(self.events)}
        for event in self.events:
            if isinstance(event, Offered | Delivered) and event.vm and event.vm not in found[event.host]:
                found[event.host].append(event.vm)
        return found

    def set(self, target: str, words: list[str]) -> None:
        """Change the lab from now on.

        Args:
            target: a virtual network, a VM, a link: see :mod:`dtls_emu.assembly.targets`.
            words: ``key=value``, in the lab file's spelling.

        Raises:
            DtlsEmuError: it cannot be changed so.
        """
        raise SessionError(self.refusal("set"))

    def send(self, order: Order) -> str:
        """Have a VM, or somebody on the fabric, send something now; what follows takes time.

        Returns:
            what was sent, in words.

        Raises:
            DtlsEmuError: it cannot be sent.
        """
        raise SessionError(self.refusal("send"))

    def rekey(self, host: str, peer: str) -> None:
        """Have a host make fresh keys with another one.

        Raises:
            DtlsEmuError: their tunnel is not up.
        """
        raise SessionError(self.refusal("rekey"))

    def restart(self, host: str, backend: str) -> None:
        """Start the card of a host anew.

        Args:
            host: its name.
            backend: of the new card; "" for the same as before.

        Raises:
            DtlsEmuError: no such host, or a backend that cannot be had.
        """
        raise SessionError(self.refusal("restart"))

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this whenever something has happened, from whatever thread."""
        self._listeners.add(listener)

    def forget(self, listener: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """Overwrite all keys. Idempotent."""

    def tell(self) -> None:
        """Have those who listen look again."""
        for listener in tuple(self._listeners):
            listener()


class RecordedSession(Session):
    """A trace.

    Args:
        trace: as it was read.
        secrets: of its handshakes, where they are known.
    """

    def __init__(self, trace: Trace, secrets: list[Secrets] | None = None) -> None:
        topology = None
        if trace.lab:
            try:
                topology = compile_document(trace.lab, trace.title or "lab")
            except LabFileError:
                topology = (
                    None  # of a version whose labs were others; what happened can be shown all the same
                )
        hosts = trace.lab.get("hosts", {})
        unprotected = frozenset(
            name for name, host in hosts.items() if host.get("smartnic", {}).get("backend") == "null"
        )
        super().__init__(trace, topology, Journal(_names(trace, topology), unprotected))
        self._secrets = secrets or []

    def secrets(self) -> list[Secrets]:
        """Of the handshakes, where they are known."""
        return self._secrets


class LiveSession(Session):
    """A lab that runs on as far as it is asked to.

    Args:
        lab: a lab, its path, or the name of a shipped one.
        seed: instead of the lab's.

    Raises:
        LabFileError: the lab is wrong.
    """

    is_live = True
    kind = "lab"

    def __init__(self, lab: Lab | str | Path, *, seed: int | None = None) -> None:
        self.lab = lab if isinstance(lab, Lab) else load_lab(lab)
        recorder = TraceRecorder(
            title=self.lab.name,
            lab=self.lab.model_dump(mode="json", exclude_unset=True),
            seed=self.lab.seed if seed is None else seed,
        )
        self._lines: list[bytes] = []
        self.simulation = Simulation(self.lab, seed=seed, observer=recorder, key_log=self._lines.append)
        self._ended = False
        cloud = self.simulation.cloud
        unprotected = frozenset(
            name for name, card in cloud.cards.items() if not card.engine.backend.protects
        )
        super().__init__(recorder, cloud.topology, Journal(_names(recorder, cloud.topology), unprotected))

    @property
    def now(self) -> float:
        """Seconds on the lab's clock, up to where it has run."""
        return self.simulation.now

    @property
    def has_ended(self) -> bool:
        """Nothing more happens by itself; what is sent by hand starts it again."""
        return self._ended

    def refusal(self, what: str) -> str:
        """Why something cannot be done to it; "" where it can."""
        return ""

    @property
    def is_full(self) -> bool:
        """No more events are kept, and so none are run."""
        return len(self.events) >= MOST_EVENTS

    def advance(self, seconds: float, most: int) -> None:
        """Run on: so long, or until something happens where nothing does for so long.

        Args:
            seconds: of the lab's clock.
            most: events at most, about.
        """
        with self.lock:
            before, until = len(self.events), self.simulation.now + seconds
            deadline = time.monotonic() + MOST_SECONDS
            clock = self.simulation.cloud.clock
            while not self.is_full and len(self.events) - before < most and time.monotonic() < deadline:
                moment = clock.next_event()
                if len(self.events) > before and (moment is None or moment > until):
                    break
                if not self.simulation.step():
                    self._ended = True
                    break
        self.tell()

    def set(self, target: str, words: list[str]) -> None:
        """See :class:`Session`; the new lab holds from the next event on."""
        with self._changing():
            for vm in waiting_vms(self.simulation.set(target, *words)):
                # On a page nobody would look for why a network that was just switched on stays in clear.
                self.simulation.set(vm, "restarted_since_encryption=true")
            self.topology = self.simulation.cloud.topology
        self.tell()

    def send(self, order: Order) -> str:
        """See :class:`Session`."""
        with self._changing():
            said = send(self.simulation, self.events, order)
        self.tell()
        return said

    def rekey(self, host: str, peer: str) -> None:
        """See :class:`Session`."""
        with self._changing():
            self.simulation.rekey(host, peer)
        self.tell()

    def backends(self) -> dict[str, str]:
        """Who seals and opens on the card of each host."""
        return {name: card.engine.backend.name for name, card in self.simulation.cloud.cards.items()}

    def restart(self, host: str, backend: str) -> None:
        """See :class:`Session`."""
        with self._changing():
            self.simulation.restart(host, backend=backend)
            self.topology = self.simulation.cloud.topology
        self.tell()

    def secrets(self) -> list[Secrets]:
        """Of every handshake so far."""
        with self.lock:
            randoms = [each.randoms for each in handshakes_of(self.events)]
            found = parse_key_log(b"\n".join(self._lines).decode("ascii"))
        return with_server_randoms(found, [each for each in randoms if each])

    def close(self) -> None:
        """Overwrite all keys. Idempotent."""
        with self.lock:
            self.simulation.close()

    def _changing(self) -> RLock:
        """What is done from here on may set the run going again."""
        if self.is_full:
            raise SessionError(f"the run has {MOST_EVENTS} events, and no more are kept: start it anew")
        self._ended = False
        return self.lock


def _names(trace: Trace, topology: Topology | None) -> dict[str, str]:
    """Names of hosts by underlay address."""
    if topology is None:
        return {event.source[0]: event.host for event in trace.events if isinstance(event, Sent)}
    return {host.underlay: name for name, host in topology.hosts.items()}
