"""Labs for the tests of guests, traffic and simulation, made of as little YAML as they need."""

from __future__ import annotations

import pytest

from dtls_emu.lab.loader import parse_lab


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
