"""The loop of one host: a card between its VMs' TUN devices and the fabric, on one thread.

One turn:

1. Wait until a device, a socket or the control socket is readable, or a timer is due. Idle is asleep.
2. Each that is readable has its turn, a bounded amount of work; what remains is readable again at the next.
3. The card's effects are carried out in order: written to a device, or sent, at the latest as the turn of the one
   who brought them ends (:mod:`dtls_emu.host.loop.edge`).
4. Timers: handshakes, the delays of impaired links, silent control clients.

Where it can be, the first three are one kernel (:mod:`dtls_emu.host.loop.compiled`), which carries the packets of
offloaded flows and comes back here with everything else. Where it cannot, they are here, bursts at a time. Reads,
writes, receives and sends are the same kernels both ways.

Nothing is kept back to fill a burst, so a lone packet waits for nobody. Nothing that guests, peers or devices do
raises here.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import time
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from dtls_emu.host.loop import state
from dtls_emu.host.loop.compiled import FastLoop, why_not
from dtls_emu.host.loop.edge import Edge
from dtls_emu.host.loop.path_mtus import PathMtus


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dtls_emu.events import Observer
    from dtls_emu.fabric.udp import UdpFabric
    from dtls_emu.host.device.tun import TunDevice
    from dtls_emu.host.loop.edge import PortOpener
    from dtls_emu.host.loop.impairments import ImpairedLinks
    from dtls_emu.lab.topology import Topology
    from dtls_emu.nic.card import Card
    from dtls_emu.nic.effects import Effect, RequestKeys, UnderlayAddress
    from dtls_emu.tunnel.session_keys import SessionKeys
    from dtls_emu.wire.burst import Burst

    Handler = Callable[[float], object]


__all__ = ["Agent", "Service"]

logger = logging.getLogger(__name__)

TIMER_GRAIN: Final = 0.001
"""Seconds. Under load timers are looked at so often; otherwise exactly when they are due."""

FINE_WAIT: Final = 0.01
"""Seconds. epoll rounds a shorter wait up to milliseconds, which would double the delay of a fast link."""


FLOWS_EVERY: Final = 1.0
"""Seconds between two reports of how flows stand, to who observes."""

FLOWS_A_REPORT: Final = 256
"""Flows of one report: a few milliseconds."""


class Service(Protocol):
    """Something else that lives on the loop, such as a control socket."""

    def fileno(self) -> int:
        """Readable when `serve` has something to do."""

    def serve(self, now: float) -> None:
        """Do it, without waiting."""

    def next_timeout(self) -> float:
        """When `serve` wants to be called at the latest, in seconds, or infinity."""


class Agent:
    """One host's loop.

    Fields:
        card: of the host.
        fabric: its sockets.
        devices: TUN device of each VM, by name.
        edge: carries out what the card asks for.
        paths: what the real links carry.
        interpreted: why packets of known flows are not carried by compiled code; "" when they are.
        alarm: file number that wakes the loop up when something is written to it, as a signal's number is.
    """

    def __init__(
        self,
        card: Card,
        fabric: UdpFabric,
        devices: Mapping[str, TunDevice],
        topology: Topology,
        *,
        ports: Iterable[int] = (),
        open_port: PortOpener | None = None,
        clock: Callable[[], float] = time.monotonic,
        compiled: bool = True,
    ) -> None:
        """
        Args:
            card, fabric, devices: they stay the caller's to close.
            topology: the lab.
            ports: UDP ports to listen on.
            open_port: opens one more; by default the fabric does it alone.
            clock: seconds, of the same clock as the card's identity.
            compiled: let compiled code carry packets of known flows, where it can.

        Raises:
            FabricUnavailableError: another program has a port.
        """
        self.card = card
        self.fabric = fabric
        self.devices = devices
        self.edge = Edge(card, fabric, devices, topology, open_port=open_port, now=clock())
        for port in ports:
            self.edge.open(port)
        self._clock = clock
        self.paths = PathMtus(card, fabric, topology)
        self.paths.look(clock())
        self._timers_at = 0.0
        self._stopping = False
        self._services: list[Service] = []
        self._observer: Observer | None = None
        self._flows_at = inf
        self._handlers: dict[int, Handler] = {}
        self._epoll = select.epoll()
        self._bell, self.alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watch(self._bell, lambda _now: os.read(self._bell, 4096))
        self._watch(fabric.fileno(), self._from_fabric)
        for vm, device in devices.items():
            if device.merges:
                card.merges_for.add(vm)
            self._watch(device.fileno(), self._guest_handler(vm, device))
        self._loops_files = {fabric.fileno(), *(device.fileno() for device in devices.values())}
        self._fast_loop: FastLoop | None = None
        self.interpreted = why_not(card, fabric, devices, topology) if compiled else "switched off"
        if not self.interpreted:
            self._fast_loop = FastLoop(card, fabric, devices, topology, self._epoll.fileno())
            self._fast_loop.impair(self.links.peers)

    @property
    def links(self) -> ImpairedLinks:
        """What the lab says of the links away from the host."""
        return self.edge.links

    def attach(self, service: Service) -> None:
        """Let something else live on the loop."""
        self._services.append(service)
        self._watch(service.fileno(), service.serve)

    def observe(
        self,
        observer: Observer | None,
        leave_out: Callable[[str, int], object] = lambda _name, _count: None,
        *,
        carried: bool = True,
    ) -> None:
        """Tell an observer of everything that happens from now on; None, the default, costs nothing.

        While it wants bytes, Python carries all packets, because compiled code shows nobody what is in them.

        Args:
            observer: told, or None.
            leave_out: called with the name of events and their number, where there are more than can be told.
            carried: also of packets that compiled code carries, see :meth:`~dtls_emu.nic.card.Card.observe`.
        """
        self._observer = observer
        self._flows_at = inf if observer is None else self._clock() + FLOWS_EVERY
        self.card.observe(observer, leave_out, carried=carried)
        self.edge.observe(observer)
        self._watch_ring()

    def tell_of_carried(self, *, wanted: bool) -> None:
        """Tell the observer, from now on, of packets that compiled code carries, or not."""
        self.card.tell_of_carried(wanted=wanted)
        self._watch_ring()

    @property
    def shows_bytes(self) -> bool:
        """Whether somebody is shown the bytes of packets."""
        return self._observer is not None and self._observer.wants_bytes

    def run(self) -> None:
        """Run until :meth:`stop`. The clean-up is :meth:`close`'s."""
        # What is there now stays: collections, which stop the loop, are then about what came since.
        gc.collect()
        gc.freeze()
        while not self._stopping:
            self.turn()

    def turn(self, *, wait: bool = True) -> bool:
        """One turn. Whether anything was readable.

        Args:
            wait: until something is, or a timer is due.
        """
        if self._fast_loop is not None and not self.shows_bytes:
            return self._fast_turn(self._fast_loop, wait=wait)
        ready = self._epoll.poll(0)
        if not ready and wait:
            ready = self._wait()
        now = self._clock()
        for fileno, _ in ready:
            self._handlers[fileno](now)
        if now >= self._timers_at or not ready:
            self._timers_at = now + TIMER_GRAIN
            self._handle_timers(now)
        self._look_at_paths(now)
        return bool(ready)

    def stop(self) -> None:
        """End :meth:`run` after this turn. May be called from a signal handler or another thread."""
        self._stopping = True
        with contextlib.suppress(BlockingIOError):  # then it is ringing already
            os.write(self.alarm, b"\0")

    def close(self) -> None:
        """Say goodbye to every peer, overwrite all keys, let go of the loop's own files."""
        now = self._clock()
        self.edge.ignore_impairments()
        self._do(self.card.close(now), now)
        self.card.abort()
        self._epoll.close()
        os.close(self._bell)
        os.close(self.alarm)

    def reconfigure(self, topology: Topology) -> None:
        """Go on under a changed lab with the same hosts and VMs. Tunnels stay up.

        Raises:
            LocalProtocolError: it has others.
        """
        self.card.update(topology)
        self.edge.reconfigure(topology)
        self.paths.reconfigure(topology, self._clock())
        if self._fast_loop is not None:
            self._fast_loop.impair(self.links.peers)

    def look_at_paths(self) -> None:
        """Ask the kernel what the paths to all other hosts carry; the card keeps to it."""
        self.paths.look(self._clock())

    def rekey(self, peer: str) -> None:
        """Begin a fresh association with a peer host, beside the live one."""
        now = self._clock()
        self._do(self.card.rekey(peer, now), now)

    def take_key_requests(self) -> list[RequestKeys]:
        """Sessions that want a broker's keys; each is handed out once."""
        requests, self.edge.key_requests = self.edge.key_requests, {}
        return list(requests.values())

    def install(self, peer: str, keys: SessionKeys) -> None:
        """Take a broker's keys for the tunnel to a peer host.

        Raises:
            LocalProtocolError: the lab has no broker, or the keys are of no use.
        """
        now = self._clock()
        self._do(self.card.install(peer, keys, now), now)

    @property
    def trouble(self) -> str:
        """Why packets do not get through: a socket or a device is missing. "" when nothing is."""
        gone = [f"{device.name} of {vm}: {device.gone}" for vm, device in self.devices.items() if device.gone]
        return "; ".join([*gone, *([] if self.edge.ports else ["no UDP port is open"])])

    def _watch_ring(self) -> None:
        """Have the compiled loop write to the ring that the card reads, where it has one."""
        if self._fast_loop is not None:
            self._fast_loop.watch(self.card.ring)

    # -------------------------------------------------------------------------------------------- wait

    def _watch(self, fileno: int, handler: Handler) -> None:
        self._handlers[fileno] = handler
        self._epoll.register(fileno, select.EPOLLIN)

    def _wait(self) -> list[tuple[int, int]]:
        """Sleep until something is readable or a timer is due, and say when timers are to be looked at next."""
        due = self._next_timeout()
        patience = None if due == inf else max(0.0, due - self._clock())
        if patience is None or patience > FINE_WAIT:
            ready = self._epoll.poll(patience)
        else:
            select.select((self._epoll,), (), (), patience)
            ready = self._epoll.poll(0)
        self._timers_at = min(due, self._clock() + TIMER_GRAIN)
        return ready

    def _next_timeout(self) -> float:
        due = self.card.next_timeout()
        delayed = self.links.next_timeout()
        if delayed is not None and delayed < due:
            due = delayed
        due = min(due, self.paths.next_timeout(), self._flows_at)
        for service in self._services:
            due = min(due, service.next_timeout())
        return due

    # -------------------------------------------------------------------------------------------- work

    def _fast_turn(self, loop: FastLoop, *, wait: bool) -> bool:
        """Let compiled code work until it comes upon something that it leaves to us, and do that."""
        until = self._next_timeout()
        if wait and self._clock is not time.monotonic:
            self._epoll.poll(None if until == inf else max(0.0, until - self._clock()))
            wait = False
        while True:
            code = loop.run(self._clock(), until, forever=wait)
            now = self._clock()
            if self._observer is not None:
                self.card.tell_carried(now)
            self._handle_exception(loop, code, now)
            if not loop.unfinished:
                break
            wait = (
                False  # first the rest of this pass: a timer may close a port at which something has arrived
            )
        if loop.take_attention():
            for fileno, _ in self._epoll.poll(0):
                if fileno not in self._loops_files:
                    self._handlers[fileno](now)
        if code in {state.TIMERS, state.NOTHING} or now >= until:
            self._handle_timers(now)
        self._look_at_paths(now)
        return code not in {state.TIMERS, state.NOTHING, state.INTERRUPTED}

    def _handle_exception(self, loop: FastLoop, code: int, now: float) -> None:
        """Do what compiled code has left to us."""
        if code == state.GUEST_PACKET:
            loop.guest_packet(
                lambda vm, burst: self.edge.carry_out(self.card.from_guest(vm, burst, now), now)
            )
            # More of its kind may be behind it, and here they are carried as bursts.
            self._handlers[loop.device().fileno()](now)
        elif code == state.DATAGRAMS:
            loop.datagrams(self._receive, now)
        elif code == state.OPENED:
            loop.opened(
                lambda peer, burst, status, ok: self.edge.carry_out(
                    self.card.from_opened(peer, burst, status, ok, now), now
                )
            )
        elif code == state.BROKEN_DEVICE:
            self._note_gone(loop.device())
        else:
            return
        if code in {state.GUEST_PACKET, state.BROKEN_DEVICE} and loop.device().gone:
            loop.forget(loop.device())
        self.fabric.flush()

    def _guest_handler(self, vm: str, device: TunDevice) -> Handler:
        from_guest, carry_out = self.card.from_guest, self.edge.carry_out
        receive, flush = device.receive, self.fabric.flush
        now = 0.0

        def deliver(burst: Burst) -> None:
            carry_out(from_guest(vm, burst, now), now)

        def handle(moment: float) -> None:
            nonlocal now
            now = moment
            receive(deliver)
            flush()
            if device.gone:
                self._note_gone(device)

        return handle

    def _note_gone(self, device: TunDevice) -> None:
        """Nothing comes from a device any more."""
        (vm,) = [vm for vm, each in self.devices.items() if each is device]
        logger.error("device %s of %s is gone: %s", device.name, vm, device.gone)
        self._epoll.unregister(device.fileno())

    def _from_fabric(self, now: float) -> None:
        self.fabric.receive(self._receive, now)
        self.fabric.flush()

    def _receive(self, burst: Burst, source: UnderlayAddress, local_port: int, now: float) -> None:
        self.edge.carry_out(self.card.from_fabric(burst, source, local_port, now), now)

    def _do(self, effects: Iterable[Effect], now: float) -> None:
        """Carry out effects that no packet has led to."""
        self.edge.carry_out(effects, now)
        self.fabric.flush()

    def _look_at_paths(self, now: float) -> None:
        """A datagram was too large for its path: from the next packet on, guests are told what fits."""
        if self.fabric.has_too_long:
            self.paths.refused(self.fabric.take_too_long(), now)

    # ----------------------------------------------------------------------------------------- timers

    def _handle_timers(self, now: float) -> None:
        if self.card.next_timeout() <= now:
            self._do(self.card.handle_timeout(now), now)
        self.links.handle_timeout(now)
        if self.paths.next_timeout() <= now:
            self.paths.handle_timeout(now)
        if self._flows_at <= now:
            self._flows_at = now + FLOWS_EVERY
            self.card.report_flows(now, FLOWS_A_REPORT)
        for service in self._services:
            if service.next_timeout() <= now:
                service.serve(now)
