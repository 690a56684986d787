"""Runs and their sockets are where only their owner can read, and are found there."""

from __future__ import annotations

from pathlib import Path

from dtls_emu.paths import control_socket, control_sockets, runs_directory


def test_runs_are_in_run_for_root_and_in_the_users_own_folder_else(monkeypatch):
    """Where only their owner can read."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert control_socket("demo", "h1") == Path("/run/dtls-emu/demo/h1.sock")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert runs_directory() == Path("/run/user/1000/dtls-emu")


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
