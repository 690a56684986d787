"""Files of ours are read with a bound on kind and size, and written as a whole or not at all."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from dtls_emu.host import small_files
from dtls_emu.host.small_files import commit, is_folder, is_socket, read_small, replace_file, stage


def test_a_regular_file_is_read_up_to_the_limit(tmp_path):
    """To the byte; one more is refused."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_small(path, 5) == b"12345"
    with pytest.raises(OSError, match="is larger than 4 bytes"):
        read_small(path, 4)


def test_a_file_that_claims_a_huge_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    """A sparse file of a terabyte costs nothing to make."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    fdopen = os.fdopen

    class Unreadable:
        def __init__(self, *arguments):
            self._file = fdopen(*arguments)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

        read = pytest.fail

    monkeypatch.setattr(os, "fdopen", Unreadable)
    with pytest.raises(OSError, match="is larger than"):
        read_small(path)


def test_a_file_that_says_it_is_empty_and_is_not_is_bounded_all_the_same():
    """Those of /proc do."""
    assert Path("/proc/self/status").stat().st_size == 0
    with pytest.raises(OSError, match="is larger than 8 bytes"):
        read_small(Path("/proc/self/status"), 8)
    assert read_small(Path("/proc/self/status")).startswith(b"Name:")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("fifo", "is a FIFO, not a regular file"),
        ("socket", "is a socket, not a regular file"),
        ("folder", "is a folder, not a regular file"),
        ("device", "is a device, not a regular file"),
    ],
)
def test_what_is_no_regular_file_is_not_even_opened(tmp_path, monkeypatch, kind, reason):
    """To open a FIFO waits for a writer, to open a device may set it off; a link to one is no better."""
    path = tmp_path / "thing"
    with socket.socket(socket.AF_UNIX) as listener:
        {
            "fifo": lambda: os.mkfifo(path),
            "socket": lambda: listener.bind(str(path)),
            "folder": path.mkdir,
            "device": lambda: path.symlink_to("/dev/zero"),
        }[kind]()
        link = tmp_path / "link"
        link.symlink_to(path)
        monkeypatch.setattr(os, "open", pytest.fail)
        for each in (path, link):
            with pytest.raises(OSError, match=reason) as caught:
                read_small(each)
            assert caught.value.strerror == reason
            assert caught.value.filename == str(each)


def test_a_symbolic_link_is_followed_only_where_that_is_meant(tmp_path):
    """A cluster mounts files as links; in the folder of a run there is none."""
    (tmp_path / "file").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert read_small(link) == b"x"
    with pytest.raises(OSError, match="is a symbolic link, not a regular file"):
        read_small(link, follow=False)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_an_error_like_any_other(tmp_path, name):
    """Python raises ValueError for it."""
    with pytest.raises(OSError, match="no file can have this name"):
        read_small(tmp_path / name)
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
    monkeypatch.setattr(small_files.os, "write", full_after(room))
    with pytest.raises(OSError, match="No space left on device"):
        replace_file(path, b"0123456789")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_short_writes_are_continued(tmp_path, monkeypatch):
    """The kernel may take a part of what it is given."""
    write = os.write
    monkeypatch.setattr(small_files.os, "write", lambda file, data: write(file, data[:3]))
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
        replace_file(tmp_path / "file", b"x")
    (tmp_path / "file.new").unlink()
    (tmp_path / "file").symlink_to("theirs")
    replace_file(tmp_path / "file", b"x")
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (tmp_path / "file").read_bytes() == b"x"
