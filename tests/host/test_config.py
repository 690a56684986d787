"""host.json: what is written is what is read, and what is wrong with it is said with file, line and remedy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dtls_emu.errors import LabFileError
from dtls_emu.host.config import CredentialPaths, HostConfig, VmDevice, load_host_config, parse_host_config
from dtls_emu.paths import control_socket


LAB: dict[str, Any] = {
    "name": "two",
    "virtual_networks": {
        "prod": {"address_prefixes": ["10.0.0.0/24"], "vni": 5, "encryption": {"enabled": True}},
    },
    "hosts": {"h1": {"underlay": "192.0.2.1"}, "h2": {"underlay": "192.0.2.2"}},
    "vms": {
        "a": {"host": "h1", "virtual_network": "prod", "address": "10.0.0.4"},
        "b": {"host": "h2", "virtual_network": "prod", "address": "10.0.0.5"},
    },
    "links": [{"between": ["h1", "h2"], "loss": "1%"}],
    "traffic": [{"kind": "pcap", "from": "a", "to": "b", "file": "not-on-this-machine.pcap"}],
}


CREDENTIALS = {"certificate": "host.pem", "private_key": "host.key", "authorities": {"eastus": "ca.pem"}}


def config(**changes):
    """A right one, with changes; None takes a key away."""
    document = {
        "version": 1,
        "run": "demo",
        "host": "h1",
        "lab": LAB,
        "credentials": CREDENTIALS,
        "vms": [{"vm": "a", "netns": "demo-a", "device": "tun0", "create": False}],
    } | changes
    return {key: value for key, value in document.items() if value is not None}


def parse(**changes):
    return parse_host_config(json.dumps(config(**changes), indent=1), Path("/etc/lab/host.json"))


def problems(**changes):
    with pytest.raises(LabFileError) as caught:
        parse(**changes)
    return caught.value.problems


def test_a_right_file_is_read_and_its_paths_lead_there_from_anywhere(tmp_path):
    """They are relative to its folder; absolute ones stay."""
    path = tmp_path / "host.json"
    credentials = {"certificate": "a.pem", "private_key": "/k.key", "authorities": {"eastus": "ca.pem"}}
    path.write_text(json.dumps(config(credentials=credentials, control_socket="x/h1.sock")))
    read = load_host_config(path)
    assert read.credentials.certificate == tmp_path / "a.pem"
    assert read.credentials.private_key == Path("/k.key")
    assert read.credentials.authorities == {"eastus": tmp_path / "ca.pem"}
    assert read.socket_path == tmp_path / "x" / "h1.sock"
    assert (read.encryption, read.gso, read.gro, read.backend) == ("on", "auto", "auto", None)
    assert (read.vms[0].netns, read.vms[0].create) == ("demo-a", False)


def test_what_is_left_out_has_a_default():
    """The socket is the run's, the device is one that is there in the host's own namespace."""
    read = parse(vms=[{"vm": "a", "device": "tun0"}])
    assert read.socket_path == control_socket("demo", "h1")
    assert (read.vms[0].netns, read.vms[0].create) == (None, False)


def test_the_traffic_of_the_lab_needs_no_files_here():
    """Its captures are on the machine where the lab was written."""
    assert parse().lab["traffic"] == LAB["traffic"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version: input should be 1"),
        ({"version": None}, "version: missing; write it"),
        ({"host": "h3"}, "host: no such host in the lab; write one of: h1, h2"),
        ({"host": "H1"}, "host: `H1` is no name"),
        ({"lab": 3}, "lab: is no object; write one: `{...}`"),
        ({"colour": "blue"}, "colour: unknown key; leave it out"),
        ({"encryption": "perhaps"}, "encryption: input should be 'on' or 'off'"),
        ({"gso": True}, "gso: input should be 'auto', 'on' or 'off'"),
        ({"vms": []}, "vms: the lab has `a` on h1; write its device"),
        ({"vms": [{"vm": "a"}]}, "vms[0].device: missing; write it"),
        (
            {"vms": [{"vm": "a", "device": "x" * 16}]},
            f"vms[0].device: `{'x' * 16}` is no name of an interface; ",
        ),
        (
            {"vms": [{"vm": "a", "device": "../tun"}]},
            "vms[0].device: `../tun` is no name of an interface; write at",
        ),
        (
            {"vms": [{"vm": "a", "device": ".."}]},
            "vms[0].device: `..` is no name of an interface; write at most",
        ),
        ({"vms": [{"vm": "a", "device": "t", "create": 1}]}, "vms[0].create: input should be a valid bool"),
        ({"vms": [{"vm": "a", "device": "t", "netns": ""}]}, "vms[0].netns: string should have at least 1"),
        ({"underlays": {"h9": "x"}}, "underlays.h9: no such host in the lab"),
        (
            {"underlays": {"h1": "x" * 300}},
            "underlays.h1: `" + "x" * 40 + "...` is neither an IP address nor",
        ),
        ({"underlays": {"h1": "x" * 64 + ".lab"}}, "is neither an IP address nor a DNS name; write one"),
        ({"underlays": {"h1": "a..b"}}, "underlays.h1: `a..b` is neither an IP address nor a DNS name"),
        ({"underlays": {"h1": ""}}, "underlays.h1: `` is neither an IP address nor a DNS name"),
        ({"underlays": {"h1": "-x"}}, "underlays.h1: `-x` is neither an IP address nor a DNS name"),
        ({"underlays": {"h1": "a\0b"}}, "underlays.h1: `a?b` is neither an IP address nor a DNS name"),
        ({"backend": "zz"}, "backend: no backend `zz`; "),
        ({"backend": "ipsecmb"}, "backend: no backend `ipsecmb`; did you mean `ipsec-mb`?"),
        ({"control_socket": "a\0b"}, "control_socket: `a?b` is the path of no file; write one"),
        (
            {"vms": [{"vm": "a", "device": "t", "netns": "a\0b"}]},
            "vms[0].netns: `a?b` is the path of no file",
        ),
        (
            {"credentials": {"certificate": "a\0b", "private_key": "k", "authorities": {"eastus": "ca\0"}}},
            "credentials.certificate: `a?b` is the path of no file; write one",
        ),
        (
            {"credentials": {"certificate": "a", "private_key": "k", "authorities": {"eastus": "ca\0"}}},
            "credentials.authorities.eastus: `ca?` is the path of no file; write one",
        ),
        ({"lab": {}}, "lab.virtual_networks: "),
        ({"lab": LAB | {"hosts": {}}}, "lab.hosts: "),
        ({"lab": LAB | {"links": [{"between": ["h1", "h9"]}]}}, "lab.links[0].between[1]: no host `h9`"),
        (
            {"container": True, "lab": LAB | {"overrides": {"keying": "broker"}}},
            "lab.overrides.keying: in containers",
        ),
        ({"lab": LAB | {"seed": "x"}}, "lab.seed: `x` does not belong here; write a whole number"),
    ],
)
def test_a_wrong_file_says_what_to_write(changes, message):
    """With the file and a line."""
    found = problems(**changes)
    assert any(message in problem for problem in found), found
    assert all(problem.startswith("/etc/lab/host.json:") for problem in found)


def test_a_vm_has_one_device_and_a_device_one_vm():
    """Else packets of one VM would come from the other."""
    lab = LAB | {"vms": LAB["vms"] | {"c": LAB["vms"]["a"] | {"address": "10.0.0.6"}}}
    same = [{"vm": "a", "device": "t"}, {"vm": "c", "device": "t"}]
    assert "two VMs have the same device" in problems(lab=lab, vms=same)[0]
    twice = [{"vm": "a", "device": "t"}, {"vm": "a", "device": "u"}]
    assert [each.split(": ", 1)[1] for each in problems(lab=lab, vms=twice)] == [
        "vms: the lab has `c` on h1; write its device",
        "vms[1].vm: written twice; a VM has one device",
    ]
    elsewhere = [{"vm": "b", "device": "t"}]
    assert "vms[0].vm: no such VM on h1; " in problems(vms=elsewhere)[1]


def test_every_region_needs_its_authority():
    """A peer's certificate could not be checked."""
    hosts = LAB["hosts"] | {"h2": {"underlay": "192.0.2.2", "region": "westus"}}
    (problem,) = problems(lab=LAB | {"hosts": hosts})
    assert "credentials.authorities: no CA of westus; write the path of its certificate" in problem


