"""Where runs are: root's on the machine, anybody else's where only he can write, whoever he is inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dtls_emu import paths
from dtls_emu.errors import RunError
from dtls_emu.paths import control_socket, control_sockets


@pytest.fixture
def as_user(monkeypatch, tmp_path):
    """Be a user by number, in a user namespace with such a map, with this runtime folder."""

    def be(user, lines="0 0 4294967295", runtime=None):
        table = tmp_path / "uid_map"
        table.write_text(f"{lines}\n")
        monkeypatch.setattr("dtls_emu.paths.os.geteuid", lambda: user)
        monkeypatch.setattr(paths, "Path", lambda path: table if path == "/proc/self/uid_map" else Path(path))
        if runtime is None:
            monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        else:
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    return be


ALONE = "         0       1000          1"
CONTAINER = "0 1000 1\n1 100000 65536"


@pytest.mark.parametrize(
    ("user", "lines", "runtime", "expected"),
    [
        (0, "0 0 4294967295", "/run/user/0", "/run/dtls-emu"),
        (0, "0 0 4294967295", None, "/run/dtls-emu"),
        (1000, "0 0 4294967295", "/run/user/1000", "/run/user/1000/dtls-emu"),
        (0, ALONE, "/run/user/1000", "/run/user/1000/dtls-emu"),
        (0, ALONE, None, "/run/dtls-emu"),
        (0, CONTAINER, "/run/card", "/run/dtls-emu"),
    ],
)
def test_who_is_root_of_a_user_namespace_alone_has_his_runs_where_the_user_has_them(
    as_user, user, lines, runtime, expected
):
    """Root of the machine, or of a container, has them where root has; sudo may have left the user's variable."""
    as_user(user, lines, runtime)
    assert paths.runs_directory() == Path(expected)


@pytest.mark.parametrize("runtime", [None, "", "relative"])
def test_without_a_runtime_folder_it_is_said_how_to_get_one(as_user, runtime):
    """A relative one is none (XDG base directory specification)."""
    as_user(1000, runtime=runtime)
    with pytest.raises(RunError, match=r"XDG_RUNTIME_DIR is not set.* log in on a console or by ssh"):
        paths.runs_directory()


def test_a_folder_that_is_anothers_or_that_others_may_write_to_is_not_used(as_user, tmp_path):
    """What is written there could be exchanged."""
    as_user(tmp_path.stat().st_uid + 1, runtime=tmp_path)
    with pytest.raises(RunError, match="is no folder of yours"):
        paths.usable_runs_directory()
    as_user(tmp_path.stat().st_uid or 1000, runtime=tmp_path)
    if tmp_path.stat().st_uid == 0:
        os.chown(tmp_path, 1000, -1)
    tmp_path.chmod(0o770)
    with pytest.raises(RunError, match=r"others may write to .*; chmod 700 it"):
        paths.usable_runs_directory()
    tmp_path.chmod(0o700)
    assert paths.usable_runs_directory() == tmp_path / "dtls-emu"


def test_a_command_is_shown_as_this_user_gives_it(as_user):
    """With sudo for root, who has given the first one so."""
    as_user(0)
    assert paths.as_given("down") == "sudo dtls-emu down"
    as_user(1000)
    assert paths.as_given("down") == "dtls-emu down"


def test_control_sockets_are_found_by_run(monkeypatch, tmp_path):
    """Of one, or of all, in order."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for run, host in (("one", "h2"), ("one", "h1"), ("two", "h1")):
        path = control_socket(run, host)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        (path.parent / "state.json").touch()
    assert control_sockets("one") == [control_socket("one", "h1"), control_socket("one", "h2")]
    assert len(control_sockets()) == 3
    assert control_sockets("none") == []
    (tmp_path / "dtls-emu" / "one" / "h3.sock").symlink_to("h1.sock")
    (tmp_path / "dtls-emu" / "three").symlink_to("one")
    assert len(control_sockets()) == 3
    for elsewhere in ("three", "..", ".", "/", "../dtls-emu/one", "o*"):
        assert control_sockets(elsewhere) == []
