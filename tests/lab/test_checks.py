"""What the entries of a lab say of each other."""

import struct
from pathlib import Path

import pytest
import yaml

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.errors import LabFileError
from dtls_emu.lab import load_lab, schema


SHIPPED_BROKER = Path(schema.__file__).parent / "examples" / "broker.yaml"


@pytest.fixture
def problems(lab_data, write_lab):
    """Change the small lab by YAML laid over it; gives what is then wrong, without file and line."""

    def find(changes, traffic=None):
        for section, entries in yaml.safe_load(changes).items() if changes else ():
            if isinstance(entries, list):
                lab_data.setdefault(section, []).extend(entries)
            else:
                for name, entry in entries.items():
                    lab_data[section].setdefault(name, {}).update(entry)
        if traffic:
            lab_data["traffic"].append(
                {"name": "item", "from": "vm-a", "to": "vm-b", **yaml.safe_load(traffic)}
            )
        path = write_lab(lab_data)
        try:
            load_lab(path)
        except LabFileError as error:
            return [problem.split(": ", 1)[1].replace(f"{path.parent}/", "") for problem in error.problems]
        return []

    return find


def test_the_small_lab_is_right(problems):
    """So that a problem in a test below is the test's."""
    assert problems("") == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            "virtual_networks: {green: {vni: 5001}}",
            "virtual_networks.green.vni: VNI 5001 is already that of `blue`; write another",
        ),
        (
            "virtual_networks: {green: {peerings: [green]}}",
            "virtual_networks.green.peerings[0]: `green` is peered with itself; write another network, or leave it out",
        ),
        (
            "virtual_networks: {green: {peerings: [bleu]}}",
            "virtual_networks.green.peerings[0]: no virtual network `bleu`; did you mean `blue`?",
        ),
        (
            "virtual_networks: {green: {address_prefixes: [10.1.0.0/24, 10.1.0.128/25]}}",
            "virtual_networks.green.address_prefixes[1]: 10.1.0.128/25 overlaps 10.1.0.0/24; write one of them",
        ),
        (
            "virtual_networks: {green: {address_prefixes: [10.0.0.0/8], peerings: [blue]}}",
            (
                "virtual_networks.green.address_prefixes: 10.0.0.0/8 overlaps `blue`, which it is peered with; "
                "write prefixes that do not, or remove a peering"
            ),
        ),
        (
            "hosts: {host-2: {underlay: 192.0.2.1}}",
            "hosts.host-2.underlay: underlay address 192.0.2.1 is already that of `host-1`; write another",
        ),
        (
            'hosts: {host-2: {underlay: "2001:db8::2"}}',
            (
                "hosts.host-2.underlay: 2001:db8::2 is IPv6, but host `host-1` has IPv4; "
                "write addresses of one version for all hosts"
            ),
        ),
        (
            "hosts: {host-2: {smartnic: {backend: crytography}}}",
            (
                "hosts.host-2.smartnic.backend: no backend `crytography`; did you mean `cryptography`? "
                "(one of: auto, cryptography, ipsec-mb, libcrypto, null, openssl)"
            ),
        ),
        (
            "vms: {vm-a: {host: host-3}}",
            "vms.vm-a.host: no host `host-3`; did you mean `host-2`? (one of: host-1, host-2)",
        ),
        (
            "vms: {vm-c: {virtual_network: red}}",
            "vms.vm-c.virtual_network: no virtual network `red`; write one of: blue, green",
        ),
        (
            "vms: {vm-a: {address: 10.1.0.9}}",
            "vms.vm-a.address: 10.1.0.9 is outside `blue`; write an address in 10.0.0.0/24",
        ),
        (
            'vms: {vm-c: {address_v6: "fd00:10::9"}}',
            "vms.vm-c.address_v6: `green` has no IPv6 prefix; add one to its `address_prefixes`",
        ),
        (
            "vms: {vm-a: {address: 10.0.0.255}}",
            (
                "vms.vm-a.address: 10.0.0.255 is the network or broadcast address of 10.0.0.0/24; "
                "write one from 10.0.0.1 to 10.0.0.254"
            ),
        ),
        (
            "vms: {vm-b: {address: 10.0.0.4}}",
            "vms.vm-b.address: address 10.0.0.4 is already that of `vm-a`; write another",
        ),
        (
            'vms: {vm-b: {mac: "02:00:00:00:00:0A"}, vm-a: {mac: "02:00:00:00:00:0a"}}',
            "vms.vm-b.mac: MAC address 02:00:00:00:00:0a is already that of `vm-a`; write another",
        ),
        ("vms: {vm-a: {mtu: 1279}}", "vms.vm-a.mtu: 1279 is too small for IPv6; write at least 1280"),
        (
            "links: [{between: [host-1, host-9]}]",
            "links[1].between[1]: no host `host-9`; did you mean `host-2`? (one of: host-1, host-2)",
        ),
        (
            "links: [{from: host-9, to: host-1}]",
            "links[1].from: no host `host-9`; did you mean `host-2`? (one of: host-1, host-2)",
        ),
        (
            "links: [{between: [host-2, host-1]}]",
            "links[1]: an earlier entry is the link between `host-2` and `host-1`; write one entry",
        ),
        (
            "links: [{from: host-1, to: host-2}, {from: host-1, to: host-2}]",
            "links[2]: an earlier entry is the link from `host-1` to `host-2`; write one entry",
        ),
        (
            "links: [{between: [host-1, host-1]}]",
            "links[1]: `host-1` is linked with itself; write two different hosts",
        ),
    ],
)
def test_contradictions_between_entries(problems, changes, expected):
    """One problem, at the entry that says the second thing."""
    assert problems(changes) == [expected]


