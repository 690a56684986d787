"""Which addresses are public: where the default routes lead to the internet."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from dtls_emu.lab.prefixes import PrefixSet


if TYPE_CHECKING:
    from dtls_emu.lab.prefixes import Address


__all__ = ["is_internet"]


def is_internet(address: Address) -> bool:
    """True when the default routes send an address to the internet, unless a private route takes it first.

    Source: "Virtual network traffic routing", default system routes: all of IPv4 but 10/8, 172.16/12,
    192.168/16 and 100.64/10. IPv6 likewise: global unicast only (RFC 4291 2.4).
    """
    return address not in _NOT_INTERNET_4 if address.version == 4 else address in _INTERNET_6


_NOT_INTERNET_4: Final = PrefixSet(
    IPv4Network(prefix)
    for prefix in (
        "0.0.0.0/8",  # this network, RFC 1122
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
)
_INTERNET_6: Final = IPv6Network("2000::/3")
