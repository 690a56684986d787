"""A lab as a Compose file: a service for each host, with what is its own."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
import yaml

from dtls_emu.deploy.export import (
    compose_document,
)
from dtls_emu.deploy.export.files import COMPOSE_HEADER, yaml_text
from dtls_emu.deploy.export.handout import GROUP, IMAGE, USER
from dtls_emu.lab import compile_lab, load_lab


ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compose(lab, handouts):
    return compose_document(compile_lab(lab), handouts, image="image", user="1:2")


def test_compose_has_a_service_for_each_host_that_others_find_by_name(lab, compose):
    """One service a host, under its name, on one network."""
    assert list(compose["services"]) == list(lab.hosts)
    for host, service in compose["services"].items():
        assert service["networks"]["underlay"]["aliases"] == [host] == [service["hostname"]]


def test_compose_gives_a_container_one_capability_and_one_device(compose):
    """All capabilities are dropped but NET_ADMIN; nothing is privileged; the user is not root."""
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["cap_add"] == ["NET_ADMIN"]
        assert service["devices"] == ["/dev/net/tun:/dev/net/tun"]
        assert service["user"] == "${DTLS_EMU_USER:-1:2}"
        assert not {"privileged", "network_mode", "pid", "ipc", "security_opt"} & service.keys()


def test_compose_mounts_a_hosts_own_files_only(compose):
    """No service is given a file from another host's folder."""
    for host, service in compose["services"].items():
        files = [compose["secrets"][each["source"]]["file"] for each in service["secrets"]]
        files += [each.split(":")[0] for each in service["volumes"]]
        assert all(file.startswith(f"./hosts/{host}/") for file in files)
        assert f"./hosts/{host}/host.key" in files


def test_the_bridge_of_compose_carries_what_every_link_of_the_lab_does(lab, compose):
    """Its MTU is the largest of the links', as the lab says."""
    topology = compile_lab(lab)
    links = [topology.link(*pair).mtu for pair in permutations(lab.hosts, 2)]
    assert int(compose["networks"]["underlay"]["driver_opts"]["mtu"]) == max([1280, *links])


def test_a_lone_host_has_a_bridge_too(handed, small_lab):
    """A lab without any link is no special case."""
    lab = small_lab(hosts=1)
    document = compose_document(compile_lab(lab), handed(lab), image="image", user="1:2")
    assert document["networks"]["underlay"]["driver_opts"] == {"mtu": "1280"}


def test_the_compose_file_of_the_repository_is_the_exported_one(handed):
    """containers/compose.yaml is what `export compose two-vms` writes when root calls it."""
    lab = load_lab("two-vms")
    document = compose_document(compile_lab(lab), handed(lab), image=IMAGE, user=f"{USER}:{GROUP}")
    shipped = (ROOT / "containers" / "compose.yaml").read_bytes()
    assert yaml.safe_load(shipped) == document
    # To the byte: else the export to that folder, as its README has it, would find another file in the way.
    assert shipped == yaml_text([document], COMPOSE_HEADER)
