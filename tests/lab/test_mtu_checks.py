"""A link that something can never cross is named, and so is the least MTU that carries it."""

from copy import deepcopy

import pytest
import yaml

from dtls_emu.assembly.lab_document import check_document
from dtls_emu.errors import LabFileError
from dtls_emu.lab import load_lab
from dtls_emu.overhead import OUTER_HEADERS, path_overhead, smallest_handshake_mtu
from dtls_emu.tunnel.flight import SMALLEST_MTU


NO_IPV6 = {"vms": {"vm-a": {"address_v6": None}, "vm-b": {"address_v6": None}}}
ON_IPV6 = {"hosts": {f"host-{n}": {"underlay": f"2001:db8::{n}"} for n in (1, 2)}}


@pytest.fixture
def problems(lab_data, write_lab):
    """What is wrong with the small lab with changes merged into it: where, and what to write at least."""

    def find(*changes, **more):
        data = deepcopy(lab_data)
        for change in (*changes, more):
            merge(data, change)
        try:
            load_lab(write_lab(data))
        except LabFileError as error:
            found = [problem.split(": ")[1:] for problem in error.problems]
        else:
            found = []
        document = {key: value for key, value in data.items() if key != "traffic"}
        assert len(check_document(document)) == len(found), "what `validate` says, `set` says too"
        return [
            (where, int("".join(text).split("write at least ")[1].split(",")[0])) for where, *text in found
        ]

    return find


def merge(data, change):
    for key, value in change.items():
        if value is None:
            data.pop(key, None)
        elif isinstance(value, dict):
            merge(data.setdefault(key, {}), value)
        else:
            data[key] = value


def one_way(mtu, source="host-1", destination="host-2"):
    return {"from": source, "to": destination, "mtu": mtu}


@pytest.mark.parametrize("where", ["one direction", "both", "defaults"])
@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("version", [4, 6])
def test_a_link_between_ipv6_guests_carries_1280_bytes_and_all_that_is_around_them(
    problems, version, encrypted, where
):
    """A byte less is named, wherever it is written."""
    least = {(4, True): 1367, (6, True): 1387, (4, False): 1330, (6, False): 1350}[version, encrypted]
    assert path_overhead(encrypted=encrypted, underlay_version=version).path_mtu(1280) == least
    underlay = ON_IPV6 if version == 6 else {}
    networks = {"virtual_networks": {"blue": {"encryption": {"enabled": encrypted}}}}
    key = "link_defaults.mtu" if where == "defaults" else "links[0].mtu"
    for mtu, expected in ((least, []), (least - 1, [(key, least)])):
        link = {
            "defaults": {"link_defaults": {"mtu": mtu}},
            "both": {"links": [{"between": ["host-1", "host-2"], "mtu": mtu}]},
            "one direction": {"links": [one_way(mtu)]},
        }[where]
        assert problems(underlay, networks, link) == expected


def test_what_is_said_names_the_hosts_and_why(lab_data, write_lab):
    """And both remedies."""
    lab_data["links"] = [one_way(1366, "host-2", "host-1")]
    with pytest.raises(LabFileError) as error:
        load_lab(write_lab(lab_data))
    (said,) = error.value.problems
    assert said.split(": ", 1)[1] == (
        "links[0].mtu: 1366 is too small for IPv6 between `host-2` and `host-1`: a packet of 1280 bytes, and no VM need "
        "send smaller ones (RFC 8200 5), has 1367 there; write at least 1367, or give their VMs no `address_v6`"
    )


def test_a_small_link_is_right_where_no_ipv6_guests_meet_over_it(problems):
    """IPv4 goes lower. Other hosts' links, networks that cannot meet, and directions of their own do not count."""
    small = {"link_defaults": {"mtu": 600}}
    assert problems(small) == [("link_defaults.mtu", 1367)]
    assert problems(small, {"vms": {"vm-b": {"address_v6": None}}}) == []
    assert problems(small, {"vms": {"vm-b": {"host": "host-1"}}}) == []
    own = {"links": [one_way(1500), one_way(1500, "host-2", "host-1")]}
    assert problems(small, own) == []
    own["links"].append({"between": ["host-1", "host-2"], "mtu": 700})  # goes behind both
    assert problems(small, own) == []
    elsewhere = {"hosts": {"host-3": {"underlay": "192.0.2.3"}}}
    assert problems(elsewhere, {"links": [one_way(600, "host-1", "host-3")]}) == []


def test_guests_of_peered_networks_meet_too(problems):
    """In clear, when one of the two networks is; in a record, when neither."""
    peered = {
        "virtual_networks": {
            "green": {"address_prefixes": ["10.1.0.0/24", "fd00:11::/64"], "peerings": ["blue"]}
        },
        "vms": {"vm-b": {"address_v6": None}, "vm-c": {"address_v6": "fd00:11::4"}},
    }
    assert problems(peered, links=[one_way(1330)]) == []
    assert problems(peered, links=[one_way(1329)]) == [("links[0].mtu", 1330)]
    encrypted = {"virtual_networks": {"green": {"encryption": {"enabled": True}}}}
    assert problems(peered, encrypted, links=[one_way(1330)]) == [("links[0].mtu", 1367)]


@pytest.mark.parametrize(("version", "least"), [(4, 284), (6, 304)])
@pytest.mark.parametrize("where", ["link", "defaults"])
def test_a_link_carries_at_least_a_handshake(problems, version, least, where):
    """OpenSSL wants datagrams of 256 bytes; the MTU is that of the IP packet around them."""
    assert smallest_handshake_mtu(version) == least == SMALLEST_MTU + OUTER_HEADERS[version]
    underlay = ON_IPV6 if version == 6 else {}
    key = "links[0].mtu" if where == "link" else "link_defaults.mtu"
    for mtu, expected in ((least, []), (least - 1, [(key, least)])):
        link = {"links": [one_way(mtu)]} if where == "link" else {"link_defaults": {"mtu": mtu}}
        assert problems(NO_IPV6, underlay, link) == expected


def test_the_lab_of_a_file_that_cannot_be_read_whole_is_checked_as_far_as_it_goes(write_lab, lab_data):
    """A host that is wrong elsewhere is left out, and its link with it."""
    lab_data["links"] = [one_way(600)]
    lab_data["hosts"]["host-2"]["underlay"] = "nowhere"
    with pytest.raises(LabFileError) as error:
        load_lab(write_lab(yaml.safe_load(yaml.safe_dump(lab_data))))
    assert ["underlay" in problem for problem in error.value.problems] == [True]
