"""Offloads are probed, and what is missing is told with its reason."""

from __future__ import annotations

import errno
import socket

import pytest

from dtls_emu.fabric.offload import (
    SOL_UDP,
    UDP_GRO,
    FabricUnavailableError,
    enlarge_buffers,
    forbid_fragments,
    kernel_drops,
    prepare_gro,
    prepare_gso,
)


class Stub:
    """A socket whose options fail with `error`, but for those in `options`."""

    family = socket.AF_INET

    def __init__(self, error=errno.ENOPROTOOPT, options=None):
        self.error = error
        self.options = options or {}

    def getsockopt(self, level, name, size=0):
        if (level, name) not in self.options:
            raise OSError(self.error, "Protocol not available")
        return self.options[level, name]

    def setsockopt(self, level, name, value):
        if (level, name) not in self.options:
            raise OSError(self.error, "Protocol not available")


def stub(**options):
    return Stub(**options)


@pytest.mark.parametrize(("prepare", "name"), [(prepare_gso, "UDP_SEGMENT"), (prepare_gro, "UDP_GRO")])
def test_a_kernel_without_it_is_off_with_a_reason(prepare, name):
    """And an error when it was asked for with `on`."""
    offload = prepare(stub(), "auto")
    assert offload["state"] == "off"
    assert offload["reason"].startswith(f"{name}: Protocol not available (Linux ")
    with pytest.raises(FabricUnavailableError, match=name):
        prepare(stub(), "on")


@pytest.mark.parametrize("prepare", [prepare_gso, prepare_gro])
def test_off_touches_nothing(prepare):
    """A socket that refuses every option is not asked for one."""
    assert prepare(stub(), "off") == {"state": "off", "reason": "switched off"}


def test_merging_that_is_accepted_but_not_kept_is_off():
    """As the kernels before 5.12 and some sandboxes do."""
    assert prepare_gro(stub(options={(SOL_UDP, UDP_GRO): 0}), "auto")["state"] == "off"
    assert prepare_gro(stub(options={(SOL_UDP, UDP_GRO): 1}), "on")["state"] == "on"


def test_buffers_say_how_much_the_kernel_granted():
    """The plain options are clipped to a limit, which is told; it is half of what the kernel reports."""
    granted = dict.fromkeys(
        [(socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)], 425_984
    )
    offload = enlarge_buffers(stub(options=granted), 1_000_000)
    assert offload["state"] == "off"
    assert offload["reason"].startswith("212992 of 1000000 bytes")
    assert enlarge_buffers(stub(options=granted), 212_992) == {"state": "on", "reason": ""}


@pytest.mark.parametrize(
    ("family", "level", "option"),
    [(socket.AF_INET, socket.IPPROTO_IP, 10), (socket.AF_INET6, socket.IPPROTO_IPV6, 23)],
)
def test_outer_packets_carry_df(family, level, option):
    """The kernel has taken the option that forbids fragments (2: IP_PMTUDISC_DO), in both families."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        assert forbid_fragments(sock) == {"state": "on", "reason": ""}
        assert sock.getsockopt(level, option) == 2


def test_a_kernel_that_cannot_set_df_says_so():
    """Nothing is raised: the emulator works, its packets may be fragmented."""
    assert forbid_fragments(stub()) == {"state": "off", "reason": "IP_MTU_DISCOVER: Protocol not available"}


def test_kernel_drops_is_zero_where_the_kernel_does_not_tell():
    """An unknown option, and an answer of another length."""
    assert kernel_drops(stub()) == 0
    assert kernel_drops(stub(options={(socket.SOL_SOCKET, 55): b"short"})) == 0
