"""Files and folders of flow logs: what is read, and how what is wrong is said."""

from __future__ import annotations

import os

import pytest

from dtls_emu.audit.sources import add_logs
from dtls_emu.files.json_blobs import BlobFolder
from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.scenarios import emit_scenario
from dtls_emu.flow_logs.tally import Tally


@pytest.fixture
def folder(tmp_path):
    """Of the scenario with every status."""
    blobs = BlobFolder(tmp_path / "logs")
    for entry in emit_scenario("all-codes"):
        blobs.append(entry.path, entry.content)
    return blobs.path


def test_a_folder_is_read_as_a_whole(folder):
    """Whatever is in it besides, and not through links that lead elsewhere."""
    (folder / "notes.txt").write_text("none of ours")
    (folder / "loop.json").symlink_to(folder)
    tally = Tally()
    assert add_logs(folder, tally) == 5
    assert (tally.records, tally.unreadable) == (12, 0)


def test_one_file_is_read_whatever_its_name(folder, tmp_path):
    """And progress is told in kilobytes."""
    blob = next(folder.rglob("PT1H.json"))
    copy = tmp_path / "download"
    copy.write_bytes(blob.read_bytes())
    told = []
    assert add_logs(copy, Tally(), lambda *step: told.append(step)) == 1
    assert told


def test_what_cannot_be_read_is_one_line(tmp_path):
    """With the file, and why."""
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.json").write_text('{"records": []}')
    (tmp_path / "cut.json").write_text('{"records": [{"a"')
    for name, said in (
        ("fifo.json", "is a FIFO, not a regular file"),
        ("missing.json", "No such file"),
        ("empty", "no file below it ends in .json"),
        ("none.json", "no record of a flow log in it"),
        ("cut.json", "byte 17: the file ends"),
        ("a\0b", "no file can have this name"),
    ):
        with pytest.raises(FlowLogError) as caught:
            add_logs(tmp_path / name, Tally())
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
