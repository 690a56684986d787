"""What the machine offers is told with a reason, and nothing that is missing makes the probe fail."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from dtls_emu.errors import BackendUnavailableError
from dtls_emu.fabric import udp
from dtls_emu.machine import probe as probing
from dtls_emu.machine.probe import Offer, OfferState, is_ready, probe
from dtls_emu.wire import kernel_cache


def by_name(offers):
    return {offer.name: offer for offer in offers}


def unavailable():
    raise BackendUnavailableError("libIPSec_MB.so.1 or libIPSec_MB.so.2 is not installed (Debian: apt)")


def test_every_line_has_a_name_of_its_own_and_a_reason():
    """And what is missing and essential can only be what makes the machine unready."""
    offers = probe()
    assert len(by_name(offers)) == len(offers)
    assert [offer.name for offer in offers if not offer.reason] == []
    assert {offer.name for offer in offers if offer.essential} == {
        "Python",
        "cryptography",
        "pyOpenSSL",
        "NumPy",
        "Numba",
    }
    assert is_ready(offers)  # the tests run, so everything essential is there


def test_the_probe_does_not_import_numba():
    """Importing it would take longer than everything else together."""
    code = "import sys; from dtls_emu.machine.probe import probe; probe(); print('numba' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "False\n"


def test_a_probe_that_fails_is_a_line_and_not_a_traceback(monkeypatch):
    """Whatever goes wrong is the reason; the others still run."""

    def _surprise():
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(probing, "_PROBES", (_surprise, probing._cpu))
    offers = by_name(probe())
    assert offers["surprise"] == Offer("surprise", OfferState.NO, "the probe failed: ZeroDivisionError: boom")
    assert "cores" in offers


def test_an_essential_package_that_does_not_import_makes_the_machine_unready(monkeypatch):
    """With the error, and how to install it again."""

    def broken(name):
        raise ImportError(f"no {name} today")

    monkeypatch.setattr(probing, "import_module", broken)
    offers = probing._packages()
    assert [offer.state for offer in offers] == [OfferState.NO] * 3
    assert offers[1].reason == "ImportError: no OpenSSL.SSL today"
    assert offers[1].remedy == "pip install --force-reinstall pyOpenSSL"
    assert not is_ready(offers)


def test_what_is_missing_but_not_essential_leaves_the_machine_ready():
    """The exit code of `doctor` depends on it."""
    assert is_ready(
        [Offer("a", OfferState.NO, "gone"), Offer("b", OfferState.LIMITED, "slow", essential=True)]
    )
    assert not is_ready([Offer("a", OfferState.NO, "gone", essential=True)])


@pytest.mark.parametrize("name", ["tshark", "iperf3", "podman"])
def test_a_program_that_is_not_installed_says_what_it_is_for_and_how_to_get_it(monkeypatch, name):
    """With an empty PATH none of them is found."""
    monkeypatch.setenv("PATH", "")
    (offer,) = getattr(probing, f"_{name}")()
    assert (offer.state, offer.remedy) == (OfferState.NO, f"apt install {name}")
    assert offer.reason.startswith("not installed; it ")


def test_a_program_tells_its_version_on_its_first_line(monkeypatch, tmp_path):
    """Something of that name on the PATH is asked."""
    program = tmp_path / "iperf3"
    program.write_text('#!/bin/sh\necho "iperf 9.9"\necho more\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert probing._iperf3() == [Offer("iperf3", OfferState.YES, "iperf 9.9")]


def test_a_library_that_is_not_installed_says_what_is_used_instead(monkeypatch):
    """And the package to install."""
    monkeypatch.setattr(probing, "open_library", unavailable)
    (offer,) = probing._ipsec_mb()
    assert offer.state == OfferState.NO
    assert offer.reason.endswith("is not installed; the libcrypto backend is used")
    assert offer.remedy == "apt install libipsec-mb1"


def test_without_openssl_as_a_library_python_packages_do(monkeypatch):
    """It says what is used instead, and what to install."""
    monkeypatch.setattr(probing, "open_libcrypto", unavailable_openssl)
    (offer,) = probing._libcrypto()
    assert (offer.state, offer.remedy) == (OfferState.NO, "apt install libssl3")
    assert offer.reason == "OpenSSL 3 is not installed as a library; the cryptography backend is used"


def unavailable_openssl():
    raise BackendUnavailableError("OpenSSL 3 is not installed as a library (Debian: apt install libssl3)")


@pytest.mark.parametrize(
    ("flags", "state"),
    [
        ({"aes", "pclmulqdq", "avx2", "avx512f", "vaes", "vpclmulqdq"}, OfferState.YES),
        ({"aes", "pclmulqdq", "avx2"}, OfferState.LIMITED),
        ({"aes"}, OfferState.NO),
        (set(), OfferState.NO),
    ],
)
def test_the_cpu_is_judged_by_what_aes_gcm_needs(monkeypatch, flags, state):
    """AES and carry-less multiplication are the floor, wide vectors the best."""
    monkeypatch.setattr(probing, "cpu_flags", lambda: frozenset(flags))
    assert by_name(probing._cpu())["AES-GCM in the CPU"].state == state


def test_a_single_core_is_a_limit(monkeypatch):
    """Both ends of a benchmark share it."""
    facts = {"cpu": {"model": None, "features": [], "usable_cores": 1}}
    monkeypatch.setattr(probing, "environment", lambda: facts)
    assert by_name(probing._cpu())["cores"].state == OfferState.LIMITED


def test_a_kernel_without_udp_offloads_says_so(monkeypatch):
    """The reason is the fabric's own."""
    off = {"state": "off", "reason": "UDP_SEGMENT: Protocol not available"}
    monkeypatch.setattr(udp, "prepare_gso", lambda *_: off)
    offers = by_name(probing._udp())
    assert offers["UDP GSO"].state == OfferState.NO
    assert offers["UDP GSO"].reason == "UDP_SEGMENT: Protocol not available; datagrams go one by one"


