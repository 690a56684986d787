"""Addresses as a lab file writes them: parsed into objects, refused with what to write."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from dtls_emu.lab.problems import shown
from dtls_emu.lab.topology import Address, Prefix


__all__ = ["AddressPrefix", "MacAddress", "UnderlayAddress", "VmAddress4", "VmAddress6"]

_MAC: Final = r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"


def _parse_prefix(value: object) -> Prefix:
    if isinstance(value, str):
        try:
            loose = ip_network(value, strict=False)
        except ValueError:
            pass
        else:
            if int(ip_interface(value).ip) == int(loose.network_address):
                return loose
            raise ValueError(f"{shown(value)} has bits set behind the prefix; write {loose}")
    raise ValueError(f"{shown(value)} is no address prefix; write one such as 10.0.0.0/24")


def _parse_address(value: object) -> Address:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None or getattr(
        address, "scope_id", None
    ):  # an interface of this machine means nothing here
        raise ValueError(f"{shown(value)} is no IP address; write one such as 192.0.2.1")
    if address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is not the address of one machine; write one such as 192.0.2.1")
    return address


def _parse_address_of(version: int, example: str) -> BeforeValidator:
    def parse(value: object) -> Address:
        address = _parse_address(value)
        if address.version != version:
            raise ValueError(f"{address} is no IPv{version} address; write one such as {example}")
        return address

    return BeforeValidator(parse)


def _check_mac(mac: str) -> str:
    if not re.fullmatch(_MAC, mac):
        raise ValueError(f"{shown(mac)} is no MAC address; write one such as 02:00:00:00:00:01")
    if int(mac[:2], 16) & 1:
        raise ValueError(
            f"{mac} is a group address; write one whose first byte is even, such as 02:00:00:00:00:01"
        )
    return mac.lower()


def _text_schema(*examples: str, **constraints: str) -> Any:
    return WithJsonSchema({"type": "string", **constraints, "examples": list(examples)})


AddressPrefix = Annotated[
    Prefix,
    BeforeValidator(_parse_prefix),
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