def test_networks_that_share_a_peer_may_not_overlap(problems):
    """The shared peer could not tell whose address is meant."""
    found = problems(
        "virtual_networks: {blue: {peerings: [red, green]}, red: {address_prefixes: [10.1.0.0/25], vni: 9}}"
    )
    assert found == [
        (
            "virtual_networks.red.address_prefixes: 10.1.0.0/25 overlaps `green`, and both are peered with `blue`; "
            "write prefixes that do not, or remove a peering"
        )
    ]


def test_networks_that_are_not_peered_may_overlap(problems):
    """Two tenants may have the same addresses, VMs included."""
    assert (
        problems(
            "virtual_networks: {red: {address_prefixes: [10.0.0.0/24], vni: 9}}\n"
            "vms: {vm-d: {host: host-1, virtual_network: red, address: 10.0.0.4}}"
        )
        == []
    )


def test_both_directions_of_a_link_may_be_said_one_by_one(problems):
    """Beside an entry for both."""
    assert problems("links: [{from: host-1, to: host-2}, {from: host-2, to: host-1}]") == []


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{kind: ping, name: ping}", "traffic[1].name: an earlier item is named `ping`; write another name"),
        (
            "{kind: ping, from: vm-z}",
            "traffic[1].from: no VM `vm-z`; did you mean `vm-c`? (one of: vm-a, vm-b, vm-c)",
        ),
        (
            "{kind: udp, start: 25h}",
            "traffic[1].start: a run ends after 24h; write at most that, or nothing is sent",
        ),
        (
            "{kind: bulk, bytes: 1kB, start: 1500min}",
            "traffic[1].start: a run ends after 24h; write at most that, or nothing is sent",
        ),
        (
            "{kind: ping, count: 30, interval: 1h}",
            (
                "traffic[1].interval: the last packet would be sent 29h after the start of the run, which ends after 24h; "
                "write a faster pace here, or a smaller `count`"
            ),
        ),
        (
            "{kind: udp, rate: 1bit/s}",
            (
                "traffic[1].rate: the last packet would be sent 308h after the start of the run, which ends after 24h; "
                "write a faster pace here, or a smaller `count`"
            ),
        ),
        (
            "{kind: fragments, shapes: [v4-first, v4-last], count: 2, interval: 1h, start: 23h}",
            (
                "traffic[1].interval: the last packet would be sent 26h after the start of the run, which ends after 24h; "
                "write a faster pace here, or a smaller `count`"
            ),
        ),
        ("{kind: ping, to: vm-z}", "traffic[1].to: no VM `vm-z`; did you mean `vm-c`? (one of: vm-b, vm-c)"),
        (
            "{kind: ping, to: vm-a}",
            "traffic[1].to: `vm-a` sends to itself, which no card sees; write another VM",
        ),
        (
            "{kind: udp, expect: {answered: 1}}",
            "traffic[1].expect.answered: `udp` is not answered; leave it out, or use `ping`",
        ),
        (
            "{kind: ping, to: vm-c, ip_version: 6}",
            "traffic[1].ip_version: VM `vm-c` has no IPv6 address; give it an `address_v6`, or use IPv4",
        ),
        (
            '{kind: bulk, bytes: 1, from: vm-c, to: "2001:db8::9"}',
            "traffic[1].to: VM `vm-c` has no IPv6 address; give it an `address_v6`, or use IPv4",
        ),
        (
            "{kind: udp, size: 1501}",
            (
                "traffic[1].size: makes packets of 1501 bytes, and the MTU of VM `vm-a` is 1500; "
                "write less here, or more at vms.vm-a.mtu"
            ),
        ),
        (
            "{kind: bulk, bytes: 1, mss: 1461}",
            (
                "traffic[1].mss: makes packets of 1501 bytes, and the MTU of VM `vm-a` is 1500; "
                "write less here, or more at vms.vm-a.mtu"
            ),
        ),
        (
            "{kind: fragments, size: 9000, shapes: [v4-first]}",
            (
                "traffic[1].size: makes packets of 9000 bytes, and the MTU of VM `vm-a` is 1500; "
                "write less here, or more at vms.vm-a.mtu"
            ),
        ),
        (
            "{kind: fragments, to: vm-c, shapes: [v4-first, v6-atomic]}",
            "traffic[1].shapes: VM `vm-c` has no IPv6 address; give it an `address_v6`, or use IPv4",
        ),
        (
            "{kind: fragments, to: 10.0.0.9, shapes: [v6-atomic]}",
            "traffic[1].shapes: these shapes are not all IPv4 as `to` is; write only those, or a VM",
        ),
    ],
)
def test_traffic_that_cannot_be_sent(problems, item, expected):
    """Names that do not exist, addresses of a version that a VM has not, packets larger than its MTU."""
    assert problems("", item) == [expected]


