"""What this machine offers: each thing the package can use, whether it is there, why not, and what to do.

A probe tries the thing where that leaves nothing behind, else it looks. It never raises: whatever goes wrong
is the reason. Interfaces and namespaces made on the way are gone when it returns.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.crypto.ipsec_mb_library import cpu_flags, open_library
from dtls_emu.crypto.libcrypto_library import open_libcrypto
from dtls_emu.errors import BackendUnavailableError
from dtls_emu.fabric.offload import SOCKET_BUFFER_BYTES
from dtls_emu.fabric.udp import UdpFabric
from dtls_emu.machine.environment import CPU_FEATURES, environment, openssl_version, package_version
from dtls_emu.nic.effects import Transmit
from dtls_emu.wire.burst import Burst
from dtls_emu.wire.kernel_cache import choose_cache


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Offer", "OfferState", "is_ready", "probe"]

COMMAND_TIMEOUT: Final = 5.0
"""Seconds that a program may take to say its version."""

# linux/if_tun.h
_TUNSETIFF: Final = 0x400454CA
_TUNSETOFFLOAD: Final = 0x400454D0
_TUNSETVNETHDRSZ: Final = 0x400454D8
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_VNET_HDR: Final = 0x4000
_TUN_F_CSUM_TSO: Final = 0x01 | 0x02 | 0x04  # checksums, TSO4, TSO6
_TUN_F_USO: Final = 0x20 | 0x40  # USO4, USO6
_VIRTIO_NET_HDR: Final = 10  # bytes of struct virtio_net_hdr

_CAP_NET_ADMIN: Final = 12  # linux/capability.h


class OfferState(StrEnum):
    """Whether something is there."""

    YES = "yes"
    LIMITED = "limited"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing that the package can use.

    Fields:
        name: for people and programs.
        state: there, there with a limit, or not.
        reason: what was found, or why it is not there.
        remedy: what to do about it; empty when there is nothing to do.
        essential: nothing works without it.
    """

    name: str
    state: OfferState
    reason: str
    remedy: str = ""
    essential: bool = False


def probe(*more: Callable[[], list[Offer]]) -> list[Offer]:
    """Look at everything. Takes about half a second; the slow ones run side by side.

    Args:
        more: probes of other things, whose offers come behind the machine's own.
    """
    with ThreadPoolExecutor() as pool:
        return [offer for offers in pool.map(_guarded, (*_PROBES, *more)) for offer in offers]


def is_ready(offers: list[Offer]) -> bool:
    """Whether everything essential is there."""
    return all(offer.state != OfferState.NO for offer in offers if offer.essential)


def _guarded(run: Callable[[], list[Offer]]) -> list[Offer]:
    try:
        return run()
    except Exception as error:
        name = run.__name__.strip("_").replace("_", " ")
        return [Offer(name, OfferState.NO, f"the probe failed: {type(error).__name__}: {error}")]


# ------------------------------------------------------------------------------------------- libraries


def _python() -> list[Offer]:
    facts = environment()
    return [
        Offer("Python", OfferState.YES, facts["python"], essential=True),
        Offer("kernel", OfferState.YES, ", ".join(filter(None, (facts["kernel"], facts["system"])))),
    ]


def _packages() -> list[Offer]:
    return [
        _importable("cryptography", "cryptography", openssl_version() or ""),
        _importable("pyOpenSSL", "OpenSSL.SSL"),
        _importable("NumPy", "numpy"),
    ]


def _importable(name: str, module: str, detail: str = "") -> Offer:
    try:
        import_module(module)
    except Exception as error:
        remedy = f"pip install --force-reinstall {name}"
        return Offer(name, OfferState.NO, f"{type(error).__name__}: {error}", remedy, essential=True)
    found = package_version(name) or "version unknown"
    return Offer(name, OfferState.YES, f"{found}, {detail}" if detail else found, essential=True)


