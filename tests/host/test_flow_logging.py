"""Flow logs of a running host: written minute by minute, whoever else listens; a full disk stops no packet."""

from __future__ import annotations

import json
import time
from typing import Any

from dtls_emu.events import Direction, FlowContinued, FlowEnded, FlowId, FlowStarted
from dtls_emu.host.flow_logging import FlowLogging, Watching
from dtls_emu.lab import compile_lab, load_lab
from dtls_emu.vocabulary import FlowEncryption, Verdict


FLOW = FlowId(5001, 6, "10.0.0.4", "10.0.0.5", 40_000, 443)
ABOUT = "vm-a", Direction.EGRESS, FLOW, 16, Verdict.ENCRYPT, FlowEncryption.X


def logging_in(folder):
    return FlowLogging(compile_lab(load_lab("two-vms")), folder)


def lines_below(folder):
    return [
        line
        for path in sorted(folder.rglob("PT1H.json"))
        for record in json.loads(path.read_bytes())["records"]
        for acl in record["flowRecords"]["flows"]
        for group in acl["flowGroups"]
        for line in group["flowTuples"]
    ]


def test_a_minute_is_written_when_it_is_over_and_the_rest_at_the_end(tmp_path):
    """With times of the calendar, from those of the host's own clock."""
    log = logging_in(tmp_path / "logs")
    now = time.monotonic()
    log(FlowStarted(now, "host-1", 0, 0, *ABOUT))
    log.serve(now)
    assert lines_below(tmp_path) == []
    log.serve(now + 61)
    (line,) = lines_below(tmp_path)
    assert abs(int(line.split(",")[0]) / 1000 - time.time()) < 60
    log(FlowEnded(now + 62, "host-1", *ABOUT, 3, 300, 2, 200))
    log.close()
    log.close()
    assert lines_below(tmp_path)[-1].endswith(",40000,443,6,O,E,X,3,300,2,200")


def test_a_folder_that_cannot_be_written_to_loses_records_and_nothing_else(tmp_path, caplog):
    """And says so."""
    log = logging_in(tmp_path / "logs")
    log(FlowStarted(time.monotonic(), "host-1", 0, 0, *ABOUT))
    (tmp_path / "logs/insights-logs-flowlogflowevent").rmdir()
    (tmp_path / "logs/insights-logs-flowlogflowevent").write_text("")
    log.close()
    assert "a record of flow logs is lost" in caplog.text


class Server:
    """Those who listen."""

    wants_bytes = True

    def __init__(self):
        self.told = []

    def __call__(self, event):
        self.told.append(event)


def test_who_comes_late_is_told_that_a_flow_has_started(tmp_path):
    """Before anything else of it; the log goes on as if nobody had come."""
    log = logging_in(tmp_path / "logs")
    somebody: list[bool] = []
    watching = Watching(log, somebody.append)
    now = time.monotonic()
    watching(FlowStarted(now, "host-1", 0, 0, *ABOUT))
    assert not watching.wants_bytes
    server: Any = Server()
    watching.listen(server)
    assert watching.wants_bytes
    watching(FlowContinued(now + 1, "host-1", *ABOUT, 1, 100, 0, 0))
    watching(FlowContinued(now + 2, "host-1", *ABOUT, 2, 200, 0, 0))
    watching.listen(None)
    watching(FlowEnded(now + 3, "host-1", *ABOUT, 3, 300, 0, 0))
    assert [type(each) for each in server.told] == [FlowStarted, FlowContinued, FlowContinued]
    assert somebody == [True, False]
    log.close()
    assert [line.split(",")[7:11] for line in lines_below(tmp_path)] == [
        ["B", "X", "0", "0"],
        ["E", "X", "3", "300"],
    ]
