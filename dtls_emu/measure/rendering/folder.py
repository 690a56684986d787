"""A report as a folder: the page, Markdown, and each table as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.results import ResultFile, ResultFileError, why
from dtls_emu.measure.rendering.html import page
from dtls_emu.measure.rendering.plots import need_matplotlib
from dtls_emu.measure.rendering.report import report_of
from dtls_emu.measure.rendering.text import as_csv, as_markdown


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.measure.result import Result


__all__ = ["ReportFolder"]

PAGE: Final = "report.html"
MARKDOWN: Final = "report.md"

MAX_RUNS: Final = 16
"""Side by side: beyond, no picture can be read."""


class ReportFolder:
    """A place for a report, tried when this is made: before anything is measured.

    Fields:
        path: of the folder, which is made.

    Args:
        path: as the user wrote it.
        force: files that are there may be written over.

    Raises:
        ReportUnavailableError: matplotlib is not installed.
        ResultFileError: nothing can be written there, or a report is there and ``force`` is not given.
    """

    def __init__(self, path: str | Path, *, force: bool = False) -> None:
        need_matplotlib()
        self.path = Path(path)
        self._force = force
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultFileError(f"cannot write into {self.path}: {why(error)}; name a folder") from error
        for name in (PAGE, MARKDOWN):
            self._file(name)

    def write(self, results: Sequence[Result]) -> Path:
        """Write all files, the page last.

        Args:
            results: one, or several side by side.

        Returns:
            The path of the page.

        Raises:
            DtlsEmuError: more runs than can be read side by side.
            ResultFileError: a file cannot be written.
        """
        if not 1 <= len(results) <= MAX_RUNS:
            raise DtlsEmuError(f"a report takes 1 to {MAX_RUNS} runs, not {len(results)}")
        report = report_of(results)
        tables = dict(report.tables)
        for name, table in tables.items():
            self._file(f"{name}.csv").write(as_csv(table))
        self._file(MARKDOWN).write(as_markdown(report).encode())
        return self._file(PAGE).write(page(report, tuple(tables)).encode())

    def _file(self, name: str) -> ResultFile:
        return ResultFile(self.path / name, force=self._force)