@pytest.mark.parametrize(
    "item",
    [
        "{kind: udp, size: 1500}",
        "{kind: bulk, bytes: 1MB, mss: 1460}",
        "{kind: bulk, bytes: 1MB, mss: 1440, ip_version: 6}",
        "{kind: ping, to: 10.77.0.1}",  # goes nowhere, which may be what is to be shown
        "{kind: ping, to: 203.0.113.7, ip_version: 6}",  # the version of an address is its own
        '{kind: udp, to: "2001:db8::9"}',
        "{kind: fragments, shapes: [v4-tiny, v6-hop-by-hop]}",
    ],
)
def test_traffic_that_can_be_sent(problems, item):
    """To the last byte of the MTU, and also to where it will not arrive."""
    assert problems("", item) == []


IPV4 = bytes.fromhex("45000014000040004011000001020304 05060708".replace(" ", ""))
IPV6 = bytes.fromhex("60000000 0000 3b 40".replace(" ", "")) + bytes(32)


@pytest.mark.parametrize(
    ("content", "to", "expected"),
    [
        (None, "vm-b", "cannot read x.pcap: No such file or directory; write the path of a capture"),
        (b"nothing", "vm-b", "x.pcap is no pcap file; write one with tcpdump -w, or Wireshark's Save As"),
        (encode_pcap([]), "vm-b", "x.pcap holds no IP packet; write the path of another capture"),
        (
            encode_pcap([(0, IPV4), (90_000, IPV4)]),
            "vm-b",
            (
                "frame 2 of x.pcap would be sent 25h after the start of the run, which ends after 24h; write the path "
                "of a shorter capture"
            ),
        ),
        (
            encode_pcap([(0, IPV4), (1, IPV6)]),
            "vm-c",
            "frame 2 of x.pcap is IPv6, and VM `vm-c` has no IPv6 address; give it an `address_v6`",
        ),
        (
            encode_pcap([(0, IPV4[:2] + struct.pack("!H", 1501) + IPV4[4:] + bytes(1481))]),
            "vm-b",
            (
                "frame 1 of x.pcap has 1501 bytes, and the MTU of VM `vm-a` is 1500; write more at vms.vm-a.mtu, "
                "or capture with segmentation offloads off"
            ),
        ),
        (encode_pcap([(0, IPV4), (1, IPV6)]), "vm-b", None),
        (encode_pcap([(0, IPV4)]), "vm-c", None),
    ],
)
def test_a_capture_is_looked_into(problems, tmp_path, content, to, expected):
    """Beside the lab file, whatever the current folder; and its packets can be sent by who is to send them."""
    if content is not None:
        (tmp_path / "x.pcap").write_bytes(content)
    found = problems("", f"{{kind: pcap, to: {to}, file: x.pcap}}")
    assert found == ([] if expected is None else [f"traffic[1].file: {expected}"])


def test_a_capture_that_is_sent_as_it_is_needs_no_addresses(problems, tmp_path):
    """`rewrite: none` sends IPv6 from whomever."""
    (tmp_path / "x.pcap").write_bytes(encode_pcap([(0, IPV6)]))
    assert problems("traffic: [{name: raw, kind: pcap, from: vm-c, file: x.pcap, rewrite: none}]") == []


def test_the_openssl_backend_cannot_use_a_brokers_keys(tmp_path):
    """It has only those of its own handshake."""
    lab = tmp_path / "lab.yaml"
    text = SHIPPED_BROKER.read_text()
    lab.write_text(
        text.replace("{underlay: 192.0.2.1}", "{underlay: 192.0.2.1, smartnic: {backend: openssl}}")
    )
    with pytest.raises(LabFileError, match=r"hosts\.host-1\.smartnic\.backend: `openssl` has only the keys"):
        load_lab(lab)


def test_two_transfers_need_different_ports(tmp_path):
    """Their segments would be one flow."""
    lab = tmp_path / "lab.yaml"
    item = "  - {name: NAME, kind: bulk, from: vm-a, to: vm-b, bytes: 1kB}\n"
    head = SHIPPED_BROKER.read_text().split("traffic:")[0]
    lab.write_text(head + "traffic:\n" + item.replace("NAME", "one") + item.replace("NAME", "two"))
    with pytest.raises(LabFileError, match=r"traffic\[1\]\.source_port: `one` has the same ends and ports"):
        load_lab(lab)
