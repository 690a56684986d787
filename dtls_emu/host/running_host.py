"""One host, from its file to its end: everything it needs is opened, then its loop runs, then all is let go.

1. Certificates are read and checked; names of hosts become addresses.
2. Everything that must not stall packets later is done once: kernels, libraries.
3. UDP ports, TUN devices and the control socket are opened. What fails undoes what was done.
4. Capabilities are given up.
5. The loop runs until a signal or a client ends it. Peers hear a goodbye, keys are overwritten.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Self

from dtls_emu.assembly.cards import choose_engine, make_card
from dtls_emu.assembly.lab_document import changed, compile_document, differences, without_traffic
from dtls_emu.assembly.targets import Change, plan_changes
from dtls_emu.errors import DtlsEmuError
from dtls_emu.fabric.offload import SOCKET_BUFFER_BYTES
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.host.control.event_server import EventServer
from dtls_emu.host.control.server import (
    ChangeTarget,
    Close,
    ControlServer,
    Flows,
    InstallKeys,
    KeysWanted,
    Ping,
    Ready,
    Rekey,
    SetValue,
    Status,
)
from dtls_emu.host.credentials import read_authorities, read_credentials
from dtls_emu.host.device.addressing import (
    check_underlays,
    close_other_ways,
    configure_device,
    limit_super_packets,
    super_packet_limit,
)
from dtls_emu.host.device.kernel_drops import KernelDrops
from dtls_emu.host.device.tun import open_tun
from dtls_emu.host.device.underlays import with_underlays
from dtls_emu.host.flow_logging import FlowLogging, Watching
from dtls_emu.host.flows import describe_flows
from dtls_emu.host.loop.agent import Agent
from dtls_emu.host.loop.warming import warm_up
from dtls_emu.host.status import describe, offloads_of
from dtls_emu.lab.problems import dotted, suggest
from dtls_emu.machine.privileges import Privileges, buffers_need_net_admin, drop_privileges
from dtls_emu.paths import event_socket
from dtls_emu.tunnel.ports import DYNAMIC_PORTS
from dtls_emu.tunnel.session_keys import SessionKeys
from dtls_emu.tunnel.settings import TunnelSettings
from dtls_emu.tunnel.states import TunnelState
from dtls_emu.wire.headers import MAX_PACKET
from dtls_emu.wire.overhead import path_overhead
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from dtls_emu.host.config import HostConfig, VmDevice
    from dtls_emu.host.control.server import Request
    from dtls_emu.host.device.tun import TunDevice
    from dtls_emu.lab.topology import Topology, Vm
    from dtls_emu.nic.card import Card


__all__ = ["ChangeRefusedError", "RunningHost"]

logger = logging.getLogger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ChangeRefusedError(DtlsEmuError):
    """A running host cannot take a change. Says what it is about."""


class RunningHost:
    """A host that is up: its loop, and the answers to its control socket. Usable with ``with``.

    Fields:
        config: what it was made from.
        topology: the lab as it is now.
        agent: the loop.
        control: the socket.
        events: the socket for those who watch.
        privileges: what is left of root's.
        super_packets: why the size of super-packets could not be set, by VM; "" where it could.
        started_at: seconds, of the monotonic clock.
    """

    def __init__(self, config: HostConfig) -> None:
        """
        Args:
            config: read and validated.

        Raises:
            DtlsEmuError: something cannot be had. What had been opened is closed again.
        """
        self.config = config
        self.started_at = time.monotonic()
        self.privileges = Privileges(None, "not given up", 0)
        self.super_packets: dict[str, str] = {}
        self.kernel_drops: dict[str, KernelDrops] = {}
        self._logs_keys = False
        document = without_traffic(config.lab)
        if config.container:
            planned = self._compile(document)
            close_other_ways(_neighbours(config, planned), planned)
        self._document = with_underlays(document, config.underlays)
        self.topology = self._compile(self._document)
        check_underlays(_neighbours(config, self.topology), self.topology)
        card = _make_card(config, self.topology)
        warm_up(card.engine)
        ports = TunnelSettings().port, VXLAN_PORT
        with ExitStack() as undo:
            fabric = UdpFabric(self.topology.hosts[config.host].underlay, gso=config.gso, gro=config.gro)
            undo.callback(fabric.close)
            devices: dict[str, TunDevice] = {}
            for metric, each in enumerate(config.vms, start=1):
                devices[each.vm] = device = open_tun(each.device, netns=each.netns, create=each.create)
                undo.callback(device.close)
                self._set_up(each, metric)
                if each.netns is not None:
                    self._watch_kernel(each.vm, each.netns, undo)
            self._watch_kernel("", None, undo)
            self.control = ControlServer(config.socket_path, self._answer)
            undo.callback(self.control.close)
            self._flow_logging = (
                None if config.flow_log is None else FlowLogging(self.topology, config.flow_log)
            )
            if self._flow_logging is not None:
                undo.callback(self._flow_logging.close)
            self.events = EventServer(
                event_socket(config.socket_path), config.host, self._observe, self._log_keys
            )
            undo.callback(self.events.close)
            self.agent = Agent(
                card,
                fabric,
                devices,
                self.topology,
                ports=ports,
                open_port=partial(self._open_port, fabric),
                compiled=config.fast_path == "auto",
            )
            undo.callback(self.agent.close)
            self.agent.turn(wait=False)  # the loop's own code is loaded, or compiled, now
            self.agent.attach(self.control)
            self.agent.attach(self.events)
            self._watching = self._log_flows()
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def give_up_privileges(self) -> None:
        """Give up root's capabilities, for good: only in a process that has nothing else to do.

        Raises:
            PrivilegesError: the kernel refuses.
        """
        self.privileges = drop_privileges(buffers_need_net_admin(SOCKET_BUFFER_BYTES))
        logger.info("capabilities are given up; %s", self.privileges.reason)

    def run(self) -> None:
        """Run until a client says ``close``, or until SIGTERM or SIGINT when this is the main thread."""
        _log_offloads(self.agent)
        logger.info("%s is ready; control socket %s", self.config.host, self.control.path)
        with _ended_by_signals(self.agent.stop, self.agent.alarm):
            self.agent.run()
        logger.info("%s ends", self.config.host)

    def close(self) -> None:
        """Say goodbye to peers, overwrite keys, close everything. Idempotent."""
        self._undo.close()

    # -------------------------------------------------------------------------------------- who watches

    def _observe(self, server: EventServer | None) -> None:
        """Tell everything to those who listen, or nothing to nobody."""
        if self._watching is not None:
            self._watching.listen(server)
        elif server is None:
            self.agent.observe(None)
        else:
            self.agent.observe(server, server.leave_out)

    def _log_flows(self) -> Watching | None:
        """Have flows logged from now on, if they are to be."""
        if self._flow_logging is None:
            return None
        agent = self.agent
        agent.attach(self._flow_logging)

        def listened_to(somebody: bool) -> None:
            agent.tell_of_carried(wanted=somebody)
            agent.card.revalidate()

        watching = Watching(self._flow_logging, listened_to)
        agent.observe(watching, watching.leave_out, carried=False)
        return watching

    def _log_keys(self) -> None:
        """Tell the secrets of handshakes from now on: somebody who may know them wants them."""
        if not self._logs_keys:
            self._logs_keys = True
            logger.info(
                "somebody captures: secrets of handshakes are told to who asks, over %s", self.events.path
            )
            self.agent.card.log_keys(self.events.tell_secret)

    # ----------------------------------------------------------------------------------------- answers

    def _answer(self, request: Request) -> dict[str, Any]:
        match request:
            case Ping():
                return {"pid": os.getpid()}
            case Ready():
                return {"ready": not self.agent.trouble, "reason": self.agent.trouble}
            case Status():
                return describe(
                    self.agent,
                    self.config,
                    self.topology,
                    privileges=self.privileges,
                    super_packets=self.super_packets,
                    kernel_drops=self.kernel_drops,
                    uptime=time.monotonic() - self.started_at,
                )
            case Flows():
                flows = describe_flows(self.agent.card, request.most, time.monotonic())
                return {"run": self.config.run, **flows}
            case SetValue():
                self._change([Change(request.path, request.value)])
            case ChangeTarget():
                changes = plan_changes(self._document, request.target, request.values)
                self._change(changes)
                return {"changes": [asdict(change) for change in changes]}
            case Rekey():
                return {"peers": self._rekey(request.peer)}
            case KeysWanted():
                requests = self.agent.take_key_requests()
                return {"requests": [{"peer": each.peer, "port": each.port} for each in requests]}
            case InstallKeys():
                self._require_peer(request.peer)
                keys = SessionKeys(request.initiator, request.port, bytearray(request.material))
                self.agent.install(request.peer, keys)
            case Close():
                self.agent.stop()
        return {}

    def _change(self, changes: Sequence[Change]) -> None:
        document = self._document
        for change in changes:
            document = changed(document, change.path, change.value)
        topology = self._compile(document)
        fixed = differences(self.topology, topology)
        if fixed:
            raise ChangeRefusedError(f"cannot be changed while the lab is up: {', '.join(sorted(fixed))}")
        self.agent.reconfigure(topology)
        if self._flow_logging is not None:
            self._flow_logging.update(topology)
        self._document, self.topology = document, topology
        logger.info("changed: %s", ", ".join(dotted(change.path) for change in changes))

    def _rekey(self, peer: str | None) -> list[str]:
        tunnels = self.agent.card.tunnels
        if peer is not None:
            self._require_peer(peer)
        asked = [name for name in ([peer] if peer else tunnels) if tunnels[name].state is TunnelState.UP]
        for name in asked:
            self.agent.rekey(name)
        return asked

    def _require_peer(self, peer: str) -> None:
        peers = self.agent.card.peers
        if peer not in peers:
            raise ChangeRefusedError(f"no tunnel to `{peer}`; {suggest(peer, peers)}")

    # -------------------------------------------------------------------------------------------- parts

    def _compile(self, document: dict[str, Any]) -> Topology:
        topology = compile_document(document)
        return topology if self.config.encryption == "on" else topology.without_encryption()

    def _set_up(self, device: VmDevice, metric: int) -> None:
        vm = self.topology.vms[device.vm]
        if device.create:
            configure_device(device.device, device.netns, vm, self.topology, metric)
        limit = super_packet_limit(min(vm.mtu, _smallest_inner_mtu(self.config.host, self.topology)))
        self.super_packets[vm.name] = limit_super_packets(device.device, device.netns, limit)

    def _watch_kernel(self, vm: str, netns: str | None, undo: ExitStack) -> None:
        """Read the kernel's counters of a VM's namespace, or of the host's own, from now on."""
        self.kernel_drops[vm] = drops = KernelDrops(netns)
        undo.callback(drops.close)

    def _open_port(self, fabric: UdpFabric, port: int) -> None:
        with self.privileges.raised():
            fabric.open_port(port)


