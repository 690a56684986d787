"""Functions of address prefixes.

Source: "ARM template functions", CIDR functions.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Any

from dtls_emu.whatif.template.registry import FunctionError, function, want


if TYPE_CHECKING:
    from dtls_emu.whatif.template.limits import Budget


__all__: list[str] = []


def _prefix(value: Any) -> IPv4Network | IPv6Network:
    try:
        return ip_network(want(value, str, "a prefix"), strict=False)
    except ValueError:
        raise FunctionError("takes a prefix such as 10.0.0.0/16") from None


@function("cidrSubnet", least=3, most=3)
def _cidr_subnet(_: Budget, args: list[Any]) -> str:
    prefix, length, index = _prefix(args[0]), want(args[1], int, "a length"), want(args[2], int, "a number")
    if not prefix.prefixlen <= length <= prefix.max_prefixlen:
        raise FunctionError(f"{prefix} holds no prefix of length {length}")
    if not 0 <= index < 1 << (length - prefix.prefixlen):
        raise FunctionError(f"{prefix} holds fewer than {index + 1} prefixes of length {length}")
    start = int(prefix.network_address) + (index << (prefix.max_prefixlen - length))
    return str(type(prefix)((start, length)))


@function("cidrHost", least=2, most=2)
def _cidr_host(_: Budget, args: list[Any]) -> str:
    prefix, index = _prefix(args[0]), want(args[1], int, "a number")
    if not 0 <= index < prefix.num_addresses - 1:
        raise FunctionError(f"{prefix} holds fewer than {index + 1} hosts")
    return str(prefix[index + 1])


@function("parseCidr")
def _parse_cidr(_: Budget, args: list[Any]) -> dict[str, Any]:
    prefix = _prefix(args[0])
    last = int(prefix.network_address) + prefix.num_addresses - 1
    inside = prefix.num_addresses > 2
    return {
        "network": str(prefix.network_address),
        "netmask": str(prefix.netmask),
        "broadcast": str(prefix.broadcast_address),
        "firstUsable": str(prefix[1] if inside else prefix[0]),
        "lastUsable": str(type(prefix.network_address)(last - inside)),
        "cidr": prefix.prefixlen,
    }
