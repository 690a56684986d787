"""What this machine offers: each thing the package can use, whether it is there, why not, and what to do.

A probe tries the thing where that leaves nothing behind, else it looks. It never raises: whatever goes wrong
is the reason. Interfaces and namespaces made on the way are gone when it returns.
"""

from __future__ import annotations

import os
import shutil
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
from dtls_emu.errors import BackendUnavailableError, RunError
from dtls_emu.fabric.offload import SOCKET_BUFFER_BYTES
from dtls_emu.fabric.trial import try_offloads
from dtls_emu.machine.environment import CPU_FEATURES, environment, openssl_version, package_version
from dtls_emu.machine.keeper import KeeperFailedError, try_namespaces
from dtls_emu.machine.linux import Capability
from dtls_emu.machine.refusals import explain_refusal
from dtls_emu.machine.tun import TUN, TunUnavailableError, tun_interface, tun_offloads
from dtls_emu.paths import usable_runs_directory
from dtls_emu.wire.kernel_cache import choose_cache


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Offer", "OfferState", "is_ready", "probe"]

COMMAND_TIMEOUT: Final = 5.0
"""Seconds that a program may take to say its version."""

NOBODY: Final = 65534
"""An ordinary user, for root to try as."""


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
    offloads, sends, reads = try_offloads()
    return [
        _offload("UDP GSO", offloads["udp_gso"]["reason"], one_call=sends == 1),
        _offload("UDP GRO", offloads["udp_gro"]["reason"], one_call=reads == 1),
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
    reason = f"{who} without it; in namespaces of their own hosts have it"
    return [Offer("CAP_NET_ADMIN", OfferState.NO, reason, "see: hosts without root")]


def _tun() -> list[Offer]:
    names = "TUN device", "TUN offloads"
    if not TUN.exists():
        remedy = f"modprobe tun; in a container also --device {TUN}"
        return [Offer(name, OfferState.NO, f"there is no {TUN}", remedy) for name in names]
    if not _has_net_admin():
        reason, remedy = "not tried: needs CAP_NET_ADMIN", "see: hosts without root"
        return [Offer(name, OfferState.NO, reason, remedy) for name in names]
    try:
        with tun_interface() as file:
            return [
                Offer(names[0], OfferState.YES, "an interface was made and removed"),
                _tun_offloads(file),
            ]
    except TunUnavailableError as error:
        what = "no interface" if error.is_open else str(TUN)
        return [Offer(name, OfferState.NO, f"{what}: {error}") for name in names]


def _tun_offloads(file: int) -> Offer:
    name = "TUN offloads"
    try:
        found, is_all = tun_offloads(file)
    except OSError as error:
        return Offer(name, OfferState.NO, f"no vnet header, checksums or TSO: {error.strerror}")
    return Offer(name, OfferState.YES if is_all else OfferState.LIMITED, found)


def _has_net_admin() -> bool:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return False
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return Capability.CAP_NET_ADMIN.is_in(int(effective, 16))


def _network_namespaces() -> list[Offer]:
    return [_unshare("network namespaces", ["--net"], "run as root")]


def _without_root() -> list[Offer]:
    """Try what `up` does for an ordinary user: root tries it as one, since a restriction is not for root."""
    name = "hosts without root"
    user = NOBODY if os.geteuid() == 0 else None
    who = "" if user is None else f", as user {user}"
    try:
        try_namespaces(user)
    except KeeperFailedError as error:
        if error.refused is None:
            remedy = "" if user is None else "have Python and dtls-emu where everybody may read them"
            return [Offer(name, OfferState.NO, f"{error}{who}", remedy)]
        refusal = explain_refusal(error.refused)
        return [Offer(name, OfferState.NO, refusal.reason, refusal.remedy)]
    made = f"namespaces with a TUN device were made and removed{who}"
    try:
        usable_runs_directory()
    except RunError as error:
        reason, _, remedy = str(error).partition(": ")
        return [Offer(name, OfferState.LIMITED, f"{made}; {reason}", remedy)]
    return [Offer(name, OfferState.YES, made)]


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
    _without_root,
    _tshark,
    _iperf3,
    _podman,
)
