"""Addresses that no machine can have on a network are refused where they are written, with why."""

import pytest
from pydantic import TypeAdapter, ValidationError

from dtls_emu.lab.addresses import AddressPrefix, MacAddress, UnderlayAddress, VmAddress4, VmAddress6


USELESS_4 = {
    "0.0.0.0": "in 0.0.0.0/8, which nothing is sent to",
    "0.1.2.3": "in 0.0.0.0/8, which nothing is sent to",
    "127.0.0.1": "a loopback address",
    "127.255.255.254": "a loopback address",
    "224.0.0.1": "a multicast address",
    "239.255.255.255": "a multicast address",
    "240.0.0.1": "in 240.0.0.0/4, which is reserved",
    "255.255.255.254": "in 240.0.0.0/4, which is reserved",
    "255.255.255.255": "the broadcast address",
}
USELESS_6 = {
    "::": "the unspecified address",
    "::1": "the loopback address",
    "::ffff:192.0.2.1": "an IPv4-mapped address",
    "::ffff:127.0.0.1": "an IPv4-mapped address",
    "fe80::1": "a link-local address",
    "febf::1": "a link-local address",
    "ff02::1": "a multicast address",
}
USEFUL_4 = [
    "1.0.0.0",
    "10.0.0.255",
    "126.255.255.255",
    "128.0.0.0",
    "169.254.1.1",
    "223.255.255.255",
    "192.0.2.1",
]
USEFUL_6 = ["::2", "fd00::", "fe00::1", "fec0::1", "2001:db8::1", "::fffe:102:304"]


def refusal(kind, value):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    (error,) = caught.value.errors()
    return str(error["ctx"]["error"])


@pytest.mark.parametrize(("address", "what"), (USELESS_4 | USELESS_6).items())
def test_an_underlay_address_is_one_that_a_machine_can_have(address, what):
    """With an example of one."""
    message = refusal(UnderlayAddress, address)
    assert message.startswith(f"{address} is {what}")
    assert message.endswith("; write one such as 192.0.2.1")


@pytest.mark.parametrize(
    ("kind", "address", "what", "example"),
    [
        *((VmAddress4, address, what, "10.0.0.4") for address, what in USELESS_4.items()),
        *((VmAddress6, address, what, "fd00:1::4") for address, what in USELESS_6.items()),
    ],
)
def test_a_vms_address_is_one_that_a_machine_can_have(kind, address, what, example):
    """With an example of the same IP version."""
    message = refusal(kind, address)
    assert message.startswith(f"{address} is {what}")
    assert message.endswith(f"; write one such as {example}")


@pytest.mark.parametrize("address", USEFUL_4 + USEFUL_6)
def test_addresses_beside_those_are_fine(address):
    """Up to the edges. What Azure keeps of each subnet for itself is not refused: nothing here uses it."""
    assert str(TypeAdapter(UnderlayAddress).validate_python(address)) == address
    assert str(TypeAdapter(VmAddress6 if ":" in address else VmAddress4).validate_python(address)) == address


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("010.0.0.4", "`010.0.0.4` has leading zeros, as octal numbers do; write 10.0.0.4"),
        ("192.0.2.01", "`192.0.2.01` has leading zeros, as octal numbers do; write 192.0.2.1"),
        ("10.0.0", "`10.0.0` is no IP address; write one such as 192.0.2.1"),
        ("10.0.0.256", "`10.0.0.256` is no IP address; write one such as 192.0.2.1"),
        ("fe80::1%eth0", "`fe80::1%eth0` is no IP address; write one such as 192.0.2.1"),
        ("10.0.0.4/24", "`10.0.0.4/24` is no IP address; write one such as 192.0.2.1"),
        (3232235777, "`3232235777` is no IP address; write one such as 192.0.2.1"),
        ("\u0661.0.0.1", "`\u0661.0.0.1` is no IP address; write one such as 192.0.2.1"),
        ("", "`` is no IP address; write one such as 192.0.2.1"),
    ],
)
def test_what_is_no_address_is_said(value, message):
    """With what was probably meant, where that is clear."""
    assert refusal(UnderlayAddress, value) == message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10.0.0.0", "`10.0.0.0` has no length; write 10.0.0.0/32 for one address, or a shorter one"),
        ("fd00::", "`fd00::` has no length; write fd00::/128 for one address, or a shorter one"),
        ("10.0.0.1/24", "`10.0.0.1/24` has bits set behind the prefix; write 10.0.0.0/24"),
        ("10.0.0.0/33", "`10.0.0.0/33` is no address prefix; write one such as 10.0.0.0/24"),
        (
            "127.0.0.0/8",
            "127.0.0.0/8 holds no address for a VM: each is a loopback address, which leaves no machine; ",
        ),
        ("224.0.0.0/24", "224.0.0.0/24 holds no address for a VM: each is a multicast address"),
        ("fe80::/64", "fe80::/64 holds no address for a VM: each is a link-local address"),
        ("::ffff:10.0.0.0/120", "::ffff:a00:0/120 holds no address for a VM: each is an IPv4-mapped address"),
    ],
)
def test_a_prefix_has_a_length_and_addresses_that_a_vm_can_have(value, message):
    """Else every VM in it would be wrong."""
    assert refusal(AddressPrefix, value).startswith(message)


@pytest.mark.parametrize("value", ["0.0.0.0/0", "10.0.0.0/8", "10.0.0.4/32", "::/0", "fd00::/64"])
def test_prefixes_that_hold_some_address_are_fine(value):
    """Also those that hold others beside it."""
    assert str(TypeAdapter(AddressPrefix).validate_python(value)) == value


def test_a_mac_address_is_that_of_a_nic():
    """Not of a group, and not of nobody."""
    assert refusal(MacAddress, "00:00:00:00:00:00").startswith("00:00:00:00:00:00 is no NIC's address; write")
    assert TypeAdapter(MacAddress).validate_python("00:00:00:00:00:01") == "00:00:00:00:00:01"
