"""What a test needs beyond Python, and how it says that it is missing; and a small lab for whoever needs one."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings


# GNU readline, which pytest loads, puts them into the environment of its children: of the processes of `pytest -n`, too.
for _name in ("COLUMNS", "LINES"):
    os.environ.pop(_name, None)

# No test is judged by its speed: a busy machine may stall an example, or the making of many.
settings.register_profile(
    "ours", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ours")


def _backend(name):
    def missing():
        from dtls_emu.crypto.registry import load
        from dtls_emu.errors import BackendUnavailableError

        try:
            load(name)
        except BackendUnavailableError as error:
            return str(error)
        return None

    return missing


def _udp_offload():
    from dtls_emu.fabric.offload import SOL_UDP, UDP_GRO, UDP_SEGMENT

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(SOL_UDP, UDP_SEGMENT, 1400)
            probe.setsockopt(SOL_UDP, UDP_GRO, 1)
        except OSError as error:
            return f"no UDP_SEGMENT or UDP_GRO: {error}"
    return None


def _mbedtls():
    if find_spec("mbedtls") is None:
        return "python-mbedtls is not installed (PyPI; it has wheels for Python 3.11 and 3.12)"
    return None


@cache
def _wolfssl():
    if shutil.which("gcc") is None:
        return "gcc is not installed"
    include = ["gcc", "-E", "-include", "wolfssl/ssl.h", "-x", "c", "/dev/null"]
    if subprocess.run(include, capture_output=True, check=False).returncode:
        return "wolfSSL is not installed (Debian: libwolfssl-dev, libc6-dev)"
    return None


@cache
def _root():
    """What namespaces, devices and raw sockets need. A sandbox may refuse what capabilities allow, so it is tried.

    With the capabilities that are named here and no other, every test that needs root passes.
    """
    from dtls_emu.machine.linux import TUN_PATH, Capability

    if os.geteuid() != 0:
        return "needs root"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (effective,) = (int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    missing = [each.name for each in Capability if not each.is_in(effective)]
    if missing:
        return f"root has not the capabilities {', '.join(missing)}"
    if not os.access(TUN_PATH, os.R_OK | os.W_OK):
        return f"there is no {TUN_PATH} (modprobe tun; for a container --device {TUN_PATH})"
    if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY:
        return (
            "/proc/sys is read-only (for a container --security-opt systempaths=unconfined, or --privileged)"
        )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, 33, 1 << 16)  # SO_RCVBUFFORCE
        except PermissionError:
            return "root of a user namespace may not have socket buffers of any size (SO_RCVBUFFORCE)"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    return f"root may make no namespace: {tried.stderr.strip()}" if tried.returncode else None


@cache
def _containers():
    """Podman, what it needs, and what the image is made with."""
    missing = [f"{path} ({why})" for path, why in _FILES_FOR_CONTAINERS.items() if not Path(path).exists()]
    missing += [f"{name} (Debian: {name})" for name in _PROGRAMS_FOR_CONTAINERS if not shutil.which(name)]
    if find_spec("podman_compose") is None:
        missing.append("podman-compose (PyPI)")
    if reason := _root():
        missing.append(reason)
    return f"missing for containers: {'; '.join(missing)}" if missing else None


_FILES_FOR_CONTAINERS = {
    "/dev/net/tun": "modprobe tun",
    "/usr/lib/podman/netavark": "Debian: netavark",
    "/usr/lib/podman/aardvark-dns": "Debian: aardvark-dns",
}
_PROGRAMS_FOR_CONTAINERS = "catatonit", "debootstrap", "iptables", "podman", "runc"
"""Each is in the Debian package of the same name."""


@cache
def _user():
    """A user who is not root, with a folder of his own; one for all tests, since he compiles kernels but once."""
    from dtls_emu.testing.ordinary_user import OrdinaryUser

    home = Path(tempfile.mkdtemp(prefix="dtls-emu-user-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return OrdinaryUser(home)


@cache
def _unprivileged():
    """What a lab without root needs: it is tried, as that user."""
    from dtls_emu.testing.ordinary_user import why_no_user

    return why_no_user(_user())


@pytest.fixture
def ordinary_user():
    """A user who is not root, to run programs as."""
    return _user()


def _program(name, package):
    return lambda: None if shutil.which(name) else f"{name} is not installed (Debian: {package})"


def _axe():
    return None if find_spec("axe_core_python") else "axe-core-python is not installed (PyPI)"


def _browser():
    missing = [] if shutil.which("chromium") else ["chromium is not installed (Debian: chromium)"]
    missing += [
        f"{name} is not installed (PyPI)"
        for name in ("starlette", "uvicorn", "websockets")
        if find_spec(name) is None
    ]
    return "; ".join(missing) or None


NEEDS = {
    "axe": _axe,
    "browser": _browser,
    "containers": _containers,
    "gnutls": _program("gnutls-serv", "gnutls-bin"),
    "mbedtls": _mbedtls,
    "openssl": _program("openssl", "openssl"),
    "wolfssl": _wolfssl,
    "ipsec_mb": _backend("ipsec-mb"),
    "libcrypto": _backend("libcrypto"),
    "udp_offload": _udp_offload,
    "tshark": _program("tshark", "tshark"),
    "root": _root,
    "unprivileged": _unprivileged,
}


UNWATCHED = {"containers", "crypto", "files", "fuzz", "lab", "policy", "testing", "wire"} | {
    "test_architecture.py",
    "test_habits.py",
}
"""Folders and files whose tests put nothing on a fabric, and need not wait for all floors to be imported; those of
tests that have a watch of their own; and that of containers, whose fabric is in another process."""


@pytest.fixture(autouse=True)
def wire_watch(request):
    """Whatever any test does with cards, no packet is in clear that must not be, and no nonce is used twice."""
    if request.path.relative_to(Path(__file__).parent).parts[0] in UNWATCHED:
        yield None
        return
    from dtls_emu.testing.wire_watch import watching

    with watching() as watch:
        yield watch
    watch.check()


HEAD = """
virtual_networks:
  prod:
    address_prefixes: [10.0.0.0/24, "fd00::/64"]
    vni: 5001
    encryption: {{enabled: {enabled}, enforcement: {enforcement}}}