def _numba() -> list[Offer]:
    # Found, not imported: importing it takes longer than all other probes together.
    if find_spec("numba") is None:
        return [Offer("Numba", OfferState.NO, "not installed", "pip install numba", essential=True)]
    found = package_version("numba") or "version unknown"
    cache = choose_cache(make=False)
    if cache.folder is None:
        kept = "compiled kernels are not kept, but compiled anew at every start"
    elif not cache.is_writable:
        kept = f"compiled kernels are those in {cache.folder}, which cannot be written to"
    else:
        kept = f"compiled kernels are kept in {cache.folder}"
    if not cache.trouble:
        return [Offer("Numba", OfferState.YES, f"{found}, {kept}", essential=True)]
    remedy = "export NUMBA_CACHE_DIR=<a folder that you can write to>"
    return [Offer("Numba", OfferState.LIMITED, f"{found}, {kept}: {cache.trouble}", remedy, essential=True)]


def _ipsec_mb() -> list[Offer]:
    name = "libIPSec_MB"
    try:
        return [Offer(name, OfferState.YES, open_library()[1])]
    except BackendUnavailableError as error:
        remedy = "apt install libipsec-mb1" if "not installed" in str(error) else ""
        reason = str(error).split(" (", 1)[0]
        return [Offer(name, OfferState.NO, f"{reason}; the libcrypto backend is used", remedy)]


def _libcrypto() -> list[Offer]:
    name = "OpenSSL as a library"
    try:
        found = open_libcrypto()
    except BackendUnavailableError as error:
        remedy = "apt install libssl3" if "not installed" in str(error) else ""
        reason = str(error).split(" (", 1)[0]
        return [Offer(name, OfferState.NO, f"{reason}; the cryptography backend is used", remedy)]
    return [Offer(name, OfferState.YES, found.version + (", FIPS provider" if found.fips else ""))]


# ------------------------------------------------------------------------------------------------- CPU


def _cpu() -> list[Offer]:
    cpu = environment()["cpu"]
    flags = cpu_flags()
    missing = [feature for feature in CPU_FEATURES if feature not in flags]
    state = OfferState.NO if {"aes", "pclmulqdq"} & set(missing) else OfferState.LIMITED
    has = f"{cpu['model'] or 'unknown'}: {' '.join(cpu['features']) or 'none of its features is known'}"
    cores = cpu["usable_cores"]
    return [
        Offer("AES-GCM in the CPU", state, f"{has}; without {' '.join(missing)}")
        if missing
        else Offer("AES-GCM in the CPU", OfferState.YES, has),
        Offer("cores", OfferState.YES, str(cores))
        if cores > 1
        else Offer("cores", OfferState.LIMITED, "1: sender and receiver of a benchmark share it"),
    ]


# ------------------------------------------------------------------------------------------------- UDP


def _udp() -> list[Offer]:
    """Send two datagrams at once to ourselves, and look whether they come in one read."""
    address = "127.0.0.1"
    received: list[object] = []
    with UdpFabric(address) as fabric:
        port = fabric.open_port(0)
        burst = Burst.from_packets([b"12", b"34"])
        fabric.transmit(Transmit(burst, port, (address, port)))
        while len(received) < burst.count and fabric.wait(1.0):
            fabric.receive(lambda rows, *_: received.extend(rows.rows()), 0.0)
        offloads, books = fabric.offloads(), fabric.statistics()
    return [
        _offload("UDP GSO", offloads["udp_gso"]["reason"], one_call=books.sends == 1),
        _offload("UDP GRO", offloads["udp_gro"]["reason"], one_call=books.reads == 1),
        _socket_buffers(offloads["socket_buffer"]["reason"]),
    ]


def _offload(name: str, reason: str, *, one_call: bool) -> Offer:
    if reason:
        return Offer(name, OfferState.NO, f"{reason}; datagrams go one by one")
    if not one_call:
        return Offer(name, OfferState.LIMITED, "accepted, but two datagrams took two calls on loopback")
    return Offer(name, OfferState.YES, "works on loopback; a network device may still refuse it")


def _socket_buffers(reason: str) -> Offer:
    name = "socket buffers"
    if not reason:
        return Offer(name, OfferState.YES, f"{SOCKET_BUFFER_BYTES} bytes")
    remedy = f"sysctl -w net.core.rmem_max={SOCKET_BUFFER_BYTES} net.core.wmem_max={SOCKET_BUFFER_BYTES}"
    return Offer(name, OfferState.LIMITED, reason, remedy)


