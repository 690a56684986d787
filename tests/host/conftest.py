"""Labs for the tests of guests, traffic and simulation, made of as little YAML as they need."""

from __future__ import annotations

import os
import subprocess

import pytest

from dtls_emu.host.cards import choose_engine
from dtls_emu.lab.loader import parse_lab
from dtls_emu.testing.rig import Rig


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
    folder = tmp_path_factory.mktemp("lab")

    def make(
        *traffic, link="", mtu=1500, overrides="", enabled="true", enforcement="AllowUnencrypted", seed=1
    ):
        items = "\n".join(f"  - {{{item}}}" for item in traffic)
        settings = {"link": link, "mtu": mtu, "overrides": overrides}
        head = HEAD.format(enabled=enabled, enforcement=enforcement, **settings)
        return parse_lab(f"{head}\nseed: {seed}\ntraffic:\n{items}\n", folder / "test.yaml")

    make.folder = folder
    return make


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
    rigs = []
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
        rig = Rig(**{"backend": native_backend() if is_compiled else "cryptography"} | options)
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
