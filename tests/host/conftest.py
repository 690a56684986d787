"""Labs for the tests of guests, traffic and simulation, made of as little YAML as they need."""

from __future__ import annotations

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


@pytest.fixture(params=["interpreted", "compiled"])
def make_rig(request):
    """Make a rig; its books are checked and everything is closed at the end.

    With a backend that compiled code can call, and with one that it cannot: it must not make a difference.
    """
    is_compiled = request.param == "compiled"
    rigs = []

    def make(**options):
        rig = Rig(**{"backend": native_backend() if is_compiled else "cryptography"} | options)
        rigs.append(rig)
        compiled = [not agent.interpreted for agent in rig.agents.values()]
        assert compiled == [is_compiled or not rig.encrypts] * 2
        return rig

    yield make
    for rig in rigs:
        rig.close()
