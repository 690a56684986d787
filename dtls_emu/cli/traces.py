"""Where a command gets the trace that it shows: a file, or a run that it makes."""

from __future__ import annotations

from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import complain
from dtls_emu.cli.progress import progress
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.teach.secrets import Secrets


__all__ = ["TraceOption", "gather"]

EXIT_VOID: Final = 1

TraceOption = Annotated[
    Path | None, typer.Option("--trace", metavar="file", help="Read this trace instead of running a lab.")
]


def gather(lab: str | None, trace_file: Path | None, seed: int | None = None) -> tuple[Trace, list[Secrets]]:
    """The trace that a command is about, of a file or of a run that is made now; and of a run, the secrets.

    Raises:
        DtlsEmuError: neither or both are named, or what is named cannot be read.
    """
    from dtls_emu.simulation.accounts import AccountingError
    from dtls_emu.teach.recording import read_trace, record

    if (lab is None) == (trace_file is None):
        raise DtlsEmuError("name a lab, or a trace with --trace FILE")
    if trace_file is not None:
        return read_trace(trace_file), []
    assert lab is not None
    try:
        with progress() as report:
            recording = record(lab, seed=seed, progress=report)
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_VOID) from error
    return recording.trace, recording.secrets
