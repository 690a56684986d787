"""The vendor's language for what a flow log is to have, applied to tuples that are read.

``Direction=Inbound && DstPort=22,8080-8090 || Encryption=NX_ALL`` ("Virtual network flow logs filtering"): fields, ``=``
and ``!=``, values separated by commas, ``&&`` before ``||``, no brackets, case does not matter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.vocabulary import FlowEncryption


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Predicate = Callable[[Sequence[str]], bool]
    """Whether the 13 fields of a tuple, as text, are wanted."""


__all__ = ["ANY_CLEAR", "MAX_FILTER", "Filter", "FilterError", "parse_filter"]

MAX_FILTER: Final = 1000
"""Characters: the vendor's limit."""

ANY_CLEAR: Final = "NX_ALL"
"""Not encrypted for any reason; of filters only, never of a log."""

_CONDITION: Final = re.compile(r"\s*([A-Za-z]+)\s*(!=|=)\s*([^=!]*?)\s*\Z")
_PROTOCOLS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "esp": 50, "ah": 51, "icmpv6": 58}
_DIRECTIONS: Final = {"inbound": "I", "outbound": "O", "i": "I", "o": "O"}
_ACTIONS: Final = {"allow": "BCE", "deny": "D"}
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?\Z", re.ASCII)
_OF_SINGLE_TUPLES: Final = ("srcport", "action")
_ADDRESSES_KEPT: Final = 1 << 16


class FilterError(DtlsEmuError):
    """A filter cannot be read. Says which part, and what to write."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter as a function of the 13 fields of a tuple, as text.

    Fields:
        holds: it.
        is_of_groups: it asks for nothing but what all tuples of a group have in common.
    """

    holds: Predicate
    is_of_groups: bool

    def __call__(self, fields: Sequence[str]) -> bool:
        """Whether the tuple is wanted."""
        return self.holds(fields)


def parse_filter(text: str) -> Filter:
    """Read a filter.

    Raises:
        FilterError: it cannot be read.
    """
    if len(text) > MAX_FILTER:
        raise FilterError(f"a filter of {len(text)} characters; the vendor takes {MAX_FILTER}")
    if "(" in text or ")" in text:
        raise FilterError("a filter has no brackets: `&&` comes before `||`, and both from left to right")
    ways = [[_condition(each) for each in part.split("&&")] for part in text.split("||")]
    is_of_groups = not any(each in text.lower() for each in _OF_SINGLE_TUPLES)
    return Filter(lambda fields: any(all(holds(fields) for holds in way) for way in ways), is_of_groups)


def _condition(text: str) -> Predicate:
    found = _CONDITION.match(text)
    if found is None:
        raise FilterError(f"filter: {text.strip()!r} is no condition; write one such as DstPort=22,80-90")
    name, operator, values = found.groups()
    make = _FIELDS.get(name.lower())
    if make is None:
        raise FilterError(f"filter: no field {name!r}; there are {', '.join(_NAMES)}")
    wanted = [each.strip() for each in values.split(",")]
    if not all(wanted):
        raise FilterError(f"filter: {name} lacks a value; write one such as {_NAMES[_canonical(name)]}")
    try:
        holds = make(wanted)
    except ValueError as error:
        raise FilterError(
            f"filter: {name}: {error}; write values such as {_NAMES[_canonical(name)]}"
        ) from None
    if operator == "!=":
        return lambda fields: not holds(fields)
    return holds


def _canonical(name: str) -> str:
    return next(each for each in _NAMES if each.lower() == name.lower())


def _one_of(index: int, words: dict[str, str]) -> Callable[[list[str]], Predicate]:
    def make(values: list[str]) -> Predicate:
        unknown = [each for each in values if each.lower() not in words]
        if unknown:
            raise ValueError(f"no value {unknown[0]!r}")
        wanted = "".join(words[each.lower()] for each in values)
        return lambda fields: fields[index] in wanted

    return make


def _address(index: int) -> Callable[[list[str]], Predicate]:
    def make(values: list[str]) -> Predicate:
        networks = [ip_network(each, strict=False) for each in values]

        @lru_cache(_ADDRESSES_KEPT)
        def is_inside(address: str) -> bool:
            try:
                parsed = ip_address(address)
            except ValueError:
                return False
            return any(parsed in network for network in networks)

        return lambda fields: is_inside(fields[index])

    return make


def _port(index: int) -> Callable[[list[str]], Predicate]:
    def make(values: list[str]) -> Predicate:
        ranges = [_port_range(each) for each in values]

        @lru_cache(_ADDRESSES_KEPT)
        def is_inside(port: str) -> bool:
            number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
            return any(number in each for each in ranges)

        return lambda fields: is_inside(fields[index])

    return make


def _port_range(text: str) -> range:
    found = _PORT.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no port and no range of ports")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last or last > 0xFFFF:
        raise ValueError(f"{text!r} is no range of ports")
    return range(first, last + 1)


def _protocol(values: list[str]) -> Predicate:
    wanted = set()
    for each in values:
        number = _PROTOCOLS.get(each.lower(), each)
        if not (str(number).isdecimal() and str(number).isascii() and int(number) < 256):
            raise ValueError(f"no protocol {each!r}")
        wanted.add(str(int(number)))
    return lambda fields: fields[5] in wanted


def _encryption(values: list[str]) -> Predicate:
    codes = {each.value for each in FlowEncryption}
    wanted: set[str] = set()
    for each in values:
        code = each.upper()
        if code == ANY_CLEAR:
            wanted |= codes - {FlowEncryption.X.value}
        elif code in codes:
            wanted.add(code)
        else:
            raise ValueError(f"no status {each!r}")
    takes_all = any(each.upper() == ANY_CLEAR for each in values)
    return lambda fields: fields[8] in wanted or (takes_all and fields[8] not in codes)


_FIELDS: Final[dict[str, Callable[[list[str]], Predicate]]] = {
    "direction": _one_of(6, _DIRECTIONS),
    "srcip": _address(1),
    "srcport": _port(3),
    "dstip": _address(2),
    "dstport": _port(4),
    "protocol": _protocol,
    "encryption": _encryption,
    "action": _one_of(7, _ACTIONS),
}

_NAMES: Final = {
    "Direction": "Inbound,Outbound",
    "SrcIP": "10.0.0.4,10.1.0.0/16",
    "SrcPort": "1024-65535",
    "DstIP": "10.0.0.4,10.1.0.0/16",
    "DstPort": "22,8080-8090",
    "Protocol": "TCP,UDP,1",
    "Encryption": "X,NX_FALLBACK,NX_ALL",
    "Action": "Allow,Deny",
}
"""Fields as they are written, and values of them."""