def test_an_offload_that_is_accepted_but_does_nothing_is_limited(monkeypatch):
    """Two datagrams are really sent; a kernel that takes the option and ignores it is found out."""

    def send(self, port, wire, size, _count, *rest):
        self._send_singly(port, wire, size, *rest)

    monkeypatch.setattr(udp.UdpFabric, "_send_segments", send)
    offers = by_name(probing._udp())
    assert {offers["UDP GSO"].state, offers["UDP GRO"].state} == {OfferState.LIMITED}


def test_small_socket_buffers_come_with_the_commands_to_enlarge_them(monkeypatch):
    """Where the kernel's limit is below what is wanted."""
    monkeypatch.setattr(udp, "enlarge_buffers", lambda *_: {"state": "off", "reason": "1 of 2 bytes"})
    offer = by_name(probing._udp())["socket buffers"]
    assert (offer.state, offer.reason) == (OfferState.LIMITED, "1 of 2 bytes")
    assert offer.remedy.startswith("sysctl -w net.core.rmem_max=")


@pytest.fixture
def cache_places(monkeypatch, tmp_path):
    """A temporary folder, and nothing that the user has said."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(kernel_cache.tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_numba_says_where_its_kernels_are_kept(monkeypatch, cache_places):
    """The variable, else the user's cache; either may still have to be made, and is not made by looking."""
    for variable, below in (("XDG_CACHE_HOME", "dtls-emu/kernels"), ("NUMBA_CACHE_DIR", "dtls-emu")):
        monkeypatch.setenv(variable, str(cache_places / "new"))
        (offer,) = probing._numba()
        assert offer.state == OfferState.YES
        assert f"compiled kernels are kept in {cache_places}/new/{below}/" in offer.reason
    assert not (cache_places / "new").exists()


def test_numba_says_what_is_used_instead_and_why(monkeypatch, cache_places):
    """It works; the variable that helps is named."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    (offer,) = probing._numba()
    assert offer.state == OfferState.LIMITED
    assert f"compiled kernels are kept in {cache_places}/tmp/dtls-emu-kernels-" in offer.reason
    assert "NUMBA_CACHE_DIR: /proc/nowhere" in offer.reason
    assert "NUMBA_CACHE_DIR" in offer.remedy
    monkeypatch.setattr(kernel_cache.tempfile, "tempdir", "/proc/nowhere")
    (offer,) = probing._numba()
    assert offer.state == OfferState.LIMITED
    assert "compiled anew at every start" in offer.reason


def test_without_the_privilege_no_device_is_touched(monkeypatch):
    """TUN is reported as not tried, the privilege as missing."""
    monkeypatch.setattr(probing, "_has_net_admin", lambda: False)
    monkeypatch.setattr(probing.Path, "exists", lambda _: True)
    monkeypatch.setattr(probing.os, "open", pytest.fail)
    assert {offer.state for offer in [*probing._tun(), *probing._privileges()]} == {OfferState.NO}
    assert by_name(probing._tun())["TUN offloads"].reason == "not tried: needs CAP_NET_ADMIN"


def test_a_machine_without_the_tun_device_says_how_to_get_it(monkeypatch):
    """On the machine and in a container."""
    monkeypatch.setattr(probing.Path, "exists", lambda _: False)
    assert [offer.remedy for offer in probing._tun()] == [
        "modprobe tun; in a container also --device /dev/net/tun"
    ] * 2


@pytest.mark.parametrize(("refused", "state"), [(0x20, OfferState.LIMITED), (0x01, OfferState.NO)])
def test_tun_offloads_tell_a_kernel_without_uso_from_one_without_any(monkeypatch, refused, state):
    """USO is newer than the rest."""

    def ioctl(_file, request, argument):
        if request == probing._TUNSETOFFLOAD and argument & refused:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(probing.fcntl, "ioctl", ioctl)
    assert probing._tun_offloads(0).state == state


def test_a_namespace_that_is_refused_says_why(monkeypatch, tmp_path):
    """The last words of unshare."""
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    (offer,) = probing._network_namespaces()
    assert (offer.state, offer.reason) == (OfferState.NO, "Operation not permitted")


@pytest.mark.root
def test_a_tun_interface_is_gone_after_the_probe():
    """Trying leaves nothing behind."""
    interfaces = sorted(path.name for path in Path("/sys/class/net").iterdir())
    assert len(probing._tun()) == 2
    assert sorted(path.name for path in Path("/sys/class/net").iterdir()) == interfaces
