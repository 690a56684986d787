"""Results get where they are to go, or are kept; what is not to be touched is not touched."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dtls_emu.files.results import SECRET, ResultFile, ResultFileError


NEW = b"new\n"


def names_in(folder):
    return sorted(each.name for each in folder.iterdir())


# ------------------------------------------------------------------------------------------- before the work


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "it is a folder; name a file"),
        ("missing/x.json", "there is no folder"),
        ("file/x.json", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("loop", "Too many levels of symbolic links"),
        ("file", "is there already; --force writes over it"),
        ("link-to-file", "is there already; --force writes over it"),
        ("socket", "it is a socket"),
    ],
)
def test_a_place_that_takes_no_result_is_refused_before_the_work(tmp_path, name, message):
    """With the reason, and nothing is made or changed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old\n")
    (tmp_path / "link-to-file").symlink_to(tmp_path / "file")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o600)
    before = names_in(tmp_path)
    with pytest.raises(ResultFileError, match=message):
        ResultFile(tmp_path / name)
    assert names_in(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == b"old\n"


def test_a_name_that_ends_as_a_folder_does_is_no_file(tmp_path):
    """A shell completes folders that way."""
    with pytest.raises(ResultFileError, match="names a folder"):
        ResultFile(f"{tmp_path}/results/")


@pytest.mark.root
def test_a_read_only_file_system_is_found_before_the_work(tmp_path):
    """Even by root, whom permissions do not stop."""
    script = f"mount -t tmpfs -o ro tmpfs {tmp_path} && exec {sys.executable} -c '{TRY}' {tmp_path}/x.json"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cannot write {tmp_path}/x.json: Read-only file system\n"


TRY = """
import sys
from dtls_emu.files.results import ResultFile, ResultFileError
try:
    ResultFile(sys.argv[1])
except ResultFileError as error:
    print(error)
"""


def test_a_trial_leaves_nothing(tmp_path):
    """Only the folders, where they are asked for."""
    ResultFile(tmp_path / "x.json")
    assert names_in(tmp_path) == []
    ResultFile(tmp_path / "a" / "b" / "x.json", make_folders=True)
    assert names_in(tmp_path / "a" / "b") == []


# --------------------------------------------------------------------------------------------- regular files


def test_a_new_file_has_the_usual_mode_and_a_secret_one_its_owners(tmp_path):
    """Under the process's mask; nothing is left beside them."""
    before = os.umask(0o027)
    try:
        assert ResultFile(tmp_path / "x.json").write(NEW) == tmp_path / "x.json"
        ResultFile(tmp_path / "keys.log", mode=SECRET).write(NEW)
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {"x.json": 0o640, "keys.log": 0o600}


@pytest.mark.root
def test_a_file_that_is_replaced_keeps_its_mode_and_owner(tmp_path):
    """And is replaced as a whole: who has it open goes on reading the old one."""
    path = tmp_path / "x.json"
    path.write_bytes(b"old\n")
    path.chmod(0o660)
    os.chown(path, 12345, 54321)
    with path.open("rb") as reader:
        ResultFile(path, force=True).write(NEW)
        assert reader.read() == b"old\n"
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 54321, 0o660)
    assert path.read_bytes() == NEW
    assert names_in(tmp_path) == ["x.json"]


