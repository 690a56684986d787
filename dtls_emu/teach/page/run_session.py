"""The run behind a page, where it is real: a lab that is up. Its cards tell events, of which a sample is shown, and status.

What is done to it is done by the same functions as on the command line: ``set``, ``restart``, and ``rekey`` of a host's
control socket. Cards tell no bytes here, because copying them would slow down what is looked at.
"""

from __future__ import annotations

import json
import time
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.assembly.lab_document import compile_document
from dtls_emu.assembly.targets import waiting_vms
from dtls_emu.capture.trace_file import Trace
from dtls_emu.deploy.changes import change_run
from dtls_emu.deploy.runs import restart_card
from dtls_emu.deploy.state import CardProcess, no_such_run, read_state, run_names
from dtls_emu.errors import RunError
from dtls_emu.events import (
    CardRestarted,
    Classified,
    FlightRetransmitted,
    FlightSent,
    Forwarded,
    How,
    LabChanged,
    Sealed,
    StateChanged,
)
from dtls_emu.host.control.client import ask
from dtls_emu.paths import runs_directory
from dtls_emu.teach.page.following import Follower, report_of
from dtls_emu.teach.page.journal import Journal
from dtls_emu.teach.page.sampling import Sampler
from dtls_emu.teach.page.session import Session, SessionError


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from dtls_emu.deploy.state import RunState
    from dtls_emu.events import Event
    from dtls_emu.host.control.event_client import Batch
    from dtls_emu.lab.topology import Topology


__all__ = ["RunSession"]

MOST_EVENTS: Final = 60_000
"""That are kept: ten minutes of a run that is never quiet. Then the page begins anew."""

TICK: Final = 0.1
"""Seconds between two looks at what hosts have told."""

SETTLED: Final = 1.0
"""Seconds since a tunnel was last told of, after which the status is believed about it."""

FLIGHT: Final = 0.5
"""Seconds for which a record is drawn on its link. A real link takes some microseconds, and nobody tells of it."""

_REFUSALS: Final = {
    "advance": "a lab that is up runs by itself",
    "send": "VMs of a lab that is up send by themselves: dtls-emu exec VM -- ping ADDRESS",
    "fabric": "nothing is put on the fabric of a lab that is up: serve a lab to replay a record",
    "backend": "a run keeps the backend of `up --backend`, or of its lab: down, and up with another one",
    "attack": "attacks are carried out on simulated labs: serve one",
    "handshake": "cards do not tell the bytes of their handshakes: serve a lab to look into one",
}


