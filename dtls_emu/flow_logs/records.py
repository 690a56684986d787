"""A record of a flow log: what one interface saw in one minute; and what collectors make of it.

The types are those that a file is decoded into, checked on the way; keys that are not named are left out. What is read is
not trusted beyond that: tuples are bytes of JSON until :mod:`dtls_emu.flow_logs.tally` takes them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from dtls_emu.flow_logs.errors import FlowLogError


__all__ = [
    "CATEGORY",
    "UNSPECIFIED",
    "VERSION",
    "Acl",
    "FlowRecords",
    "Record",
    "RuleGroup",
    "encode_tuples",
    "parse_record",
]

VERSION: Final = 4
CATEGORY: Final = "FlowLogFlowEvent"

UNSPECIFIED: Final = "unspecified"
"""Rule and ACL of what was denied because of encryption."""

MAX_WRAPPED: Final = 4
"""Records as text inside of others, one in the other."""

_NSG_CATEGORY: Final = "networksecuritygroupflowevent"


NO_TUPLES: Final = msgspec.Raw(b"[]")


class RuleGroup(msgspec.Struct):
    """Tuples of flows that one rule let pass or denied: an array of texts as it stands in JSON."""

    rule: str = ""
    tuples: msgspec.Raw = msgspec.field(name="flowTuples", default_factory=lambda: NO_TUPLES)


class Acl(msgspec.Struct):
    """Rules of one list: a network security group's, or a network manager's."""

    id: str = msgspec.field(name="aclID", default="")
    groups: list[RuleGroup] = msgspec.field(name="flowGroups", default_factory=list)


class FlowRecords(msgspec.Struct):
    """Tuples by list and rule. One list may stand there twice."""

    flows: list[Acl] = msgspec.field(default_factory=list)


class Record(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One record, in the order of the vendor's documents.

    Fields:
        time: when it was written, not when the flows were.
        version: of the format.
        guid: of the flow log resource.
        mac: of the interface, 12 hexadecimal digits.
        category, operation: always ``FlowLogFlowEvent``.
        resource: the flow log; in capitals.
        target: the virtual network, subnet or interface that is logged.
        content: the tuples.
    """

    time: str | int | float = ""
    version: int | str | None = msgspec.field(name="flowLogVersion", default=None)
    guid: str = msgspec.field(name="flowLogGUID", default="")
    mac: str = msgspec.field(name="macAddress", default="")
    category: str = ""
    resource: str = msgspec.field(name="flowLogResourceID", default="")
    target: str = msgspec.field(name="targetResourceID", default="")
    operation: str = msgspec.field(name="operationName", default="")
    content: FlowRecords | None = msgspec.field(name="flowRecords", default=None)


class _Found(Record):
    """What may be a record, or something around one.

    Fields:
        flat_tuple, flat_acl, flat_rule: of a collector that makes an event of each tuple.
        wrapped, raw, message, event: of collectors that keep the record as text.
        properties: of the older logs of security groups.
    """

    flat_tuple: str | None = msgspec.field(name="flowTuple", default=None)
    flat_acl: str = msgspec.field(name="aclID", default="")
    flat_rule: str = msgspec.field(name="rule", default="")
    wrapped: Any = msgspec.field(name="__raw", default=None)
    raw: Any = msgspec.field(name="_raw", default=None)
    message: Any = None
    event: Any = None
    body: Any = None
    properties: Any = None


_decode: Final = msgspec.json.Decoder(_Found).decode


def parse_record(value: bytes | str) -> Record:
    """The record of one JSON object, whatever a collector has wrapped around it.

    Raises:
        FlowLogError: it is no record of version 4. Says what it is instead, where that is known.
    """
    for _ in range(MAX_WRAPPED):
        try:
            found = _decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FlowLogError(f"no record of a flow log: {str(error)[:200]}") from None
        if found.flat_tuple is not None and found.content is None and found.wrapped is None:
            group = RuleGroup(found.flat_rule, encode_tuples([found.flat_tuple]))
            found.content = FlowRecords([Acl(found.flat_acl, [group])])
        if found.content is not None:
            _check_version(found)
            return found
        inside = next((text for each in _texts(found) if (text := _as_json(each))), "")
        if not inside:
            break
        value = inside
    raise _nothing_of_ours(found)


def encode_tuples(lines: list[str]) -> msgspec.Raw:
    """Lines as a group has them."""
    return msgspec.Raw(msgspec.json.encode(lines))


def _texts(found: _Found) -> tuple[Any, ...]:
    """Where collectors put the record: the untouched one first."""
    event = found.event
    original = event.get("original", event) if isinstance(event, dict) else event
    return found.wrapped, found.raw, found.message, original, found.body


def _as_json(value: Any) -> str:
    """A record as text; "" for what is none."""
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return value if isinstance(value, str) and value.lstrip().startswith("{") else ""


def _check_version(found: _Found) -> None:
    if found.version in {VERSION, str(VERSION)}:
        return
    if found.version is None:
        raise FlowLogError(
            "a record without `flowLogVersion`; this reads version 4 of virtual network flow logs"
        )
    raise FlowLogError(
        f"flow log version {str(found.version)[:20]}; this reads version 4 of virtual network flow logs"
    )


def _nothing_of_ours(found: _Found) -> FlowLogError:
    if found.category.lower() == _NSG_CATEGORY or isinstance(found.properties, dict):
        inside = found.properties if isinstance(found.properties, dict) else {}
        version = str(inside.get("Version", "of an unknown version"))[:20]
        return FlowLogError(
            f"a flow log of network security groups ({version}), which says nothing of encryption; "
            "this reads version 4 of virtual network flow logs"
        )
    return FlowLogError("an object without `flowRecords`; this reads version 4 of virtual network flow logs")
