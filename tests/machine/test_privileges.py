"""Capabilities are gone for good, but for the one that new sockets need, and that only while they are opened.

What gives up capabilities is a process of its own: the tests need theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dtls_emu.machine import privileges
from dtls_emu.machine.privileges import Privileges, PrivilegesError, buffers_need_net_admin, drop_privileges


NET_ADMIN = 1 << 12

LOOK = """
import json, os, subprocess, sys
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from dtls_emu.machine.privileges import *

def sets(pid="self"):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return {line.split(":")[0]: line.split()[1] for line in lines if line.startswith(("Cap", "NoNew"))}

found = {}
"""


def run(body):
    """What a fresh process found after it ran ``body``."""
    code = LOOK + body + "\nprint(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def masks(sets):
    return {name.removeprefix("Cap"): int(value, 16) for name, value in sets.items() if name != "NoNewPrivs"}


@pytest.mark.root
def test_nothing_is_left():
    """Not of this process, nor for what it executes."""
    found = run(
        """
left = drop_privileges()
found["own"] = sets()
shell = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True)
found["child"] = {line.split(":")[0]: line.split()[1] for line in shell.stdout.splitlines() if line.startswith("Cap")}
found["left"] = left.as_dict()
"""
    )
    assert set(masks(found["own"]).values()) == {0}
    assert found["own"]["NoNewPrivs"] == "1"
    assert set(masks(found["child"]).values()) == {0}
    assert found["left"] == {"capabilities": [], "reason": "none is needed", "other_threads": 0}


@pytest.mark.root
def test_what_is_kept_is_in_effect_only_while_it_is_raised():
    """Also when the body fails."""
    found = run(
        """
left = drop_privileges("the reason")
found["before"] = sets()
with left.raised():
    found["during"] = sets()
try:
    with left.raised():
        raise OSError
except OSError:
    pass
found["after"] = sets()
found["left"] = left.as_dict()
"""
    )
    assert masks(found["before"]) == {"Inh": 0, "Prm": NET_ADMIN, "Eff": 0, "Bnd": 0, "Amb": 0}
    assert masks(found["during"])["Eff"] == NET_ADMIN
    assert found["after"] == found["before"]
    assert found["left"]["capabilities"] == ["CAP_NET_ADMIN, not in effect"]
    assert found["left"]["reason"] == "the reason"


@pytest.mark.root
def test_a_socket_of_a_later_association_gets_its_buffers():
    """On the port that a rekey takes, long after everything was given up."""
    found = run(
        """
from dtls_emu.fabric.udp import UdpFabric
fabric = UdpFabric("127.0.0.1")
left = drop_privileges("buffers")
def granted(port):
    import socket
    sock = socket.socket(fileno=os.dup(fabric.ports[port]))
    size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    sock.close()
    return size
with left.raised():
    found["raised"] = granted(fabric.open_port(0))
found["not raised"] = granted(fabric.open_port(0))
found["limit"] = int(open("/proc/sys/net/core/rmem_max").read())
"""
    )
    assert found["raised"] == 7 << 20
    assert found["not raised"] == min(found["limit"], 7 << 20)


@pytest.mark.root
def test_what_was_given_up_cannot_be_taken_back():
    """A second drop finds nothing to keep, and says so."""
    found = run(
        """
drop_privileges()
found["left"] = drop_privileges("buffers").as_dict()
"""
    )
    assert found["left"]["capabilities"] == []
    assert found["left"]["reason"] == "it has none to keep, although buffers"


@pytest.mark.root
def test_a_thread_that_keeps_its_capabilities_is_said():
    """They belong to threads; a library may have started some."""
    found = run(
        """
import threading
done = threading.Event()
thread = threading.Thread(target=done.wait)
thread.start()
found["left"] = drop_privileges().as_dict()
done.set()
thread.join()
"""
    )
    assert found["left"]["other_threads"] == 1


def test_a_kernel_that_refuses_is_an_error(monkeypatch):
    """Nothing that should be trusted goes on with capabilities that should be gone."""

    class Libc:
        def prctl(self, *_):
            return -1

    monkeypatch.setattr(privileges, "_capget", lambda: (0, 0))
    monkeypatch.setattr(privileges, "_LIBC", Libc())
    with pytest.raises(PrivilegesError, match="cannot give up capabilities: no_new_privs"):
        drop_privileges()


def test_the_capability_is_kept_only_where_buffers_need_it(monkeypatch, tmp_path):
    """Where the limits are high enough nothing is."""
    monkeypatch.setattr(privileges, "Path", lambda _: tmp_path)
    for name, value in (("rmem_max", 100), ("wmem_max", 50)):
        (tmp_path / name).write_text(f"{value}\n")
    assert buffers_need_net_admin(50) == ""
    assert buffers_need_net_admin(80) == "net.core.wmem_max is 50, and new sockets need 80 bytes"
    assert buffers_need_net_admin(200) == "net.core.rmem_max is 100, and new sockets need 200 bytes"
    (tmp_path / "rmem_max").unlink()
    assert buffers_need_net_admin(1) == "net.core.rmem_max cannot be read, and new sockets need 1 bytes"


def test_raising_nothing_changes_nothing():
    """Before anything is given up, and where nothing was kept."""
    before = Path("/proc/self/status").read_text().split("CapInh")[1].split("Seccomp")[0]
    with Privileges(None, "", 0).raised():
        assert Path("/proc/self/status").read_text().split("CapInh")[1].split("Seccomp")[0] == before
