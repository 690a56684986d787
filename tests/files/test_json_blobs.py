"""Blobs that grow: whole JSON after every record, nothing of others written over."""

from __future__ import annotations

import json

import pytest

from dtls_emu.files.json_blobs import BlobFolder, BlobFolderError


def test_a_blob_is_whole_after_every_record(tmp_path):
    """Also when another process goes on with it."""
    for number in range(1, 4):
        BlobFolder(tmp_path / "logs", force=True).append("a/b/PT1H.json", b'{"n":%d}' % number)
        records = json.loads((tmp_path / "logs/a/b/PT1H.json").read_bytes())["records"]
        assert records == [{"n": each} for each in range(1, number + 1)]


def test_what_is_there_already_is_left_alone(tmp_path):
    """Unless it is meant; and never a file that is no blob."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/PT1H.json").write_text("something else, longer than a head")
    with pytest.raises(BlobFolderError, match="has something in it already"):
        BlobFolder(tmp_path / "logs")
    with pytest.raises(BlobFolderError, match="is no blob of records"):
        BlobFolder(tmp_path / "logs", force=True).append("PT1H.json", b"{}")
    assert (tmp_path / "logs/PT1H.json").read_text() == "something else, longer than a head"


def test_a_place_that_cannot_be_used_is_said_at_once(tmp_path):
    """Before anything is made."""
    (tmp_path / "file").write_text("")
    for name, said in (
        ("file", "is a file"),
        ("no/where", "No such file"),
        ("a\0b", "no file can have this name"),
    ):
        with pytest.raises(BlobFolderError) as caught:
            BlobFolder(tmp_path / name)
        assert said in str(caught.value)


def test_a_blob_is_not_written_through_a_link(tmp_path):
    """That somebody put in its place."""
    (tmp_path / "target").write_text("")
    blobs = BlobFolder(tmp_path / "logs")
    (blobs.path / "PT1H.json").symlink_to(tmp_path / "target")
    with pytest.raises(BlobFolderError):
        blobs.append("PT1H.json", b"{}")
    assert (tmp_path / "target").read_text() == ""
