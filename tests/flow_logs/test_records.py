"""Records: the vendor's, collectors' wrappers around them, and what is refused by its name."""

from __future__ import annotations

import json

import pytest

from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.reading import read_records
from dtls_emu.flow_logs.records import parse_record


LINE = "1663146003599,10.0.0.6,192.0.2.180,23956,443,6,O,B,NX,0,0,0,0"
RECORD = {
    "time": "2026-01-01T00:01:00.0000000Z",
    "flowLogGUID": "00000000-0000-0000-0000-000000000001",
    "macAddress": "7C1E00000001",
    "category": "FlowLogFlowEvent",
    "flowLogVersion": 4,
    "flowRecords": {
        "flows": [
            {"aclID": "/subscriptions/x/nsg", "flowGroups": [{"rule": "UserRule_a", "flowTuples": [LINE]}]},
            {
                "aclID": "00000000-0000-0000-0000-000000000000",
                "flowGroups": [{"rule": "PlatformRule", "flowTuples": [LINE]}],
            },
            {"aclID": "/subscriptions/x/nsg", "flowGroups": [{"rule": "UserRule_b", "flowTuples": [LINE]}]},
        ]
    },
}
FLAT = {key: value for key, value in RECORD.items() if key != "flowRecords"} | {
    "aclID": "0",
    "rule": "PlatformRule",
    "flowTuple": LINE,
}


def lines(document):
    record = parse_record(json.dumps(document))
    assert record.content is not None
    return [line for acl in record.content.flows for group in acl.groups for line in tuples(group)]


def tuples(group):
    return json.loads(bytes(group.tuples))


def test_a_list_may_stand_twice_and_the_platform_has_none():
    """As in real files."""
    assert lines(RECORD) == [LINE] * 3


@pytest.mark.parametrize(
    "wrapped",
    [
        {"message": json.dumps(RECORD)},
        {"_raw": json.dumps(RECORD), "__source": "blob"},
        {"_raw": json.dumps(FLAT), "__raw": json.dumps(RECORD)},
        {"time": 1767225660.5, "event": RECORD},
        {"event": {"original": json.dumps(RECORD)}},
        {"body": RECORD},
        {**RECORD, "flowLogVersion": "4", "extra": {"x": [1]}},
    ],
)
def test_a_collectors_wrapper_is_looked_through(wrapped):
    """Each record is counted once, also where the collector has it twice."""
    assert lines(wrapped) == [LINE] * 3


def test_one_event_for_each_tuple_is_read():
    """Of a collector that takes records apart."""
    assert lines({"_raw": json.dumps(FLAT)}) == [LINE]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**RECORD, "flowLogVersion": 5}, "flow log version 5; this reads version 4"),
        ({**RECORD, "flowLogVersion": None}, "without `flowLogVersion`"),
        (
            {"category": "NetworkSecurityGroupFlowEvent", "properties": {"Version": 2}},
            "network security groups (2)",
        ),
        ({"a": 1}, "without `flowRecords`"),
        ({"flowLogVersion": 4, "flowRecords": {"flows": 7}}, "no record of a flow log"),
        ({"message": json.dumps({"message": json.dumps({"message": "{}"})})}, "without `flowRecords`"),
    ],
)
def test_what_is_not_version_4_is_refused_by_name(document, said):
    """Never counted as something that it is not."""
    with pytest.raises(FlowLogError) as caught:
        parse_record(json.dumps(document))
    assert said in str(caught.value)


def test_an_error_names_its_byte():
    """Of the record in its stream."""
    data = json.dumps({"records": [RECORD, {"a": 1}]}).encode()
    place = data.index(b'{"a": 1}')
    with pytest.raises(FlowLogError, match=f"byte {place}: an object without"):
        list(read_records([data]))
