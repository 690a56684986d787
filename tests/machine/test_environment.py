"""The block of versions, CPU and kernel that result files carry."""

from __future__ import annotations

import json
import os
import platform
import socket
from pathlib import Path

from dtls_emu import __version__
from dtls_emu.machine.environment import environment, package_version


def test_it_names_what_the_measurement_ran_on():
    """Package, kernel and cores are this process's own."""
    facts = environment()
    assert facts["dtls_emu"] == __version__
    assert facts["kernel"] == f"Linux {platform.release()}"
    assert facts["cpu"]["usable_cores"] == len(os.sched_getaffinity(0))
    assert facts["libraries"]["openssl"].startswith("OpenSSL ")
    assert facts["libraries"]["numba"] == package_version("numba")


def test_it_is_json_and_does_not_name_the_machine():
    """A result file can be published."""
    text = json.dumps(environment())
    assert f'"{socket.gethostname()}"' not in text
    assert str(Path.home()) not in text


def test_an_absent_package_has_no_version():
    """None, not an error."""
    assert package_version("no-such-distribution") is None
