"""Two host processes as two containers would run them, each with its VM's device in its own namespace.

Real namespaces, a veth between them, real processes: what the kernel, the loop and the control socket make of
each other. Everything has names of this process, and is removed by them, whatever happens.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dtls_emu.assembly.targets import Change
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.deploy.changes import change_host
from dtls_emu.errors import LabFileError
from dtls_emu.events import Classified, Forwarded, Offered, Sealed, Sent
from dtls_emu.host.config import HostConfig, VmDevice, load_host_config
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.host.control.event_client import EventClient
from dtls_emu.host.credentials import write_credentials
from dtls_emu.host.device.tun import TunError
from dtls_emu.host.metrics import exposition, metric_families
from dtls_emu.host.running_host import RunningHost
from dtls_emu.machine.netns import entered
from dtls_emu.testing.waiting import PATIENCE, await_line, eventually, killed_after


pytestmark = pytest.mark.root

LAB: dict[str, Any] = {
    "virtual_networks": {
        "prod": {
            "address_prefixes": ["10.77.0.0/24", "fd77::/64"],
            "vni": 77,
            "encryption": {"enabled": True, "enforcement": "DropUnencrypted"},
        }
    },
    "hosts": {"h1": {"underlay": "198.51.100.1"}, "h2": {"underlay": "198.51.100.2"}},
    "vms": {
        name: {
            "host": host,
            "virtual_network": "prod",
            "address": f"10.77.0.{last}",
            "address_v6": f"fd77::{last}",
            "mtu": 1400,
        }
        for name, host, last in (("a", "h1", 4), ("b", "h2", 5))
    },
}
DEVICE = "nic0"
PORT = 5000
METRICS_PORT = 9464
SECRET = b"a payload that nobody on the fabric may read"


def run(*command):
    subprocess.run(command, check=True)


class Pair:
    """Hosts h1 and h2, each a process in a namespace of its own."""

    def __init__(self, folder, fast_path):
        self.fast_path = fast_path
        self.folder = folder
        self.namespaces = {host: f"dtls-emu-test-{os.getpid()}-{host}" for host in LAB["hosts"]}
        self.processes = {}
        authority = RegionAuthority.create("eastus", datetime.now(UTC))
        for host, vm in (("h1", "a"), ("h2", "b")):
            credentials = authority.issue(host, datetime.now(UTC))
            config = HostConfig(
                version=1,
                run="test",
                host=host,
                lab=LAB,
                fast_path=fast_path,
                credentials=write_credentials(folder / host, credentials, {"eastus": authority.certificate}),
                control_socket=Path(f"{host}.sock"),
                vms=(VmDevice(vm=vm, device=DEVICE, create=True),),
            )
            self.config(host).write_text(config.to_json())

    def config(self, host):
        return self.folder / f"{host}.json"

    def start(self, host, *options):
        """Start a host and wait for the line that says that it is ready."""
        command = [sys.executable, "-m", "dtls_emu", "host", "--config", str(self.config(host)), *options]
        with entered(self.namespaces[host]):
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.processes[host] = process
        await_line(process, process.stderr, "is ready")
        return process

    def end(self, host, number=signal.SIGTERM):
        """Send a signal, wait for the end, and return the exit code and what was said meanwhile."""
        process = self.processes.pop(host)
        process.send_signal(number)
        with killed_after(process):
            said = process.stderr.read()
        process.stderr.close()
        return process.wait(), said

    def ask(self, host, command, **arguments):
        return ask(self.folder / f"{host}.sock", command, **arguments)

    def sockets(self, version=4):
        """UDP sockets of programs of VMs a and b."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        sockets = []
        for host in ("h1", "h2"):
            with entered(self.namespaces[host]):
                sock = socket.socket(family, socket.SOCK_DGRAM)
            own = LAB["vms"]["a" if host == "h1" else "b"]["address" if version == 4 else "address_v6"]
            sock.bind((own, PORT))
            sock.settimeout(10)
            sockets.append(sock)
        return sockets

    def send(self, version=4, payload=SECRET):
        """One datagram from a to b; what b received."""
        a, b = self.sockets(version)
        with a, b:
            a.sendto(payload, b.getsockname()[:2])
            return b.recv(65_535)


