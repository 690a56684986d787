"""host.json: what is wrong with it is said with file, line and remedy; credentials and names likewise."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dtls_emu.assembly.lab_document import changed, compile_document, differences
from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.errors import LabFileError
from dtls_emu.host.config import CredentialPaths, load_host_config, parse_host_config
from dtls_emu.host.credential_files import save_credentials
from dtls_emu.host.credentials import CredentialError, read_authorities, read_credentials
from dtls_emu.host.device.underlays import UnderlayError, with_underlays
from dtls_emu.paths import control_socket, control_sockets, runs_directory


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


def config(**changes):
    """A right one, with changes; None takes a key away."""
    document = {
        "version": 1,
        "run": "demo",
        "host": "h1",
        "lab": LAB,
        "credentials": {
            "certificate": "host.pem",
            "private_key": "host.key",
            "authorities": {"eastus": "ca.pem"},
        },
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


# -------------------------------------------------------------------------------------------- changes


@pytest.mark.parametrize(
    ("path", "value", "where", "result"),
    [
        (("seed",), 5, ("seed",), 5),
        (("link_defaults", "loss"), "1%", ("link_defaults",), {"loss": "1%"}),
        (("links", 0, "delay"), "5ms", ("links", 0), LAB["links"][0] | {"delay": "5ms"}),
        (("links", 0), {"loss": "2%"}, ("links", 0), LAB["links"][0] | {"loss": "2%"}),
        (("links", 0), {"loss": None}, ("links", 0), {"between": ["h1", "h2"]}),
        (("links", 0, "loss"), None, ("links", 0), {"between": ["h1", "h2"]}),
        (("links", 1), {"from": "h1", "to": "h2"}, ("links", 1), {"from": "h1", "to": "h2"}),
        (("links", 0), None, ("links",), []),
        (("links", 1), None, ("links",), LAB["links"]),
        (("nothing",), None, (), LAB),
        (
            ("virtual_networks", "prod", "encryption", "enforcement"),
            "DropUnencrypted",
            ("virtual_networks", "prod", "encryption"),
            {"enabled": True, "enforcement": "DropUnencrypted"},
        ),
        (
            ("virtual_networks", "prod"),
            {"encryption": {"enforcement": "DropUnencrypted"}},
            ("virtual_networks", "prod", "encryption"),
            {"enabled": True, "enforcement": "DropUnencrypted"},
        ),
    ],
)
def test_one_thing_is_changed_and_nothing_else(path, value, where, result):
    """Mappings are merged; the document that was is left as it was."""
    before = json.dumps(LAB)
    found = changed(LAB, path, value)
    place = found
    for step in where:
        place = place[step]
    assert place == result
    assert json.dumps(LAB) == before
    untouched = LAB.keys() - {path[0]}
    assert {key: found[key] for key in untouched if key in found} == {key: LAB[key] for key in untouched}


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("x",) * 9,
        (0,),
        ("links", "a"),
        ("links", 2),
        ("links", -1),
        ("links", True),
        ("seed", "x"),
        ("vms", 1),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path):
    """Whatever it is, it raises what a client is told."""
    with pytest.raises(LabFileError):
        changed(LAB | {"seed": 1}, path, 1)


def test_what_cannot_change_while_running_is_named():
    """Names, places and addresses; policy and links may."""
    old = compile_document(LAB)
    assert differences(old, compile_document(changed(LAB, ("links", 0, "loss"), "9%"))) == []
    assert differences(old, compile_document(changed(LAB, ("vms", "a", "discovery"), value=False))) == []
    assert differences(old, compile_document(changed(LAB, ("overrides", "fragments"), "clear"))) == []
    for path, value, expected in (
        (("hosts", "h1", "underlay"), "192.0.2.9", ["underlay of h1"]),
        (("vms", "a", "address"), "10.0.0.9", ["addresses of a", "mac of a"]),
        (("vms", "a", "mtu"), 1400, ["mtu of a"]),
        (("vms", "b"), None, ["the set of VMs"]),
        (("hosts", "h3"), {"underlay": "192.0.2.3"}, ["the set of hosts"]),
        (("virtual_networks", "prod", "vni"), 6, ["vni of prod"]),
        (("overrides", "replay_window"), 128, ["replay_window of the profile"]),
    ):
        assert sorted(differences(old, compile_document(changed(LAB, path, value)))) == expected


# -------------------------------------------------------------------------------------------- underlays


def test_names_of_hosts_become_addresses():
    """An address stays as it is; a host that is not named keeps the lab's."""
    document = with_underlays(LAB, {"h1": "pod-1.lab"}, look_up={"pod-1.lab": "10.244.0.7"}.__getitem__)
    assert document["hosts"] == {"h1": {"underlay": "10.244.0.7"}, "h2": {"underlay": "192.0.2.2"}}
    document = with_underlays(LAB, {"h2": "2001:DB8::1"})
    assert document["hosts"]["h2"] == {"underlay": "2001:db8::1"}
    assert LAB["hosts"]["h1"] == {"underlay": "192.0.2.1"}


def test_a_name_that_is_not_there_yet_is_looked_up_again():
    """Hosts of a cluster start in any order; after a while it is an error."""
    tries = []

    def look_up(name):
        tries.append(name)
        if len(tries) < 4:
            raise OSError(-2, "Name or service not known")
        return "10.244.0.7"

    slept: list[float] = []
    options: Any = {"look_up": look_up, "clock": lambda: sum(slept), "sleep": slept.append}
    assert with_underlays(LAB, {"h1": "pod-1"}, **options)["hosts"]["h1"]["underlay"] == "10.244.0.7"
    assert len(slept) == 3
    tries.clear()
    slept.clear()
    with pytest.raises(UnderlayError, match="no address for pod-1: Name or service not known"):
        with_underlays(LAB, {"h1": "pod-1"}, patience=1.0, **options)


