"""Progress where there is no terminal."""

from dtls_emu.cli import progress as module


def test_lines_of_progress_are_few(capsys, monkeypatch):
    """At most one every few seconds; work that is over sooner prints none."""
    now = [0.0]
    monkeypatch.setattr("dtls_emu.cli.progress.time.monotonic", lambda: now[0])
    lines = module._Lines()
    for done in range(101):
        now[0] = done / 10
        lines(done, 100, f"step {done}")
    printed = capsys.readouterr().err.splitlines()
    assert printed == [" 50 %  step 50", "100 %  step 100"]
