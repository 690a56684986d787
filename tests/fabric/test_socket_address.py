"""Addresses of sockets are laid out as Linux has them."""

from __future__ import annotations

import ctypes
import socket

import pytest

from dtls_emu.fabric.socket_address import NAME_SPACE, pull_socket_address, push_socket_address


ADDRESSES = [("192.0.2.1", 4433), ("0.0.0.0", 0), ("2001:db8::1", 65_535), ("::1", 1)]  # nothing binds


@pytest.mark.parametrize("address", ADDRESSES, ids=str)
def test_what_is_pushed_is_pulled(address):
    """Both families; what is behind it in a larger memory does not matter."""
    assert pull_socket_address(push_socket_address(*address).ljust(NAME_SPACE, b"\xff")) == address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_kernel_has_the_same_layout(address):
    """What getsockname(2) says of a bound socket."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        name = ctypes.create_string_buffer(NAME_SPACE)
        length = ctypes.c_uint32(NAME_SPACE)
        library = ctypes.CDLL(None, use_errno=True)
        assert library.getsockname(sock.fileno(), name, ctypes.byref(length)) == 0
        port = sock.getsockname()[1]
    assert name.raw[: length.value] == push_socket_address(address, port)
    assert pull_socket_address(name.raw) == (address, port)