@pytest.fixture(scope="module", params=["auto", "off"], ids=["compiled", "interpreted"])
def pair(tmp_path_factory, request):
    """Both hosts, up."""
    pair = Pair(tmp_path_factory.mktemp("hosts"), request.param)
    with ExitStack() as undo:
        for name in pair.namespaces.values():
            run("ip", "netns", "add", name)
            undo.callback(run, "ip", "netns", "del", name)
        one, two = pair.namespaces.values()
        run(
            *("ip", "-n", one, "link", "add", "fabric", "mtu", "1700", "type", "veth"),
            *("peer", "name", "fabric", "mtu", "1700", "netns", two),
        )
        for last, name in enumerate((one, two), start=1):
            run("ip", "-n", name, "addr", "add", f"198.51.100.{last}/24", "dev", "fabric")
            run("ip", "-n", name, "link", "set", "fabric", "up")

        def kill_all():
            for host in list(pair.processes):
                with suppress(ProcessLookupError):
                    pair.end(host, signal.SIGKILL)

        undo.callback(kill_all)
        for host in pair.namespaces:
            pair.start(host)
        yield pair


@pytest.fixture
def fabric_tap(pair):
    """Everything on the fabric, as an Ethernet tap of host h1 sees it."""
    with entered(pair.namespaces["h1"]):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))  # ETH_P_ALL
    tap.bind(("fabric", 3))
    tap.setblocking(False)

    def frames():
        with suppress(BlockingIOError):
            while True:
                yield tap.recv(1 << 17)

    yield frames
    tap.close()


@pytest.mark.parametrize("version", [4, 6])
def test_programs_talk_through_the_tunnel_and_nothing_is_in_clear(pair, fabric_tap, version):
    """The lab's addresses and routes are on the device; the payload is nowhere on the fabric."""
    assert pair.send(version) == SECRET
    frames = [*fabric_tap()]
    assert any(b"\x17\xfe\xfd" in frame for frame in frames)  # application data, DTLS 1.2
    assert [frame for frame in frames if SECRET[:16] in frame] == []


def test_whoever_listens_is_told_of_a_running_host(pair):
    """Over its event socket, in batches: a new flow with its decision, and the packet that began it, whole, inside and
    on the fabric.
    """
    path = pair.folder / "h1.evt"
    assert path.stat().st_mode & 0o777 == 0o600
    events: list[Any] = []
    with EventClient(path, wants_bytes=True, timeout=10) as client:
        pair.ask("h1", "ping")  # it has taken notice of us
        assert pair.send(payload=b"to be told of") == b"to be told of"
        for batch in client:
            events += batch.events
            if any(isinstance(event, Sent) and event.packet for event in events):
                break
    offered = next(event for event in events if isinstance(event, Offered))
    assert (offered.host, offered.vm) == ("h1", "a")
    assert b"to be told of" in offered.packets[0]
    path_of_it = [type(event) for event in events if getattr(event, "packet", None) == offered.packet]
    assert path_of_it[:2] == [Offered, Classified]
    assert path_of_it[-3:] == [Forwarded, Sealed, Sent]
    assert pair.send() == SECRET


class Transfer:
    """TCP between programs of both VMs, both ways at once."""

    def __init__(self, pair, version, size):
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        address = LAB["vms"]["b"]["address" if version == 4 else "address_v6"]
        with entered(pair.namespaces["h2"]):
            listener = socket.create_server((address, PORT), family=family)
        with listener:
            with entered(pair.namespaces["h1"]):
                client = socket.socket(family, socket.SOCK_STREAM)
            client.settimeout(30)
            client.connect((address, PORT))
            server, _ = listener.accept()
        self.ends = (client, server)
        for end in self.ends:
            end.setblocking(False)
        self.sent = random.Random(size).randbytes(size)
        self.arrived = {end: bytearray() for end in self.ends}
        self.left = {end: memoryview(self.sent) for end in self.ends}

    def until(self, size):
        """Go on until so many bytes have arrived at both ends."""
        poll = select.poll()
        for end in self.ends:
            poll.register(end, select.POLLIN | select.POLLOUT)
        while any(len(data) < size for data in self.arrived.values()):
            assert poll.poll(30_000), "the transfer does not move"
            for end in self.ends:
                with suppress(BlockingIOError):
                    self.left[end] = self.left[end][end.send(self.left[end][: 1 << 18]) :]
                with suppress(BlockingIOError):
                    self.arrived[end] += end.recv(1 << 20)

    def finish(self):
        """Whether everything arrived, and as it was."""
        self.until(len(self.sent))
        for end in self.ends:
            end.close()
        return all(data == self.sent for data in self.arrived.values())