def test_a_name_that_dns_cannot_have_is_no_traceback():
    """Its encoding fails before anybody is asked."""
    with pytest.raises(UnderlayError, match=r"no address for x+: "):
        with_underlays(LAB, {"h1": "x" * 300}, patience=0.0)


def test_localhost_is_found():
    """By the machine's own resolver; IPv4 before IPv6."""
    assert with_underlays(LAB, {"h1": "localhost"})["hosts"]["h1"]["underlay"] == "127.0.0.1"


# ------------------------------------------------------------------------------------------ credentials


NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def credentials(tmp_path):
    """Files of host h1, as `up` writes them, and the authority."""
    authority = RegionAuthority.create("eastus", NOW)
    save_credentials(authority.issue("h1", NOW), tmp_path)
    paths = CredentialPaths(
        certificate=tmp_path / "host.pem",
        private_key=tmp_path / "host.key",
        authorities={"eastus": tmp_path / "ca.pem"},
    )
    return paths, authority


def test_credentials_are_read(credentials):
    """Certificate, key and the CA of every region."""
    paths, authority = credentials
    assert read_authorities(paths) == {"eastus": authority.certificate}
    read = read_credentials(paths, "h1", authority.certificate, NOW)
    assert read.private_key.public_key() == read.certificate.public_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_use_is_refused(credentials, mode):
    """With its mode and what to do."""
    paths, authority = credentials
    paths.private_key.chmod(mode)
    with pytest.raises(CredentialError, match=rf"host\.key: has mode {mode:04o}, .*; chmod 600 it"):
        read_credentials(paths, "h1", authority.certificate, NOW)


def test_a_key_that_nobody_may_write_is_fine(credentials):
    """Secrets of a cluster are mounted so."""
    paths, authority = credentials
    paths.private_key.chmod(0o400)
    assert read_credentials(paths, "h1", authority.certificate, NOW)


def test_a_certificate_that_no_peer_would_accept_is_refused_at_the_start(credentials):
    """Another host's, another authority's, or out of date."""
    paths, authority = credentials
    stranger = RegionAuthority.create("eastus", NOW).certificate
    for host, ca, now in (
        ("h2", authority.certificate, NOW),
        ("h1", stranger, NOW),
        ("h1", authority.certificate, NOW + timedelta(days=91)),
    ):
        with pytest.raises(CredentialError, match=r"host\.pem: no peer would accept it"):
            read_credentials(paths, host, ca, now)


def test_files_that_are_not_what_they_should_be_say_so(credentials):
    """Missing, not PEM, or of somebody else."""
    paths, authority = credentials
    save_credentials(authority.issue("h2", NOW), paths.certificate.parent / "other")
    other = paths.certificate.parent / "other" / "host.key"
    mixed = paths.model_copy(update={"private_key": other})
    with pytest.raises(CredentialError, match=r"other/host\.key: not the key of .*host\.pem"):
        read_credentials(mixed, "h1", authority.certificate, NOW)
    paths.private_key.write_text("no key")
    with pytest.raises(CredentialError, match=r"host\.key: no PEM key"):
        read_credentials(paths, "h1", authority.certificate, NOW)
    paths.certificate.write_text("no certificate")
    with pytest.raises(CredentialError, match=r"host\.pem: no PEM certificate"):
        read_credentials(paths, "h1", authority.certificate, NOW)
    paths.authorities["eastus"].unlink()
    with pytest.raises(CredentialError, match=r"ca\.pem: No such file or directory"):
        read_authorities(paths)


@pytest.mark.parametrize("which", ["certificate", "private_key"])
def test_a_device_in_the_place_of_a_file_is_not_read(credentials, which):
    """It would never end, and a FIFO never begin."""
    paths, authority = credentials
    path = getattr(paths, which)
    for make, reason in (
        (lambda: path.symlink_to("/dev/zero"), "a device"),
        (lambda: os.mkfifo(path), "a FIFO"),
    ):
        path.unlink()
        make()
        with pytest.raises(CredentialError, match=rf"{path.name}: is {reason}, not a regular file"):
            read_credentials(paths, "h1", authority.certificate, NOW)


# ---------------------------------------------------------------------------------------- run directory


def test_runs_are_in_run_for_root_and_in_the_users_own_folder_else(monkeypatch):
    """Where only their owner can read."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert control_socket("demo", "h1") == Path("/run/dtls-emu/demo/h1.sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runs_directory() == Path("/run/user/1000/dtls-emu")


def test_control_sockets_are_found_by_run(monkeypatch, tmp_path):
    """Of one, or of all, in order."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for run, host in (("one", "h2"), ("one", "h1"), ("two", "h1")):
        path = control_socket(run, host)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (path.parent / "state.json").touch()
    assert control_sockets("one") == [control_socket("one", "h1"), control_socket("one", "h2")]
    assert len(control_sockets()) == 3
    assert control_sockets("none") == []
    (tmp_path / "dtls-emu" / "one" / "h3.sock").symlink_to("h1.sock")
    (tmp_path / "dtls-emu" / "three").symlink_to("one")
    assert len(control_sockets()) == 3
    for elsewhere in ("three", "..", ".", "/", "../dtls-emu/one", "o*"):
        assert control_sockets(elsewhere) == []
