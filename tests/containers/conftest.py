"""Podman in a room of its own, the image, and the lab of two VMs as containers and as pods.

The room is a process with network, mount and process namespaces of its own: bridges, firewall rules, mounts and
all processes that Podman starts are in there, and go with it, also when the tests are killed. On disk there is
one folder, whose name is printed, and which is removed.

DTLS_EMU_CONTAINER_STORE names a folder for images that stays, so that the next time there is little to build.
DTLS_EMU_BASE names a base image to be pulled; without it, one is made with debootstrap.
"""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dtls_emu.deploy.export import export_compose, export_kubernetes
from dtls_emu.lab import load_lab
from dtls_emu.machine.netns import entered
from dtls_emu.testing.waiting import await_line, eventually


ROOT = Path(__file__).parents[2]
IMAGE = "localhost/dtls-emu:latest"
OWN_BASE = "localhost/dtls-emu-base:latest"
CERTIFICATES = "/etc/ssl/certs"
PATIENCE = 120
"""Seconds. A host is ready in three; one on another kind of CPU than the image was built on compiles first."""

HOLDER = """
mount -t tmpfs none "$1"
for place in /run /etc/containers /var/lib; do
    mkdir -p "$1$place/upper" "$1$place/work"
    mount -t overlay -o "lowerdir=$place,upperdir=$1$place/upper,workdir=$1$place/work" overlay "$place"
done
mkdir -p /var/lib/containers
mount --bind "$2" /var/lib/containers
ip link set lo up
echo made
exec catatonit -P
"""
"""Where Podman writes is ours. The first process buries all others."""


class Room:
    """The namespaces. Fields: pid of their first process, as it is outside."""

    def __init__(self, folder, store):
        folder.mkdir()
        apart = [
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation=private",
        ]
        command = ["setpriv", "--pdeathsig=KILL", "unshare", *apart, "sh", "-ec", HOLDER, "sh", folder, store]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        await_line(self._holder, self._holder.stdout, "made")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        (self.pid,) = map(int, children.read_text(encoding="ascii").split())

    @property
    def network(self):
        """Path of its network namespace."""
        return f"/proc/{self.pid}/ns/net"

    def run(self, *command, folder="/", outside=False, **options):
        """Run a command in the room; with the machine's own network if it has to reach the world."""
        spaces = ["--mount", "--pid", *([] if outside else ["--net"])]
        entering = ["nsenter", f"--target={self.pid}", *spaces, "env", f"--chdir={folder}"]
        return subprocess.run([*entering, *command], check=False, text=True, **options)

    def close(self):
        """End every process in it, and with them the namespaces."""
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()


class Podman:
    """Podman in the room."""

    def __init__(self, room):
        self.room = room
        self._environment = os.environ | {"CONTAINERS_CONF": str(ROOT / "containers" / "containers.conf")}

    def run(self, *arguments, check=True, **options):
        """Run a podman command."""
        return self._run("podman", *arguments, check=check, **options)

    def compose(self, folder, *arguments):
        """Run a podman-compose command."""
        return self._run(str(Path(sys.executable).with_name("podman-compose")), *arguments, folder=folder)

    def build(self, base):
        """Build the image; only what has changed is built again."""
        if base == OWN_BASE and not self.has_image(base):
            self._run(str(ROOT / "containers" / "build-base"), base, outside=True)
        self.run(
            "build",
            "--format=docker",
            "--isolation=chroot",
            "--network=host",
            f"--volume={CERTIFICATES}:{CERTIFICATES}:ro",
            f"--build-arg=BASE={base}",
            "--file=containers/Containerfile",
            f"--tag={IMAGE}",
            ".",
            folder=ROOT,
            outside=True,
        )

    def remove_all(self):
        """Remove everything but images."""
        for command in (
            ("pod", "rm", "--all", "--force", "--time=1"),
            ("rm", "--all", "--force", "--time=1", "--volumes"),
            ("volume", "rm", "--all", "--force"),
            ("secret", "rm", "--all"),
        ):
            self.run(*command)

    def has_image(self, name):
        return self.run("image", "exists", name, check=False).returncode == 0

    def _run(self, *command, check=True, **options):
        done = self.room.run(*command, capture_output=True, env=self._environment, **options)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done


@pytest.fixture(scope="session")
def podman():
    """Podman, without a container, volume, secret or network yet."""
    folder = Path(tempfile.mkdtemp(prefix="dtls-emu-containers-"))
    store = Path(os.environ.get("DTLS_EMU_CONTAINER_STORE", folder / "store")).resolve()
    store.mkdir(parents=True, exist_ok=True)
    cgroups = set(control_groups())
    room = Room(folder / "room", store)
    try:
        podman = Podman(room)
        podman.remove_all()  # what a run left in a lasting store when it was killed
        yield podman
        podman.remove_all()
    finally:
        room.close()
        shutil.rmtree(folder)
        for group in sorted(set(control_groups()) - cgroups, reverse=True):
            with suppress(OSError):
                group.rmdir()


def control_groups():
    """Those that Podman makes for its containers, and all in them."""
    for parent in Path("/sys/fs/cgroup").glob("**/libpod_parent"):
        yield from (parent, *(each for each in parent.rglob("*") if each.is_dir()))


@pytest.fixture(scope="session")
def image(podman):
    """The image of this checkout."""
    podman.build(os.environ.get("DTLS_EMU_BASE", OWN_BASE))
    return IMAGE


# ------------------------------------------------------------------------------------------------ the wire