def _make_card(config: HostConfig, topology: Topology) -> Card:
    now = datetime.now(UTC)
    host = topology.hosts[config.host]
    authorities = read_authorities(config.credentials)
    credentials = read_credentials(config.credentials, host.name, authorities[host.region], now)
    engine = choose_engine(config.backend or host.backend)
    logger.info("backend %s, %s: %s", engine.backend.name, engine.backend.detail, engine.reason)
    wall_start = now - timedelta(seconds=time.monotonic())
    return make_card(
        topology,
        host.name,
        credentials,
        authorities,
        engine=engine,
        wall_start=wall_start,
        first_port=secrets.choice(DYNAMIC_PORTS),
    )


def _neighbours(config: HostConfig, topology: Topology) -> list[Vm]:
    """The VMs whose devices are in the host's own namespace, beside its interface to the fabric."""
    return [topology.vms[each.vm] for each in config.vms if each.netns is None]


def _smallest_inner_mtu(host: str, topology: Topology) -> int:
    """Of the encrypted paths to all other hosts; what a lone host sends is not cut by any."""
    version = ip_address(topology.hosts[host].underlay).version
    overhead = path_overhead(encrypted=True, underlay_version=version)
    mtus = (topology.link(host, other).mtu for other in topology.hosts if other != host)
    return min(map(overhead.inner_mtu, mtus), default=MAX_PACKET)


def _log_offloads(agent: Agent) -> None:
    for place, offloads in offloads_of(agent).items():
        for name, offload in offloads.items():
            reason = f": {offload['reason']}" if offload["reason"] else ""
            logger.info("%s: %s %s%s", place, name, offload["state"], reason)


@contextmanager
def _ended_by_signals(stop: Callable[[], None], alarm: int) -> Iterator[None]:
    """Call ``stop`` at SIGTERM and SIGINT during the body; only the main thread may ask for that.

    ``alarm`` is a file that wakes the loop up: a signal that comes just before it falls asleep would not.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in STOP_SIGNALS}
    alarm_before = signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(alarm_before)
        for number, handler in before.items():
            signal.signal(number, handler)
