"""Files of ours are written as a whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from dtls_emu.files.writing import commit, is_folder, is_socket, replace_file, stage


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_nothing(tmp_path, name):
    """Python raises ValueError for it."""
    assert not is_folder(tmp_path / name)
    assert not is_socket(tmp_path / name)


def full_after(bytes_left):
    """A disk with room for so many bytes: the last write is short, the one after it fails."""
    write = os.write

    def limited(descriptor, data):
        nonlocal bytes_left
        if not bytes_left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = bytes(data[:bytes_left])
        bytes_left -= len(part)
        return write(descriptor, part)

    return limited


@pytest.mark.parametrize("room", [0, 1, 9])
def test_a_full_disk_leaves_the_old_file_whole_and_no_other(tmp_path, monkeypatch, room):
    """However much of the new one fitted."""
    path = tmp_path / "file"
    replace_file(path, b"old")
    monkeypatch.setattr("dtls_emu.files.writing.os.write", full_after(room))
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(path, b"0123456789")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    """The kernel may take a part of what it is given."""
    write = os.write
    monkeypatch.setattr("dtls_emu.files.writing.os.write", lambda file, data: write(file, data[:3]))
    replace_file(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_what_is_staged_again_uses_the_room_that_it_has(tmp_path):
    """The same file, cut to the new length: nothing is given back in between, so nobody else can take it."""
    new = tmp_path / "file.new"
    stage(new, bytes(1024))
    inode = new.stat().st_ino
    stage(new, b"short")
    assert new.stat().st_ino == inode
    commit(new, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"short"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_through_a_symbolic_link(tmp_path):
    """Neither where a file is staged, nor where it gets its name."""
    (tmp_path / "theirs").write_bytes(b"theirs")
    (tmp_path / "file.new").symlink_to("theirs")
    with pytest.raises(OSError, match="symbolic links"):
        stage(tmp_path / "file.new", b"x")
    (tmp_path / "file").symlink_to("theirs")
    replace_file(tmp_path / "file", b"x")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["file", "file.new"])
def test_who_has_a_file_open_does_not_read_what_replaces_it(tmp_path, name):
    """A key must not go into a file that somebody has made, with rights for all, under the name that it will have."""
    theirs = tmp_path / name
    theirs.write_bytes(b"")
    theirs.chmod(0o666)
    with theirs.open("rb") as opened:
        replace_file(tmp_path / "file", b"secret")
        assert opened.read() == b""
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_made_meanwhile_is_not_written_into(tmp_path):
    """By somebody else, between looking for one that is left over and making ours."""
    new = tmp_path / "file.new"
    new.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        stage(new, b"secret", exclusive=True)
    assert new.read_bytes() == b"theirs"
