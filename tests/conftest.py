"""What a test needs beyond Python, and how it says that it is missing."""

import os
import shutil
import socket
from pathlib import Path

import pytest


def _ipsec_mb():
    from dtls_emu.crypto.registry import load
    from dtls_emu.errors import BackendUnavailableError

    try:
        load("ipsec-mb")
    except BackendUnavailableError as error:
        return str(error)
    return None


def _udp_offload():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.setsockopt(17, 103, 1400)  # SOL_UDP, UDP_SEGMENT
            probe.setsockopt(17, 104, 1)  # UDP_GRO
        except OSError as error:
            return f"no UDP_SEGMENT or UDP_GRO: {error}"
    return None


NEEDS = {
    "ipsec_mb": _ipsec_mb,
    "udp_offload": _udp_offload,
    "tshark": lambda: None if shutil.which("tshark") else "tshark is not installed (Debian: tshark)",
    "root": lambda: None if os.geteuid() == 0 else "needs root",
}


UNWATCHED = {"crypto", "lab", "policy", "wire", "testing"}
"""Folders whose tests put nothing on a fabric, and need not wait for all floors to be imported; and that of
the tests of the watch itself."""


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