def test_secrets_written_over_a_file_for_all_are_for_their_owner_only(tmp_path):
    """The mode that was there may not widen it."""
    path = tmp_path / "keys.log"
    path.write_bytes(b"old\n")
    path.chmod(0o644)
    ResultFile(path, force=True, mode=SECRET).write(NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("target", ["there", "to-be-made"])
def test_a_symbolic_link_is_followed(tmp_path, target):
    """It stays one."""
    (tmp_path / "there").write_bytes(b"old\n")
    link = tmp_path / "link"
    link.symlink_to(target)
    ResultFile(link, force=True).write(NEW)
    assert link.is_symlink()
    assert (tmp_path / target).read_bytes() == NEW


def test_another_name_of_the_file_sees_the_result_as_well(tmp_path):
    """A hard link is not broken."""
    (tmp_path / "one").write_bytes(b"old and longer\n")
    (tmp_path / "two").hardlink_to(tmp_path / "one")
    ResultFile(tmp_path / "one", force=True).write(NEW)
    assert (tmp_path / "two").read_bytes() == NEW


def test_what_has_come_since_the_trial_is_not_written_over(tmp_path):
    """Two runs that were told the same name: the second one's result is kept elsewhere."""
    first, second = ResultFile(tmp_path / "x.json"), ResultFile(tmp_path / "x.json")
    first.write(NEW)
    saved = second.save(b"second\n")
    assert (tmp_path / "x.json").read_bytes() == NEW
    assert saved.path is not None
    assert saved.path.read_bytes() == b"second\n"
    assert "somebody has made it meanwhile" in saved.trouble
    saved.path.unlink()


def test_names_by_the_time_never_collide(tmp_path):
    """Runs of the same second are numbered, whoever is there first."""
    files = [ResultFile(tmp_path / "r" / "b.json", make_folders=True, avoid_others=True) for _ in range(3)]
    written = [each.write(str(number).encode()).name for number, each in enumerate(files)]
    assert written == ["b.json", "b-2.json", "b-3.json"]
    assert [(tmp_path / "r" / name).read_bytes() for name in written] == [b"0", b"1", b"2"]
    assert ResultFile(tmp_path / "r" / "b.json", avoid_others=True).write(NEW).name == "b-4.json"


def test_two_places_that_are_one_file_are_told(tmp_path):
    """Whatever leads there."""
    (tmp_path / "link").symlink_to("x")
    one = ResultFile(tmp_path / "x")
    assert one.is_same_as(ResultFile(tmp_path / "link"))
    assert not one.is_same_as(ResultFile(tmp_path / "y"))
    assert not ResultFile("/dev/null").is_same_as(ResultFile("/dev/null"))


# -------------------------------------------------------------------------------------- what is no regular file


def test_a_device_is_written_to_and_stays_one():
    """As root, replacing /dev/null would break the machine."""
    before = Path("/dev/null").stat()
    file = ResultFile("/dev/null")
    assert not file.is_regular
    assert file.save(NEW).trouble == ""
    assert os.path.samestat(before, Path("/dev/null").stat())


def test_a_fifo_gets_the_result(tmp_path):
    """More than it holds at once."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    content, got = random.Random(1).randbytes(1 << 20), []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    ResultFile(fifo).write(content)
    reader.join()
    assert got == [content]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


WRITE = """
import sys
from dtls_emu.files.results import ResultFile
file = ResultFile(sys.argv[1])
print("before", flush=True)
file.write(b"the result\\n")
print("after", flush=True)
"""


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_gets_the_result_in_its_turn(name):
    """A pipe here."""
    done = subprocess.run([sys.executable, "-c", WRITE, name], capture_output=True, text=True, check=True)
    assert done.stdout == "before\nthe result\nafter\n"


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "out"])
def test_standard_output_that_is_a_file_is_not_replaced(tmp_path, name):
    """What is printed before and after would be lost."""
    with (tmp_path / "out").open("wb") as stream:
        subprocess.run([sys.executable, "-c", WRITE, name], stdout=stream, check=True, cwd=tmp_path)
    assert (tmp_path / "out").read_text() == "before\nthe result\nafter\n"


# ------------------------------------------------------------------------------------------ after the work


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("dtls_emu.files.results.tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_what_the_disk_does_not_take_is_kept_in_the_temporary_folder(
    tmp_path, temporary, monkeypatch, number
):
    """And what was there stays; errors of a disk come when it has to take the file."""
    path = tmp_path / "x.json"
    path.write_bytes(b"old\n")
    file = ResultFile(path, force=True)
    calls = []

    def fsync(_descriptor):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dtls_emu.files.results.os.fsync", fsync)
    saved = file.save(NEW)
    (kept,) = temporary.iterdir()
    assert (saved.path, kept.read_bytes(), stat.S_IMODE(kept.stat().st_mode)) == (kept, NEW, 0o600)
    assert saved.trouble == f"cannot write {path}: {os.strerror(number)}; it is kept in {kept}"
    assert path.read_bytes() == b"old\n"
    assert names_in(tmp_path) == ["temporary", "x.json"]


def test_where_nothing_can_be_kept_it_is_said(tmp_path, monkeypatch):
    """Without an exception: a table is still to be printed."""
    file = ResultFile("/dev/full")
    monkeypatch.setattr("dtls_emu.files.results.tempfile.tempdir", str(tmp_path / "gone"))
    saved = file.save(NEW)
    assert saved.path is None
    assert saved.trouble.startswith("cannot write /dev/full: No space left on device; nor can it be kept")


def test_a_result_that_grows_is_there_as_far_as_it_was_flushed(tmp_path):
    """With its mode, and under its name from the start; a file that is there is refused, or written over with its mode."""
    path = tmp_path / "growing"
    with ResultFile(path, mode=SECRET).begin() as file:
        file.write(b"one")
        file.flush()
        assert path.read_bytes() == b"one"
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ResultFileError, match="--force"):
            ResultFile(path)
    path.chmod(0o640)
    with ResultFile(path, force=True, mode=SECRET).begin() as file:
        file.write(b"2")
    assert path.read_bytes() == b"2"
    assert path.stat().st_mode & 0o777 == 0o600
    late = ResultFile(tmp_path / "late")
    (tmp_path / "late").touch()
    with pytest.raises(ResultFileError, match="meanwhile"):
        late.begin()
