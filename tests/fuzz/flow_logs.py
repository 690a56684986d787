"""Flow logs, and what collectors wrap around them: whatever is in them, every line is counted or refused."""

from __future__ import annotations

import json
from contextlib import suppress

from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.reading import read_records
from dtls_emu.flow_logs.scenarios import emit_scenario
from dtls_emu.flow_logs.tally import Tally


PIECE = 97


def run(data: bytes) -> None:
    """Read a stream in pieces, with room for few groups."""
    tally = Tally(most_groups=8)
    with suppress(FlowLogError):
        for record in read_records(data[at : at + PIECE] for at in range(0, len(data), PIECE)):
            tally.add(record)
        tally.flush()
        counted = sum(each.lines for each in tally.groups())
        assert counted + tally.unreadable == tally.lines


def seeds():
    """Records of the scenario with every status: as blobs, one a line, as text in other events, one event a tuple."""
    records = [each.content for each in emit_scenario("all-codes")]
    flat = json.loads(records[0])
    acl = flat.pop("flowRecords")["flows"][0]
    flat |= {"aclID": acl["aclID"], "rule": "r", "flowTuple": acl["flowGroups"][0]["flowTuples"][0]}
    wrapped = [json.dumps({"message": each.decode()}).encode() for each in records]
    return [
        *(b'{"records":[' + each + b"]}" for each in records),
        b"\n".join(records),
        b"[" + b",".join(wrapped[:3]) + b"]",
        json.dumps({"_raw": json.dumps(flat)}).encode(),
    ]
