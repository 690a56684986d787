"""``dtls-emu bench report``: the report of results that are there."""

from __future__ import annotations

from typing import Annotated

import typer

from dtls_emu.cli.bench import report_folder
from dtls_emu.cli.output import ForceOption, say


__all__ = ["report"]


def report(
    results: Annotated[
        list[str], typer.Argument(help="Result files; several are put side by side.", metavar="RESULT...")
    ],
    out: Annotated[str, typer.Option(help="Folder for the report.", metavar="DIR")] = "report",
    force: ForceOption = False,
) -> None:
    """Render the report of a run again, or of several side by side: one page, Markdown, and tables as CSV."""
    from dtls_emu.measure.result import read_result

    found = [read_result(each) for each in results]
    say(f"Report: {report_folder(out, force=force).write(found)}")
