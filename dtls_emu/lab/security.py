"""Security groups and an administrator's rules, as pydantic models."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field, PlainSerializer, PlainValidator, WithJsonSchema

from dtls_emu.lab.addresses import parse_prefix
from dtls_emu.lab.model import LabModel, Name, Whole
from dtls_emu.lab.prefixes import Prefix
from dtls_emu.lab.problems import shown
from dtls_emu.lab.rules import Access, Ports, Where


__all__ = ["AdminRule", "Protocol", "SecurityGroup", "SecurityRule"]

_MAX_PORT: Final = 65_535
_MAX_ENTRIES: Final = 4000
"""Prefixes or ports of one rule ("Azure networking limits")."""


def _parse_end(value: object) -> tuple[Prefix, ...] | Where:
    if isinstance(value, str):
        tag = next((each for each in Where if each.lower() == value.lower()), None)
        if tag is not None:
            return tag
        if value == "*":
            return Where.ANY
        return (parse_prefix(value),)
    if isinstance(value, list | tuple) and 0 < len(value) <= _MAX_ENTRIES:
        return tuple(each if not isinstance(each, str) else parse_prefix(each) for each in value)
    raise ValueError(
        f"{shown(value)} is no end of a rule; write Any, VirtualNetwork, Internet, a prefix such as 10.0.0.0/24, or a "
        "list of prefixes"
    )


def _parse_ports(value: object) -> Ports:
    if isinstance(value, str) and value.lower() in {"*", "any"}:
        return ()
    if isinstance(value, list | tuple) and 0 < len(value) <= _MAX_ENTRIES:
        return tuple(pair for each in value for pair in _ranges(each))
    return tuple(_ranges(value))


def _ranges(value: object) -> Iterator[tuple[int, int]]:
    if isinstance(value, tuple) and len(value) == 2:
        yield value
        return
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", str(value)) if type(value) in {int, str} else None
    low = int(found[1]) if found else -1
    high = int(found[2] or found[1]) if found else -1
    if not 0 <= low <= high <= _MAX_PORT:
        raise ValueError(
            f"{shown(value)} is no port; write one such as 443, a range such as 8000-8099, or a list of them"
        )
    yield low, high


def _write_end(value: tuple[Prefix, ...] | Where) -> str | list[str]:
    return str(value) if isinstance(value, Where) else [str(each) for each in value]


def _write_ports(value: Ports) -> str | list[str]:
    return [f"{low}-{high}" for low, high in value] or "Any"


_TEXTS: Final = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_NUMBERS: Final = {
    "anyOf": [
        {"type": ["string", "integer"]},
        {"type": "array", "items": {"type": ["string", "integer"]}},
    ]
}
End = Annotated[
    tuple[Prefix, ...] | Where,
    PlainValidator(_parse_end),
    PlainSerializer(_write_end, when_used="json"),
    WithJsonSchema(_TEXTS),
]
PortRanges = Annotated[
    Ports,
    PlainValidator(_parse_ports),
    PlainSerializer(_write_ports, when_used="json"),
    WithJsonSchema(_NUMBERS),
]
Protocol = Literal["Any", "Tcp", "Udp", "Icmp", "Esp", "Ah"]


class _Matched(LabModel):
    direction: Literal["Inbound", "Outbound"] = Field(
        description="Whether it is about what VMs get, or about what they send."
    )
    protocol: Protocol = Field(default="Any", description="Transport protocol. Default Any.")
    source: End = Field(
        default=Where.ANY,
        description="Where packets come from: `Any`, `VirtualNetwork` (all that has a private route), `Internet`, a prefix "
        "or a list of prefixes. Default Any.",
    )
    destination: End = Field(
        default=Where.ANY, description="Where they go to, written as `source`. Default Any."
    )
    source_ports: PortRanges = Field(
        default=(), description="A port, a range such as 8000-8099, or a list. Default Any."
    )
    destination_ports: PortRanges = Field(default=(), description="As `source_ports`. Default Any.")


class SecurityRule(_Matched):
    """A rule of a security group. Connections that it allows are allowed both ways."""

    priority: Whole = Field(
        ge=100, le=4096, description="Lower ones come first; unique in a direction of its group."
    )
    access: Literal[Access.ALLOW, Access.DENY] = Field(description="What happens to what it matches.")


class SecurityGroup(LabModel):
    """A network security group; the vendor's default rules stand behind its own."""

    rules: dict[Name, SecurityRule] = Field(
        default_factory=dict,
        description="Rules by name.",
        json_schema_extra={"additionalProperties": False},
    )


class AdminRule(_Matched):
    """An administrator's rule of a network manager, asked before security groups."""

    groups: tuple[Name, ...] = Field(min_length=1, description="Names of the network groups that it is for.")
    priority: Whole = Field(ge=1, le=4096, description="Lower ones come first.")
    access: Access = Field(
        description="`Allow`: the security group decides; `AlwaysAllow` and `Deny` are final."
    )