def test_the_line_is_that_of_the_key():
    """Deep inside of the lab, too."""
    text = json.dumps(config(lab=LAB | {"seed": "x"}), indent=1)
    line = next(number for number, each in enumerate(text.splitlines(), 1) if '"seed"' in each)
    (problem,) = problems(lab=LAB | {"seed": "x"})
    assert problem.startswith(f"/etc/lab/host.json:{line}: lab.seed: ")


@pytest.mark.parametrize("text", ["", "[]", "nonsense", "{", "\t{}"])
def test_what_is_no_mapping_is_an_error_and_not_a_traceback(text):
    """Whatever stands in the file; and no class of ours is named."""
    with pytest.raises(LabFileError) as raised:
        parse_host_config(text, Path("host.json"))
    assert "HostConfig" not in str(raised.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    """Missing, or not text."""
    with pytest.raises(LabFileError, match=r"host\.json: cannot be read: No such file or directory"):
        load_host_config(tmp_path / "host.json")
    (tmp_path / "host.json").write_bytes(b"\xff")
    with pytest.raises(LabFileError, match="cannot be read: not UTF-8"):
        load_host_config(tmp_path / "host.json")


@pytest.mark.parametrize(
    "name", ["10.0.0.1", "fd00::1", "pod-1", "pod-1.lab.svc.cluster.local.", "a_b", "x" * 63]
)
def test_an_underlay_is_an_address_or_a_dns_name(name):
    """Also names that clusters and Compose make."""
    assert parse(underlays={"h1": name}).underlays == {"h1": name}


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_hosts_file_that_is_no_file_is_refused_at_once(tmp_path, kind):
    """It would block, or never end."""
    path = tmp_path / "host.json"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    with pytest.raises(LabFileError, match=r"host\.json: cannot be read: is a .*, not a regular file"):
        load_host_config(path)


def test_a_hosts_file_may_be_a_link(tmp_path):
    """As clusters mount theirs."""
    (tmp_path / "real").write_text(json.dumps(config()))
    (tmp_path / "host.json").symlink_to("real")
    assert load_host_config(tmp_path / "host.json").host == "h1"


# ------------------------------------------------------------------------------------------- written and read


FULL = HostConfig(
    version=1,
    run="demo",
    host="h1",
    lab=LAB | {"name": "zürich"},
    encryption="off",
    backend="null",
    gso="off",
    gro="on",
    fast_path="off",
    credentials=CredentialPaths(
        certificate=Path("/run/ö/host.pem"),
        private_key=Path("/k.key"),
        authorities={"eastus": Path("/ca.pem")},
    ),
    control_socket=Path("/run/x/h1.sock"),
    underlays={"h1": "pod-1.lab", "h2": "2001:db8::1"},
    container=False,
    flow_log=Path("/var/logs"),
    vms=(VmDevice(vm="a", device="tun0", netns="/proc/1/ns/net", create=True),),
)


def test_every_field_survives_the_file(tmp_path):
    """Each of them has another value than its default."""
    written = HostConfig.model_validate(FULL.model_dump() | {"lab": LAB})
    for config in (written, written.model_copy(update={"container": True})):
        path = tmp_path / "host.json"
        path.write_text(config.to_json())
        assert load_host_config(path) == config
    required = {"version", "run", "host", "lab", "credentials", "vms"}
    for name, field in HostConfig.model_fields.items():
        if name not in required | {"container"}:
            assert getattr(written, name) != field.get_default(call_default_factory=True), name


def test_text_of_any_alphabet_survives_the_file():
    """In paths and in the lab."""
    document = LAB | {"description": "größer als \u2028 und 東京"}
    config = FULL.model_copy(update={"lab": document})
    assert parse_host_config(config.to_json(), Path("host.json")) == config


def test_relative_paths_are_written_as_they_are(tmp_path):
    """So that a folder can be moved; they are made absolute only where it is read."""
    config = parse()
    relative = config.model_copy(
        update={"credentials": CredentialPaths.model_validate(json.loads(json.dumps(CREDENTIALS)))}
    )
    assert json.loads(relative.to_json())["credentials"] == CREDENTIALS
    (tmp_path / "host.json").write_text(relative.to_json())
    assert load_host_config(tmp_path / "host.json").credentials.private_key == tmp_path / "host.key"


def test_what_is_left_to_its_default_is_not_written():
    """A file says what was chosen, so another version's defaults hold for the rest."""
    config = HostConfig.model_validate(
        {key: getattr(FULL, key) for key in ("version", "run", "host", "lab", "vms", "credentials")}
    )
    assert set(json.loads(config.to_json())) == {"version", "run", "host", "lab", "credentials", "vms"}
