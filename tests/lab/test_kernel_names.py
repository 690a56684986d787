"""Names of a lab become names that Linux takes and that stay apart, or are refused."""

from pathlib import Path

import pytest

from dtls_emu.errors import LabFileError
from dtls_emu.lab import kernel_names, load_lab
from dtls_emu.lab.kernel_names import cable_device, check_device, name_clashes, namespace_name, socket_trouble


def test_long_names_of_hosts_stay_apart():
    """The same beginning, and yet two interfaces."""
    names = {cable_device(f"storage-rack-{number}") for number in range(100)}
    assert len(names) == 100
    assert {len(name) for name in names} == {15}
    assert cable_device("host-1") == "to-host-1"


def test_the_longest_names_are_names_of_namespaces():
    """A namespace is a file in /run/netns, whose name has at most 255 bytes."""
    assert len(namespace_name("r" * 63, "h" * 63)) <= 255


@pytest.mark.parametrize("name", ["tun0", "a", "x" * 15, "eth0.5", "my_tun-1", "..."])
def test_names_of_interfaces_that_linux_takes(name):
    """As they are."""
    assert check_device(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a:1", "a b", "a\0b", "a\n", "x" * 16, "\u00e4", "../tun", "%d"]
)
def test_names_of_interfaces_that_linux_does_not_take(name):
    """Nor a shell, or pyroute2, as they stand: `%d` is a number that the kernel chooses."""
    with pytest.raises(ValueError, match="is no name of an interface; write at most 15 letters"):
        check_device(name)


def test_a_host_and_a_vm_of_one_name_are_refused(lab_data, write_lab):
    """Both would be the same network namespace; `validate` says it, not `up`."""
    lab_data["vms"]["host-1"] = lab_data["vms"]["vm-a"] | {"address": "10.0.0.77"}
    lab_data["vms"]["host-1"].pop("address_v6", None)
    with pytest.raises(LabFileError) as caught:
        load_lab(write_lab(lab_data))
    (problem,) = caught.value.problems
    assert problem.partition(": ")[2] == (
        "vms.host-1: a host is called `host-1`, too, and each of them is a network namespace of its name; rename one "
        "of them"
    )


def test_hosts_whose_interfaces_would_have_one_name_are_refused(monkeypatch):
    """Should two digests ever be the same."""
    monkeypatch.setattr(kernel_names, "cable_device", lambda _: "to-somebody")
    (clash,) = name_clashes(["host-1", "host-2"], set())
    assert clash.path == ("hosts", "host-2")
    assert clash.message.startswith(
        "too much like the host `host-1` for the 15 letters of an interface's name; "
    )


def test_a_socket_whose_path_is_too_long_is_said():
    """Names of run and host add up; each alone is right."""
    assert socket_trouble("r" * 63, ["h"]) is None
    assert socket_trouble("r", ["h" * 63]) is None
    assert socket_trouble("r" * 63, ["h", "h" * 63]) == (
        f"the path of the control socket of `{'h' * 63}` has 146 bytes, 107 are possible; choose a shorter name with "
        "--name"
    )
    assert len(str(Path("/run/dtls-emu") / "r" / f"{'h' * 63}.sock")) <= 107