class RunSession(Session):
    """A lab that is up.

    Fields:
        reports, silent: what hosts said of themselves last, and why others say nothing; by name.
        rates: by host and counter, how many a second between the last two reports.

    Args:
        run: its name.
        runs: folder of all runs; None for the one that this user has.
        clock: of the hosts.

    Raises:
        RunError: no such run, or its state cannot be read.
    """

    is_live = True
    kind = "run"

    def __init__(
        self, run: str, *, runs: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._runs = runs or runs_directory()
        self._folder = self._runs / run
        state = self._state(run)
        topology = _compiled(state)
        self._start = clock()
        self._clock = clock
        self._sockets = {card.host: card.socket for card in state.of(CardProcess)}
        self._sampler = Sampler(self._start)
        self._tunnels: dict[tuple[str, str], tuple[str, float]] = {}  # its state, and when it was told
        self._processes: dict[str, int] = {}
        self._now = 0.0
        self._is_over = Flag()
        self.reports: dict[str, dict[str, Any]] = {}
        self.silent: dict[str, str] = {}
        self.rates: dict[str, dict[str, float]] = {}
        super().__init__(Trace(title=run, lab=state.lab), topology, _RunJournal(topology))
        reports = {host: report_of(path) for host, path in self._sockets.items()}
        self._hear(
            {host: each for host, each in reports.items() if isinstance(each, dict)},
            {host: each for host, each in reports.items() if isinstance(each, str)},
        )
        self._follower = Follower(self._sockets, self._take, self._hear)
        self._follower.start()
        Thread(target=self._release, daemon=True).start()

    # ------------------------------------------------------------------------------------------- what it shows

    @property
    def now(self) -> float:
        """Seconds since this was made, up to where all is told."""
        return self._now

    @property
    def has_ended(self) -> bool:
        """The lab may go on at any time."""
        return False

    def refusal(self, what: str) -> str:
        """Why something cannot be done; "" where it can."""
        return _REFUSALS.get(what, "")

    def backends(self) -> dict[str, str]:
        """Who seals and opens on the card of each host that has said so."""
        return {host: report["card"]["backend"] for host, report in self.reports.items()}

    def status(self) -> dict[str, Any]:
        """What hosts said of themselves last::

        {"hosts": [{"host", "backend", "protects", "path", "uptime", "counters": {WHAT: count},
                    "rates": {WHAT: a second}, "tunnels": [{"peer", "state", "handshakes", "last_handshake"}]}],
         "silent": {HOST: why}}
        """
        with self.lock:
            hosts = [_said(host, report, self.rates.get(host, {})) for host, report in self.reports.items()]
            return {"hosts": hosts, "silent": dict(self.silent)}

    def stand(self) -> dict[str, Any]:
        """How far it is, how much was left out, and what is wrong with it."""
        with self.lock:
            trouble = [f"{host}: {why}" for host, why in self.silent.items()]
            trouble += [
                f"{host}: {each['trouble']}" for host, each in self.reports.items() if each["trouble"]
            ]
            left_out = self._sampler.left_out.total()
            return super().stand() | {"left_out": left_out, "trouble": "; ".join(trouble)}

    # ------------------------------------------------------------------------------------------- what is done

    def set(self, target: str, words: list[str]) -> None:
        """Change the lab, as ``dtls-emu set`` does.

        Raises:
            DtlsEmuError: it cannot be changed so, or a card did not take it.
        """
        changes = change_run(self.trace.title, target, words, runs=self._runs)
        for vm in waiting_vms(
            changes
        ):  # nobody would look for why a network that was just switched on stays in clear
            changes += change_run(self.trace.title, vm, ["restarted_since_encryption=true"], runs=self._runs)
        topology = _compiled(self._state(self.trace.title))
        with self.lock:
            self.topology = topology
            now = self._clock()
            for each in changes:
                changed = LabChanged(now, "", tuple(map(str, each.path)), json.dumps(each.value))
                self._sampler.take([changed], {})

    def rekey(self, host: str, peer: str) -> None:
        """Have a host make fresh keys with another one.

        Raises:
            DtlsEmuError: their tunnel is not up.
        """
        if host not in self._sockets:
            raise SessionError(f"no host is called {host}")
        if not ask(self._sockets[host], "rekey", peer=peer)["peers"]:
            raise SessionError(f"no tunnel from {host} to {peer} is up")

    def restart(self, host: str, backend: str) -> None:
        """Start the card of a host anew, as ``dtls-emu restart`` does; the status tells when it is there.

        Raises:
            DtlsEmuError: no such host, another backend, or the new card does not become ready.
        """
        if backend and backend != self.backends().get(host, backend):
            raise SessionError(_REFUSALS["backend"])
        restart_card(self.trace.title, host, runs=self._runs)

    def close(self) -> None:
        """Follow it no longer. Idempotent."""
        self._is_over.set()
        self._follower.stop()

    # ------------------------------------------------------------------------------------------- what is told

    def _state(self, run: str) -> RunState:
        if run not in run_names(self._runs):
            raise no_such_run(run, self._runs)
        state = read_state(self._folder)
        if state is None:
            raise RunError(f"the run `{run}` is not up yet, or not any more")
        return state

    def _take(self, batch: Batch) -> None:
        with self.lock:
            for event in batch.events:
                if isinstance(event, StateChanged):
                    self._tunnels[event.host, event.peer] = event.after, event.time
            self._sampler.take(batch.events, batch.left_out)

    def _hear(self, reports: dict[str, dict[str, Any]], silent: dict[str, str]) -> None:
        """What hosts say of themselves, compared with what they said before."""
        now = self._clock()
        with self.lock:
            before, self.reports, self.silent = self.reports, reports, silent
            for host, report in reports.items():
                process = self._processes.setdefault(host, report["pid"])
                self._processes[host] = report["pid"]
                if process != report["pid"]:
                    self._restarted(host, report, now)
                elif host in before:
                    self.rates[host] = _rates(before[host], report)
                else:
                    self._journal.protects(host, protects=report["card"]["protects"])
                self._sampler.take(self._unheard(host, report, now), {})
            for host in silent:
                self.rates.pop(host, None)

    def _restarted(self, host: str, report: dict[str, Any], now: float) -> None:
        card = report["card"]
        self._sampler.forget(host)
        self._sampler.take([CardRestarted(now, host, card["backend"], card["protects"])], {})
        self.rates.pop(host, None)
        for ends in [each for each in self._tunnels if each[0] == host]:
            del self._tunnels[ends]

    def _unheard(self, host: str, report: dict[str, Any], now: float) -> Iterable[Event]:
        """Changes of tunnels that nobody was told of: from before this listened, or while a card was starting."""
        for peer, tunnel in report["card"]["tunnels"].items():
            before, told = self._tunnels.get((host, peer), ("idle", 0.0))
            if tunnel["state"] != before and now - told > SETTLED:
                self._tunnels[host, peer] = tunnel["state"], now
                yield StateChanged(now, host, peer, before, tunnel["state"], "", tunnel["failure"])

    def _release(self) -> None:
        """Let go of what was told, in order, as long as this is open."""
        while not self._is_over.wait(TICK):
            self.release()

    def release(self) -> None:
        """Let go of what was told, in order."""
        now = self._clock()
        with self.lock:
            events = self._sampler.release(now)
            if len(self.events) + len(events) > MOST_EVENTS:
                self.begin_anew()
            self.events.extend(events)
            self._now = max(self._now, now - self._start)
        self.tell()


class _RunJournal(Journal):
    """Rows of events of real cards, which do not tell what is on the fabric: it follows from what they seal and send."""

    def __init__(self, topology: Topology) -> None:
        super().__init__({host.underlay: name for name, host in topology.hosts.items()})
        self._homes = {
            (topology.networks[vm.network].vni, str(address)): vm.host
            for vm in topology.vms.values()
            for address in vm.addresses
        }
        self._bound: dict[
            str, tuple[int, str]
        ] = {}  # by host: the packet that was looked at last, and its peer

    def about(self, event: Event) -> dict[str, Any]:
        found = super().about(event)
        match event:
            case Classified():
                home = self._homes.get((event.flow.vni, event.flow.destination), "")
                self._bound[event.host] = event.packet, home
            case Sealed():
                shape = "unprotected" if self.is_unprotected(event.host) else "sealed"
                return found | {"fly": FLIGHT, "as": shape}
            case Forwarded() if event.how is How.CLEAR:
                packet, home = self._bound.get(event.host, (0, ""))
                if home and packet == event.packet:
                    return found | {"peer": home, "fly": FLIGHT, "as": "clear"}
            case FlightSent() | FlightRetransmitted():
                return found | {"fly": FLIGHT, "as": "handshake"}
        return found


def _compiled(state: RunState) -> Topology:
    topology = compile_document(state.lab, state.run)
    return topology if state.encryption == "on" else topology.without_encryption()


def _said(host: str, report: dict[str, Any], rates: dict[str, float]) -> dict[str, Any]:
    card = report["card"]
    egress, ingress = card["egress"], card["ingress"]
    counters = {
        "offered by VMs": egress["offered"],
        "encrypted": egress["encrypted"],
        "sent in clear": egress["clear"],
        "to a VM of the same host": egress["local"],
        "to the internet": egress["gateway"],
        "wait for a tunnel": egress["waiting"],
        "received": ingress["received"],
        "delivered to VMs": ingress["delivered"],
    }
    for way, what in ((egress, "dropped"), (ingress, "refused")):
        counters |= {f"{what}: {reason}": count for reason, count in way["dropped"].items()}
    return {
        "host": host,
        "backend": card["backend"],
        "protects": card["protects"],
        "path": report["io_path"],
        "uptime": report["uptime_seconds"],
        "counters": counters,
        "rates": rates,
        "tunnels": [
            {
                "peer": peer,
                "state": each["state"],
                "handshakes": each["handshakes"],
                "last_handshake": each["last_handshake_seconds"],
            }
            for peer, each in card["tunnels"].items()
        ],
    }


_COUNTED: Final[Mapping[str, tuple[str, str]]] = {
    "encrypted": ("egress", "encrypted"),
    "in clear": ("egress", "clear"),
    "offered bytes": ("egress", "offered_bytes"),
    "delivered": ("ingress", "delivered"),
    "delivered bytes": ("ingress", "delivered_bytes"),
}
"""Of a card's counters."""


def _rates(old: dict[str, Any], new: dict[str, Any]) -> dict[str, float]:
    """How many a second, between two reports of one card."""
    seconds = new["uptime_seconds"] - old["uptime_seconds"]
    if seconds <= 0:
        return {}
    found = {
        name: (new["card"][way][key] - old["card"][way][key]) / seconds
        for name, (way, key) in _COUNTED.items()
    }
    dropped = [
        sum(sum(each["card"][way]["dropped"].values()) for way in ("egress", "ingress"))
        for each in (old, new)
    ]
    return found | {"dropped": (dropped[1] - dropped[0]) / seconds}
