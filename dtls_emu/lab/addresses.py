"""Addresses as a lab file writes them: parsed into objects, refused with what to write."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from dtls_emu.lab.prefixes import Address, Prefix
from dtls_emu.lab.problems import shown


__all__ = ["AddressPrefix", "MacAddress", "UnderlayAddress", "VmAddress4", "VmAddress6", "parse_prefix"]

_MAC: Final = r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"


_USELESS: Final = tuple(
    (ip_network(prefix), what)
    for prefix, what in (
        ("0.0.0.0/8", "in 0.0.0.0/8, which nothing is sent to (RFC 1122 3.2.1.3)"),
        ("127.0.0.0/8", "a loopback address, which leaves no machine"),
        ("224.0.0.0/4", "a multicast address, which is not that of one machine"),
        ("255.255.255.255/32", "the broadcast address, which is not that of one machine"),
        ("240.0.0.0/4", "in 240.0.0.0/4, which is reserved (RFC 1112 4)"),
        ("::/128", "the unspecified address"),
        ("::1/128", "the loopback address, which leaves no machine"),
        ("::ffff:0:0/96", "an IPv4-mapped address, which is on no wire (RFC 4291 2.5.5.2)"),
        ("fe80::/10", "a link-local address, which means nothing without its interface"),
        ("ff00::/8", "a multicast address, which is not that of one machine"),
    )
)
"""Addresses that no machine can have on a network, and why; the first that fits is said."""


def parse_prefix(value: object) -> Prefix:
    """A prefix as a lab file writes it.

    Raises:
        ValueError: it is none, or holds no address for a VM; says what to write.
    """
    if isinstance(value, str):
        try:
            loose = ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if "/" not in value:
                raise ValueError(
                    f"{shown(value)} has no length; write {loose} for one address, or a shorter one"
                )
            if int(ip_interface(value).ip) != int(loose.network_address):
                raise ValueError(f"{shown(value)} has bits set behind the prefix; write {loose}")
            for useless, what in _USELESS:
                if useless.version == loose.version and useless.supernet_of(loose):  # type: ignore[arg-type]
                    raise ValueError(
                        f"{loose} holds no address for a VM: each is {what}; write one such as 10.0.0.0/24"
                    )
            return loose
    raise ValueError(f"{shown(value)} is no address prefix; write one such as 10.0.0.0/24")


def _parse_address(value: object, example: str = "192.0.2.1") -> Address:
    address: Address | None = None
    if isinstance(value, IPv4Address | IPv6Address):
        address = value
    elif isinstance(value, str):
        try:
            address = ip_address(value)
        except ValueError:
            if re.fullmatch(r"\d{1,9}(\.\d{1,9}){3}", value) and re.search(r"\b0\d", value):
                plain = ".".join(str(int(part)) for part in value.split("."))
                raise ValueError(
                    f"{shown(value)} has leading zeros, as octal numbers do; write {plain}"
                ) from None
    if address is None or getattr(
        address, "scope_id", None
    ):  # an interface of this machine means nothing here
        raise ValueError(f"{shown(value)} is no IP address; write one such as {example}")
    for useless, what in _USELESS:
        if address in useless:
            raise ValueError(f"{value} is {what}; write one such as {example}")
    return address


def _parse_address_of(version: int, example: str) -> BeforeValidator:
    def parse(value: object) -> Address:
        address = _parse_address(value, example)
        if address.version != version:
            raise ValueError(f"{address} is no IPv{version} address; write one such as {example}")
        return address

    return BeforeValidator(parse)


def _check_mac(mac: str) -> str:
    if not re.fullmatch(_MAC, mac):
        raise ValueError(f"{shown(mac)} is no MAC address; write one such as 02:00:00:00:00:01")
    if not int(mac.replace(":", ""), 16):
        raise ValueError(f"{mac} is no NIC's address; write one such as 02:00:00:00:00:01")
    if int(mac[:2], 16) & 1:
        raise ValueError(
            f"{mac} is a group address; write one whose first byte is even, such as 02:00:00:00:00:01"
        )
    return mac.lower()


def _text_schema(*examples: str, **constraints: str) -> Any:
    return WithJsonSchema({"type": "string", **constraints, "examples": list(examples)})


AddressPrefix = Annotated[
    Prefix,
    BeforeValidator(parse_prefix),
    PlainSerializer(str, when_used="json"),
    _text_schema("10.0.0.0/24", "fd00:1::/64"),
]
UnderlayAddress = Annotated[
    Address,
    BeforeValidator(_parse_address),
    PlainSerializer(str, when_used="json"),
    _text_schema("192.0.2.1", "2001:db8::1"),
]
VmAddress4 = Annotated[IPv4Address, _parse_address_of(4, "10.0.0.4"), _text_schema("10.0.0.4", format="ipv4")]
VmAddress6 = Annotated[
    IPv6Address, _parse_address_of(6, "fd00:1::4"), _text_schema("fd00:1::4", format="ipv6")
]
MacAddress = Annotated[
    str, AfterValidator(_check_mac), _text_schema("02:00:00:00:00:01", pattern=f"^{_MAC}$")
]
