"""Hosts with real devices, on loopback and in namespaces of a test's own."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest

from dtls_emu.assembly.cards import choose_engine
from dtls_emu.testing.rig import Rig


def native_backend():
    """The fastest backend that compiled code can call."""
    return "ipsec-mb" if choose_engine("ipsec-mb").backend.name == "ipsec-mb" else "null"


@pytest.fixture
def namespace():
    """A network namespace of its own with a loopback device: its name, and what iproute2 does in it."""
    name = f"loop-{os.getpid()}"

    def ip(words):
        subprocess.run(["ip", "-netns", name, *words.split()], check=True)

    subprocess.run(["ip", "netns", "add", name], check=True)
    ip("link set lo up")
    yield name, ip
    subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture
def rigs():
    """Rigs of a test; their books are checked and everything is closed at the end."""
    rigs: list[Rig] = []
    yield rigs
    for rig in rigs:
        rig.close()


@pytest.fixture(params=["interpreted", "compiled"])
def make_rig(request, rigs):
    """Make a rig with a backend that compiled code can call, and one with a backend that it cannot.

    It must not make a difference.
    """
    is_compiled = request.param == "compiled"

    def make(**options):
        usual: dict[str, Any] = {"backend": native_backend() if is_compiled else "cryptography"}
        rig = Rig(**usual | options)
        rigs.append(rig)
        compiled = [not agent.interpreted for agent in rig.agents.values()]
        assert compiled == [is_compiled or not rig.encrypts] * 2
        return rig

    return make


@pytest.fixture
def make_compiled_rig(rigs):
    """Make a rig whose loops are compiled."""

    def make(**options):
        rigs.append(Rig(**{"backend": native_backend()} | options))
        assert [agent.interpreted for agent in rigs[-1].agents.values()] == ["", ""]
        return rigs[-1]

    return make
