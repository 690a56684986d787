"""What each host of a lab is handed: a file that it takes, its own key, and nothing of another host."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import pytest

from dtls_emu.assembly.lab_document import compile_document, differences
from dtls_emu.deploy.export.handout import check_image
from dtls_emu.errors import LabFileError
from dtls_emu.host.config import parse_host_config
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.paths import MAX_SOCKET_PATH


def test_each_host_is_handed_a_host_json_that_holds_for_its_lab(lab, handouts):
    """It passes every check of `host`, and says the same lab."""
    for each in handouts:
        config = parse_host_config(each.config, Path("host.json"))
        assert config.host == each.host
        assert differences(compile_document(config.lab), compile_lab(lab)) == []
        assert compile_document(config.lab).name == lab.name


def test_devices_are_made_in_the_containers_own_namespace(lab, handouts):
    """Each VM of the host has a device of its own that the host makes; there is no other namespace."""
    for each in handouts:
        own = [name for name, vm in lab.guests.items() if vm.host == each.host]
        config = json.loads(each.config)
        devices = config["vms"]
        assert [device["vm"] for device in devices] == own
        assert len({device["device"] for device in devices}) == len(own)
        assert all(device["create"] and "netns" not in device for device in devices)
        assert config["container"] is True


def test_no_host_is_handed_another_ones_key(lab, handouts):
    """The one private key of each is in nobody else's handout, nor in any host.json."""
    keys = {each.host: each.credentials["host.key"] for each in handouts}
    assert len(set(keys.values())) == len(lab.hosts)
    for one, other in permutations(handouts, 2):
        secret = other.credentials["host.key"].decode().splitlines()[1]
        assert not any(secret in pem.decode() for pem in one.credentials.values())
    assert not any("PRIVATE" in each.config for each in handouts)


def test_credentials_are_those_that_host_json_names(handouts):
    """Every file that it names is handed out, and every file that is handed out is named."""
    for each in handouts:
        named = json.loads(each.config)["credentials"]
        paths = [named["certificate"], named["private_key"], *named["authorities"].values()]
        assert sorted(Path(path).name for path in paths) == sorted(each.credentials)


def test_a_lab_that_only_the_simulation_can_run_is_refused(handed):
    """What `host` would refuse is not exported."""
    with pytest.raises(LabFileError, match=r"overrides\.keying: in containers there is no broker"):
        handed(load_lab("broker"))


def test_names_too_long_for_a_control_socket_are_refused(handed, small_lab):
    """A host of that lab could not start; the longest that fit do."""
    name, fitting = "n" * 63, MAX_SOCKET_PATH - len(f"/run/card/dtls-emu/{'n' * 63}/-0.sock")
    assert len(handed(small_lab(name=name, host="h" * fitting))) == 2
    with pytest.raises(LabFileError, match=r"hosts\.h+-0: .* too long .* write shorter ones"):
        handed(small_lab(name=name, host="h" * (fitting + 1)))


def test_a_printed_handout_shows_no_key(handouts):
    """Its repr, in a traceback say, leaves the credentials out."""
    assert all("PRIVATE" not in repr(each) for each in handouts)


@pytest.mark.parametrize(
    "image",
    ["dtls-emu", "localhost/dtls-emu:latest", "registry.example:5000/a/b_c/d.e:1.0", f"a@sha256:{'0' * 64}"],
)
def test_an_images_name_is_as_runtimes_take_it(image):
    """The grammar is that of their own library."""
    assert check_image(image) == image