hosts:
  h1: {{underlay: 192.0.2.1, smartnic: {{backend: cryptography}}}}
  h2: {{underlay: 192.0.2.2, smartnic: {{backend: cryptography}}}}
vms:
  a: {{host: h1, virtual_network: prod, address: 10.0.0.4, address_v6: "fd00::4", mtu: {mtu}}}
  b: {{host: h2, virtual_network: prod, address: 10.0.0.5, address_v6: "fd00::5", mtu: {mtu}}}
  c: {{host: h1, virtual_network: prod, address: 10.0.0.6, address_v6: "fd00::6", mtu: {mtu}}}
overrides: {{{overrides}}}
link_defaults: {{{link}}}
"""


@pytest.fixture(scope="session")
def make_lab(tmp_path_factory):
    """Make a lab: VMs a and c on host h1, b on h2, one network; traffic items as flow mappings of YAML."""
    from dtls_emu.lab.loader import parse_lab

    class Maker:
        folder = tmp_path_factory.mktemp("lab")

        def __call__(
            self,
            *traffic,
            link="",
            mtu=1500,
            overrides="",
            enabled="true",
            enforcement="AllowUnencrypted",
            seed=1,
        ):
            items = "\n".join(f"  - {{{item}}}" for item in traffic)
            settings = {"link": link, "mtu": mtu, "overrides": overrides}
            head = HEAD.format(enabled=enabled, enforcement=enforcement, **settings)
            return parse_lab(f"{head}\nseed: {seed}\ntraffic:\n{items}\n", self.folder / "test.yaml")

    return Maker()


def pytest_collection_modifyitems(items):
    """Among several processes (``pytest -n``) a file stays whole, for the sake of its fixtures, and whatever starts
    hosts of a machine goes to one and the same: what such tests look for in ``/run`` and among namespaces is theirs.
    """
    for item in items:
        starts_hosts = any(item.get_closest_marker(name) for name in ("root", "unprivileged"))
        item.add_marker(pytest.mark.xdist_group("machine" if starts_hosts else str(item.path)))


def pytest_runtest_setup(item):
    for name, missing in NEEDS.items():
        if item.get_closest_marker(name) and (reason := missing()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """In CI everything is installed, so a skip there is a failure."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where nothing may be missing: {report.longrepr}"
    return report