# ---------------------------------------------------------------------- what real hosts and guests need


def _privileges() -> list[Offer]:
    admin = _has_net_admin()
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if admin:
        return [Offer("CAP_NET_ADMIN", OfferState.YES, who)]
    remedy = "run as root; only namespaces and TUN devices need it"
    return [Offer("CAP_NET_ADMIN", OfferState.NO, f"{who} without it", remedy)]


def _tun() -> list[Offer]:
    device = "/dev/net/tun"
    names = "TUN device", "TUN offloads"
    if not Path(device).exists():
        remedy = f"modprobe tun; in a container also --device {device}"
        return [Offer(name, OfferState.NO, f"there is no {device}", remedy) for name in names]
    if not _has_net_admin():
        return [Offer(name, OfferState.NO, "not tried: needs CAP_NET_ADMIN", "run as root") for name in names]
    try:
        file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return [Offer(name, OfferState.NO, f"{device}: {error.strerror}") for name in names]
    try:  # the interface goes with its file
        request = struct.pack("16sH22x", b"dtlsprobe%d", _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(file, _TUNSETIFF, request)
        return [Offer(names[0], OfferState.YES, "an interface was made and removed"), _tun_offloads(file)]
    except OSError as error:
        return [Offer(name, OfferState.NO, f"no interface: {error.strerror}") for name in names]
    finally:
        os.close(file)


def _tun_offloads(file: int) -> Offer:
    name = "TUN offloads"
    try:
        fcntl.ioctl(file, _TUNSETVNETHDRSZ, struct.pack("i", _VIRTIO_NET_HDR))
        fcntl.ioctl(file, _TUNSETOFFLOAD, _TUN_F_CSUM_TSO)
    except OSError as error:
        return Offer(name, OfferState.NO, f"no vnet header, checksums or TSO: {error.strerror}")
    try:
        fcntl.ioctl(file, _TUNSETOFFLOAD, _TUN_F_CSUM_TSO | _TUN_F_USO)
    except OSError:
        return Offer(name, OfferState.LIMITED, "vnet header, checksums, TSO; no USO (Linux 6.2 has it)")
    return Offer(name, OfferState.YES, "vnet header, checksums, TSO, USO")


def _has_net_admin() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return False
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_NET_ADMIN & 1)


def _network_namespaces() -> list[Offer]:
    return [_unshare("network namespaces", ["--net"], "run as root")]


def _user_namespaces() -> list[Offer]:
    remedy = "sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone; or run as root"
    return [_unshare("user namespaces", ["--user", "--map-root-user", "--net"], remedy)]


def _unshare(name: str, options: list[str], remedy: str) -> Offer:
    program = shutil.which("unshare")
    if program is None:
        return Offer(name, OfferState.NO, "not tried: unshare is not installed", "apt install util-linux")
    outcome = _run([program, *options, "true"])
    if outcome.returncode == 0:
        return Offer(name, OfferState.YES, "one was made and removed")
    return Offer(name, OfferState.NO, outcome.stderr.strip().rpartition(": ")[2], remedy)


# -------------------------------------------------------------------------------------- other programs


def _tshark() -> list[Offer]:
    return [_program("tshark", "opens captures, decrypted")]


def _iperf3() -> list[Offer]:
    return [_program("iperf3", "measures between real guests")]


def _podman() -> list[Offer]:
    return [_program("podman", "runs hosts as containers")]


def _program(name: str, purpose: str) -> Offer:
    path = shutil.which(name)
    if path is None:
        return Offer(name, OfferState.NO, f"not installed; it {purpose}", f"apt install {name}")
    lines = _run([path, "--version"]).stdout.strip().splitlines()
    return Offer(name, OfferState.YES, lines[0] if lines else "does not tell its version")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (our own words; only the path is looked up)
        command,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


_PROBES: Final = (
    _python,
    _packages,
    _numba,
    _ipsec_mb,
    _libcrypto,
    _cpu,
    _udp,
    _privileges,
    _tun,
    _network_namespaces,
    _user_namespaces,
    _tshark,
    _iperf3,
    _podman,
)
