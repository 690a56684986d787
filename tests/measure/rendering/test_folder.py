"""The folder of a report: tried before anything is measured, complete, never written over unasked."""

import sys

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.results import ResultFileError
from dtls_emu.measure.rendering import plots
from dtls_emu.measure.rendering.folder import ReportFolder


pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib (PyPI)")


def test_everything_is_there(tmp_path, result):
    """The page, Markdown, and a file for each table; the page's path is told."""
    folder = tmp_path / "deep" / "report"
    assert ReportFolder(folder).write([result]) == folder / "report.html"
    names = {path.name for path in folder.iterdir()}
    assert {
        "report.html",
        "report.md",
        "run.csv",
        "throughput.csv",
        "fragments.csv",
        "handshake.csv",
    } <= names
    assert (folder / "report.html").read_text().endswith("</html>\n")


def test_a_report_that_is_there_stays_unless_forced(tmp_path, result):
    """And that is said before the work."""
    ReportFolder(tmp_path).write([result])
    with pytest.raises(ResultFileError, match="--force writes over it"):
        ReportFolder(tmp_path)
    ReportFolder(tmp_path, force=True).write([result])


def test_a_file_is_no_folder(tmp_path):
    """One line, at once."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultFileError, match="taken"):
        ReportFolder(tmp_path / "taken")


def test_runs_side_by_side_are_few(tmp_path, result):
    """No picture could be read otherwise."""
    with pytest.raises(DtlsEmuError, match="1 to 16 runs, not 17"):
        ReportFolder(tmp_path).write([result] * 17)


def test_without_matplotlib_it_says_what_to_install(tmp_path, monkeypatch):
    """Before the work."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plots.ReportUnavailableError, match=r"install dtls-emu\[report\]"):
        ReportFolder(tmp_path)
