"""What a test needs beyond Python, and how it says that it is missing."""

import os
import shutil
import socket

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