DTLS_PORT, VXLAN_PORT = 4433, 4789
RECORDS = {
    b"\x14\xfe\xfd": "change cipher spec",
    b"\x15\xfe\xfd": "alert",
    b"\x16\xfe\xfd": "handshake",
    b"\x16\xfe\xff": "handshake",  # a first ClientHello has the version of DTLS 1.0 (RFC 6347 4.2.1)
    b"\x17\xfe\xfd": "data",
}
NOT_IPV4 = "not IPv4"
PING_MARK = b"clear text"
IPERF_MARK = b"0123456789" * 8  # of --repeating-payload


class Watch:
    """What passes a device: packets by kind (`seen`), and those that a mark can be read in (`readable`)."""

    def __init__(self, sock):
        self.seen = Counter[str]()
        self.readable = 0
        self._socket = sock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        sock.settimeout(0.1)
        self._thread.start()

    @property
    def only_sealed(self):
        """Whether there was nothing but DTLS records, and what bridges and neighbours say to each other."""
        return not self.readable and set(self.seen) <= {*RECORDS.values(), NOT_IPV4}

    def stop(self):
        self._stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the bridge is never silent"
        self._socket.close()

    def _run(self):
        while True:
            try:
                frame = self._socket.recv(1 << 17)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            self.seen[kind_of(frame)] += 1
            self.readable += PING_MARK in frame or IPERF_MARK in frame


def kind_of(frame):
    """What an Ethernet frame is: for UDP between hosts the kind of its first record."""
    if frame[12:14] != b"\x08\x00":
        return NOT_IPV4
    header = 14 + (frame[14] & 15) * 4
    if frame[23] != 17:
        return f"IPv4 protocol {frame[23]}"
    ports = struct.unpack_from("!HH", frame, header)
    if VXLAN_PORT in ports:
        return "VXLAN in clear"
    if DTLS_PORT in ports:
        return RECORDS.get(frame[header + 8 : header + 11], "no record")
    return "other UDP"


# -------------------------------------------------------------------------------------------------- the lab


class RunningLab:
    """The lab of two VMs, up.

    Fields:
        podman: runs it.
        containers: their names, by host.
        bridge: the device they are joined by.
        alone: pings that were answered while host-2 was not there, and what was seen of them.
    """

    alone: tuple[int, Watch]

    def __init__(self, podman, network):
        self.podman = podman
        self.containers = {}
        found = podman.run("network", "inspect", "--format={{.NetworkInterface}}", network)
        self.bridge = found.stdout.strip()

    def run(self, host, *command, check=True):
        """Run a command in the container of a host."""
        return self.podman.run("exec", self.containers[host], *command, check=check)

    def ping(self, host, target):
        """Ping with a mark in every packet, and return how many of five were answered."""
        command = ["ping", "-p", PING_MARK.hex(), "-c", "5", "-i", "0.2", "-W", "2", target]
        done = self.run(host, *command, check=False)
        answered = re.search(r"(\d+) received", done.stdout)
        return int(answered[1]) if answered else 0

    def await_ready(self):
        """Wait until every host says that packets get through."""
        for host in self.containers:
            self.await_true(lambda host=host: self.run(host, "probe", "ready", check=False).returncode == 0)

    def await_true(self, question):
        """Ask until the answer is yes."""
        try:
            eventually(question, "what the containers are waited for", seconds=PATIENCE)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *map(self.log, self.containers)])) from None

    def log(self, host):
        """What a host said."""
        done = self.podman.run("logs", self.containers[host])
        return done.stdout + done.stderr

    @contextmanager
    def watching(self):
        """Watch the bridge: everything that passes from port to port."""
        with entered(self.podman.room.network):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))  # ETH_P_ALL
            index = socket.if_nametoindex(self.bridge)
        sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        sock.bind((self.bridge, 0))
        # SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC
        sock.setsockopt(263, 1, struct.pack("=iHH8s", index, 1, 0, b""))
        watch = Watch(sock)
        try:
            yield watch
        finally:
            watch.stop()


@pytest.fixture(scope="session")
def compose_lab(podman, image, tmp_path_factory):
    """Up as `export compose` and podman-compose have it."""
    folder = tmp_path_factory.mktemp("compose")
    export_compose(load_lab("two-vms"), folder, image=image)
    podman.compose(folder, "up", "--detach")
    try:
        lab = RunningLab(podman, "two-vms_underlay")
        lab.containers = {host: f"two-vms_{host}_1" for host in ("host-1", "host-2")}
        lab.await_ready()
        yield lab
    finally:
        podman.compose(folder, "down", "--volumes")


@pytest.fixture(scope="session")
def pods(podman, image, tmp_path_factory):
    """Up as `export kubernetes` and podman have it, one file a host. Host-1 was alone for a while: see `alone`."""
    folder = tmp_path_factory.mktemp("kubernetes")
    files = export_kubernetes(load_lab("two-vms"), folder, image=image)
    podman.run("network", "create", "--opt=mtu=1450", "pods")
    lab = RunningLab(podman, "pods")
    try:
        for path in files:
            play(lab, path)
            if path.stem == "host-1":
                lab.await_true(lambda: "waiting for an address of host-2" in lab.log("host-1"))
                with lab.watching() as watch:
                    lab.alone = lab.ping("host-1", "vm-b"), watch
        lab.await_ready()
        yield lab
    finally:
        for path in files[: len(lab.containers)]:
            podman.run("kube", "down", str(path))
        podman.run("network", "rm", "--force", "pods")


def play(lab, path):
    """Start the pod of a file, and find its container: names of a Deployment's pods differ between versions."""
    host = path.stem
    lab.podman.run("kube", "play", f"--network=pods:alias={host}", str(path))
    names = lab.podman.run("ps", "--format={{.Names}}").stdout.split()
    (lab.containers[host],) = [
        name for name in names if name.startswith(f"{host}-pod") and name.endswith("-card")
    ]


@pytest.fixture(params=["compose_lab", "pods"])
def lab(request):
    """Up, in both ways."""
    return request.getfixturevalue(request.param)
