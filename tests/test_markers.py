"""A test that needs what is not there is skipped, and says what it is: a failure would be read as a fault of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = pytest.mark.root

NEEDS_ROOT = "tests/deploy/test_state.py::test_runs_are_where_control_sockets_are"
"""A test that is marked, and does next to nothing."""


def outcome(tmp_path, prefix):
    """What a run of that test says, in words of a shell; not as in CI, where nothing may be missing."""
    own = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    own.pop("CI", None)
    command = f"{sys.executable} -m pytest -q -rs -p no:cacheprovider {NEEDS_ROOT}"
    done = subprocess.run(
        ["sh", "-ec", prefix.format(command)],
        cwd=Path(__file__).parents[1],
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        (
            "exec setpriv --bounding-set=-net_admin,-sys_admin --inh-caps=-net_admin,-sys_admin {}",
            "root has not the capabilities CAP_NET_ADMIN, CAP_SYS_ADMIN",
        ),
        (
            "exec unshare --mount sh -ec 'mount -t tmpfs none /dev/net; exec {}'",
            "there is no /dev/net/tun (modprobe tun; ",
        ),
        (
            "exec unshare --mount sh -ec 'mount --bind -o ro /proc/sys /proc/sys; exec {}'",
            "/proc/sys is read-only (",
        ),
        (
            "exec unshare --user --map-root-user --net --mount {}",
            "root of a user namespace may not have socket buffers of any size",
        ),
    ],
)
def test_root_that_may_not_do_what_is_needed_is_told_what(tmp_path, prefix, reason):
    """As in containers, where root has few capabilities, no devices, and no say about the kernel's settings."""
    said = outcome(tmp_path, prefix)
    assert reason in said
    assert "1 skipped" in said


def test_root_that_may_make_no_namespace_is_told_so(tmp_path):
    """A sandbox refuses it whatever the capabilities are: here the program that is tried does."""
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    said = outcome(tmp_path, "exec {}")
    assert "root may make no namespace: unshare: unshare failed: Operation not permitted" in said
    assert "1 skipped" in said


def test_where_all_is_there_nothing_is_skipped(tmp_path):
    """The same call as above, of the same test."""
    assert "1 passed" in outcome(tmp_path, "exec {}")