@pytest.mark.parametrize("version", [4, 6])
def test_a_large_transfer_arrives_whole(pair, version):
    """TCP, in super-packets on both sides, both ways at once."""
    assert Transfer(pair, version, 8 << 20).finish()
    device = pair.ask("h2", "status")["devices"]["b"]
    assert device["written"] > 2 * device["writes"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_transfer_goes_on_when_the_fabric_gets_narrower(pair, version):
    """The card answers what does not fit any more, and the guest's TCP takes smaller steps."""
    transfer = Transfer(pair, version, 8 << 20)
    transfer.until(1 << 20)
    before = pair.ask("h1", "status")["card"]["egress"]
    for host in ("h1", "h2"):
        pair.ask(host, "set", path=["link_defaults", "mtu"], value=1400)
    assert transfer.finish()
    after = pair.ask("h1", "status")["card"]["egress"]
    assert after["answered"] > before["answered"]
    assert after["dropped"]["too_big"] > before["dropped"].get("too_big", 0)
    for host in ("h1", "h2"):
        pair.ask(host, "set", path=["link_defaults", "mtu"], value=None)


@pytest.mark.parametrize("version", [4, 6])
def test_a_transfer_goes_on_when_a_cable_gets_narrower_than_the_lab_says(pair, version):
    """The kernel says so, the card tells the guest; status tells people, and has forgotten it when the cable grows."""

    def set_cables(mtu):
        for namespace in pair.namespaces.values():
            run("ip", "-n", namespace, "link", "set", "fabric", "mtu", str(mtu))

    def mtu_of(host):
        status = pair.ask(host, "status")
        (tunnel,) = status["card"]["tunnels"].values()
        return tunnel["mtu"], [hint["about"] for hint in status["hints"]]

    def answered():
        # By either card: what one guest has learnt makes the other's segments smaller, too.
        return sum(pair.ask(host, "status")["card"]["egress"]["answered"] for host in ("h1", "h2"))

    before = answered()
    narrow = 1380  # smaller than any that the guests have learnt before, and remember
    try:
        set_cables(narrow)
        assert Transfer(pair, version, 8 << 20).finish()
        assert answered() > before
        expected = {"fabric": 1650, "path": narrow, "inner_encrypted": 1293, "inner_clear": 1330}
        assert (mtu_of("h1"), mtu_of("h2")) == ((expected, ["h2"]), (expected, ["h1"]))
    finally:
        set_cables(1700)
    expected = {"fabric": 1650, "path": 1700, "inner_encrypted": 1563, "inner_clear": 1600}
    assert mtu_of("h1") == mtu_of("h2") == (expected, [])


def test_the_status_is_right_and_adds_up(pair):
    """Books of card, sockets and devices; nothing that is secret."""
    pair.send()
    status = pair.ask("h1", "status")
    assert (status["run"], status["host"], status["ready"], status["trouble"]) == ("test", "h1", True, "")
    card = status["card"]
    tunnel = card["tunnels"]["h2"]
    assert (tunnel["state"], tunnel["cipher"]) == ("up", "AES-256-GCM")
    assert tunnel["mtu"] == {"fabric": 1650, "path": 1700, "inner_encrypted": 1563, "inner_clear": 1600}
    assert status["hints"] == []
    assert card["egress"]["clear"] == 0
    assert status["fabric"]["balanced"]
    assert status["devices"]["a"]["balanced"]
    assert status["devices"]["a"]["received"] == card["egress"]["offered"]
    way, fast_path = {
        "auto": ("compiled", {"state": "on", "reason": ""}),
        "off": ("interpreted", {"state": "off", "reason": "switched off"}),
    }[pair.fast_path]
    assert status["io_path"] == f"TUN super-packets, UDP GSO+GRO, {way}"
    assert card["offloads"] == {"fast_path": fast_path}
    assert status["privileges"]["other_threads"] == 0
    assert "PRIVATE" not in json.dumps(status)


def test_it_has_no_capability_in_effect_and_one_thread(pair):
    """Devices and sockets are open; nothing else needs any."""
    lines = Path(f"/proc/{pair.processes['h1'].pid}/status").read_text().splitlines()
    found = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert int(found["CapEff"], 16) == 0
    assert int(found["CapPrm"], 16) in {0, 1 << 12}
    assert int(found["CapBnd"], 16) == 0
    assert found["NoNewPrivs"].strip() == "1"
    assert found["Threads"].strip() == "1"


def test_its_metrics_are_served_on_request_and_are_what_the_status_says(pair):
    """From threads without a capability; counters that nothing moves meanwhile are the same in both."""
    run("ip", "-netns", pair.namespaces["h1"], "link", "set", "lo", "up")
    with entered(pair.namespaces["h1"]), socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.1", METRICS_PORT))
    pair.end("h1")
    pair.start("h1", "--metrics", f"127.0.0.1:{METRICS_PORT}")
    try:
        with entered(pair.namespaces["h1"]):
            served = (
                urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=30).read().decode()
            )
        said = exposition(metric_families([pair.ask("h1", "status")]))
        names = [
            {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
            for text in (served, said)
        ]
        assert names[0] == names[1]
        for task in Path(f"/proc/{pair.processes['h1'].pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            assert "CapEff:\t0000000000000000" in lines
    finally:
        pair.end("h1")
        pair.start("h1")


def test_links_and_policy_change_live_and_nothing_else(pair):
    """Loss of everything, and back; the tunnel stays up. What cannot change is refused by name."""
    assert pair.send() == SECRET
    handshakes = pair.ask("h1", "status")["card"]["tunnels"]["h2"]["handshakes"]
    pair.ask("h1", "set", path=["link_defaults"], value={"loss": "100%"})
    a, b = pair.sockets()

    def when_lost():
        tunnel = pair.ask("h1", "status")["card"]["tunnels"]["h2"]
        return tunnel if tunnel["link"]["dropped"].get("lost") else None

    with a, b:
        b.setblocking(False)
        a.sendto(b"lost", b.getsockname())
        tunnel = eventually(when_lost, "the link has lost it")
        with pytest.raises(BlockingIOError):
            b.recv(100)
    assert tunnel["impairments"] == {"delay": 5e-05, "loss": 1.0}
    pair.ask("h1", "set", path=["link_defaults", "loss"], value=None)
    assert pair.send() == SECRET
    tunnel = pair.ask("h1", "status")["card"]["tunnels"]["h2"]
    assert tunnel["impairments"] == {}
    assert tunnel["handshakes"] == handshakes
    with pytest.raises(ControlError, match="cannot be changed while the lab is up: underlay of h2"):
        pair.ask("h1", "set", path=["hosts", "h2", "underlay"], value="198.51.100.9")
    with pytest.raises(ControlError) as caught:
        pair.ask("h1", "set", path=["link_defaults", "loss"], value="lots")
    assert caught.value.problems[0].startswith("lab: link_defaults.loss: ")


def test_what_a_person_names_is_changed_live(pair):
    """A link of its direction and a network: one card, by its socket alone. A part that is wrong changes nothing."""
    socket_path = pair.folder / "h1.sock"
    assert change_host(socket_path, "h1-h2", ["loss=1%", "mtu=1500"]) == [
        Change(("links",), [{"between": ["h1", "h2"], "loss": "1%", "mtu": 1500}])
    ]
    assert change_host(socket_path, "h1->h2", ["loss=2%"])[0].path == ("links", 1)
    tunnel = pair.ask("h1", "status")["card"]["tunnels"]["h2"]
    assert (tunnel["impairments"]["loss"], tunnel["mtu"]["fabric"]) == (0.02, 1500)
    assert pair.ask("h2", "status")["card"]["tunnels"]["h1"]["impairments"] == {}
    with pytest.raises(LabFileError, match=r"^lab: links\[0\]\.loss: .*\nlab: links\[1\]\.loss: "):
        change_host(socket_path, "h1-h2", ["mtu=1400", "loss=lots"])
    with pytest.raises(
        LabFileError, match=r"encryption\.enforcment: unknown key; did you mean `enforcement`\?"
    ):
        change_host(socket_path, "prod", ["encryption.enforcment=AllowUnencrypted"])
    with pytest.raises(ControlError, match=r"nothing here is called `h1-h9`; .*a link such as h1-h2"):
        change_host(socket_path, "h1-h9", ["loss=1%"])
    with pytest.raises(ControlError, match="cannot be changed while the lab is up: vni of prod"):
        change_host(socket_path, "prod", ["vni=78"])
    tunnel = pair.ask("h1", "status")["card"]["tunnels"]["h2"]
    assert (tunnel["impairments"]["loss"], tunnel["mtu"]["fabric"]) == (0.02, 1500)
    change_host(socket_path, "h1-h2", ["loss=", "mtu="])
    tunnel = pair.ask("h1", "status")["card"]["tunnels"]["h2"]
    assert (tunnel["impairments"], tunnel["mtu"]["fabric"]) == ({}, 1650)
    assert pair.send() == SECRET


def test_a_rekey_makes_fresh_keys_with_full_buffers_and_loses_nothing(pair):
    """The new socket is opened by a process without capabilities in effect."""
    before = pair.ask("h1", "status")["card"]["tunnels"]["h2"]["handshakes"]
    pair.send()
    assert pair.ask("h1", "rekey") == {"peers": ["h2"]}
    assert pair.send() == SECRET  # under the old keys, as long as the new ones are being made
    status = pair.ask("h1", "status")
    for _ in range(200):
        if status["card"]["tunnels"]["h2"]["handshakes"] > before:
            break
        assert pair.send() == SECRET
        status = pair.ask("h1", "status")
    assert status["card"]["tunnels"]["h2"]["handshakes"] == before + 1
    assert status["fabric"]["offloads"]["socket_buffer"]["state"] == "on"
    with pytest.raises(ControlError, match="no tunnel to `h9`"):
        pair.ask("h1", "rekey", peer="h9")


def test_a_second_host_of_the_same_name_is_refused_and_leaves_nothing(pair):
    """It could not have the device; the first one goes on."""
    command = [sys.executable, "-m", "dtls_emu", "host", "--config", str(pair.config("h1"))]
    with entered(pair.namespaces["h1"]):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].startswith("dtls-emu: ")
    assert pair.send() == SECRET


def test_what_fails_in_the_middle_is_undone(pair):
    """The sockets that were opened before the device was found to be in use."""
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    with entered(pair.namespaces["h1"]):
        config = load_host_config(pair.config("h1"))
        wrong = config.model_copy(update={"vms": (config.vms[0].model_copy(update={"create": False}),)})
        with pytest.raises(TunError, match="another process has it open"):
            RunningHost(wrong)
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before


def test_a_link_that_was_down_is_used_again(pair):
    """Nothing of the loop minds; a lost datagram is lost."""
    one = pair.namespaces["h1"]
    run("ip", "-n", one, "link", "set", "fabric", "down")
    a, b = pair.sockets()
    with a, b:
        a.sendto(b"lost", b.getsockname())
    pair.ask("h1", "ping")
    run("ip", "-n", one, "link", "set", "fabric", "up")
    assert pair.send() == SECRET


def test_a_host_that_is_killed_and_started_again_is_reached_without_being_asked(pair):
    """Its VM only listens; its peer goes on sending under keys that are gone."""
    assert pair.send() == SECRET
    pair.end("h2", signal.SIGKILL)
    pair.start("h2")
    a, b = pair.sockets()
    with a, b:
        b.settimeout(0.2)

        def heard():
            a.sendto(SECRET, b.getsockname())
            with suppress(TimeoutError):
                return b.recv(100)
            return b""

        assert eventually(heard, "b hears a again") == SECRET


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(pair, number):
    """Exit 0, a goodbye to the peer, and neither socket nor device left."""
    assert pair.send() == SECRET
    code, said = pair.end("h1", number)
    assert (code, said.splitlines()[-1]) == (0, "INFO h1 ends")
    assert not (pair.folder / "h1.sock").exists()
    with entered(pair.namespaces["h1"]), pytest.raises(OSError, match="no interface"):
        socket.if_nametoindex(DEVICE)
    assert pair.ask("h2", "status")["card"]["tunnels"]["h1"]["state"] == "idle"
    pair.start("h1")
    assert pair.send() == SECRET


def test_a_client_ends_it_well(pair):
    """After it has been answered."""
    assert pair.ask("h1", "close") == {}
    process = pair.processes.pop("h1")
    assert process.wait(PATIENCE) == 0
    process.stderr.close()
    pair.start("h1")
    assert pair.send() == SECRET
