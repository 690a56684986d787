"""Numbers of the kernel's interface are those that this machine's own headers and Python know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dtls_emu.machine import linux
from dtls_emu.wire.virtio import VNET_FIELDS


def defined(header):
    """Names and numbers of a header file; a test is skipped where the machine has none."""
    path = Path("/usr/include/linux", header)
    if not path.exists():
        pytest.skip(f"there is no {path} (Debian: linux-libc-dev)")
    found = re.findall(r"^#define\s+(\w+)\s+\(?(0x[0-9A-Fa-f]+|[0-9]+)\)?\s", path.read_text(), re.MULTILINE)
    return {name: int(number, 0) for name, number in found}


def test_capabilities_are_those_of_the_header():
    """Each by its name."""
    numbers = defined("capability.h")
    assert {each.name: each.value for each in linux.Capability} == {
        each.name: numbers[each.name] for each in linux.Capability
    }


def test_flags_of_tun_devices_are_those_of_the_header():
    """Interface flags and offloads; what an older header lacks is not compared."""
    numbers = defined("if_tun.h")
    names = [name for name in linux.__all__ if name.startswith(("IFF_", "TUN_F_")) and name in numbers]
    assert len(names) >= 6
    assert {name: getattr(linux, name) for name in names} == {name: numbers[name] for name in names}


def test_a_virtio_header_is_as_long_as_what_is_read_and_written():
    """The kernel is told one number, and the other is used."""
    assert VNET_FIELDS.size == linux.VNET_HEADER


@pytest.mark.parametrize("capability", linux.Capability)
def test_a_set_of_capabilities_has_those_whose_bits_it_has(capability):
    """As in ``CapEff`` of proc_pid_status(5)."""
    assert capability.is_in(1 << capability)
    assert not capability.is_in(~(1 << capability))
