"""A file that somebody names is read when it is a regular one of a sensible size; nothing else is, or blocks."""

import errno
import os
import socket

import pytest

from dtls_emu.files import reading as files
from dtls_emu.files.reading import read_file


def refusal(path, limit=100, **options):
    with pytest.raises(OSError) as caught:
        read_file(path, limit, **options)
    return caught.value


def test_a_regular_file_is_read_as_a_whole(tmp_path):
    """Up to the limit, and through symlinks."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    (tmp_path / "link").symlink_to(path)
    assert read_file(tmp_path / "link", 100) == bytes(range(100))
    path.write_bytes(b"")
    assert read_file(str(path), 100) == b""


def test_a_symbolic_link_is_followed_only_where_that_is_meant(tmp_path):
    """A cluster mounts files as links; in the folder of a run there is none."""
    (tmp_path / "file").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to("file")
    assert read_file(link, 1) == b"x"
    assert refusal(link, follow=False).strerror == "is a symbolic link, not a regular file"


def test_a_file_over_the_limit_is_not_read(tmp_path, monkeypatch):
    """By what it claims: a sparse file of a terabyte costs nothing."""
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, 1 << 40)
    monkeypatch.setattr("dtls_emu.files.reading.os.open", pytest.fail)
    error = refusal(path, 1 << 20)
    assert (error.errno, error.strerror) == (
        errno.EFBIG,
        "is larger than 1 MiB, the most that is read of such a file",
    )


def test_a_file_that_grows_is_not_read_past_the_limit(tmp_path, monkeypatch):
    """A size that was true a moment ago, as that of every file in /proc is 0."""
    path = tmp_path / "file"
    path.write_bytes(bytes(101))
    monkeypatch.setattr(files, "_check", lambda *_, **__: None)
    assert refusal(path).errno == errno.EFBIG
    path.write_bytes(bytes(100))
    assert read_file(path, 100) == bytes(100)


def test_what_is_no_regular_file_is_not_opened(tmp_path, monkeypatch):
    """A device may act on being opened, and a FIFO would be waited for."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/dev/zero")
    monkeypatch.setattr("dtls_emu.files.reading.os.open", pytest.fail)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        reasons = {
            path: refusal(path).strerror
            for path in ("/dev/zero", tmp_path / "link", tmp_path / "fifo", tmp_path / "socket", tmp_path)
        }
    assert list(reasons.values()) == [
        "is a device, not a regular file",
        "is a device, not a regular file",
        "is a FIFO, not a regular file",
        "is a socket, not a regular file",
        "is a folder, not a regular file",
    ]


def test_what_takes_a_files_place_while_it_is_looked_at_is_not_read(tmp_path, monkeypatch):
    """What is open is what counts; and opening a FIFO that nobody writes to does not wait."""
    path = tmp_path / "file"
    path.write_bytes(b"fine")
    before = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr("dtls_emu.files.reading.Path.stat", lambda _path, **_: before)
    assert refusal(path).strerror == "is a FIFO, not a regular file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601])
def test_a_private_file_is_the_owners_alone(tmp_path, mode):
    """What it holds is not read when others may have."""
    path = tmp_path / "key"
    path.write_bytes(b"secret")
    path.chmod(mode)
    assert refusal(path, private=True).strerror == f"has mode {mode:04o}, so others may use it; chmod 600 it"
    assert read_file(path, 100) == b"secret"
    path.chmod(0o600)
    assert read_file(path, 100, private=True) == b"secret"


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_no_file_can_have_is_said(name):
    """Not a ValueError out of the system call."""
    assert refusal(name).strerror == "no file can have this name"
