"""Where a view gets its trace: from a run that is made for it, or from a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.capture.trace_file import Trace, TraceFileError, TraceRecorder, parse_trace
from dtls_emu.files.reading import read_file
from dtls_emu.lab import load_lab
from dtls_emu.lab.schema import Lab
from dtls_emu.simulation.simulation import simulate
from dtls_emu.teach.secrets import Secrets, parse_key_log


if TYPE_CHECKING:
    from pathlib import Path

    from dtls_emu.progress import Progress
    from dtls_emu.simulation.simulation import Outcome


__all__ = ["Recording", "is_trace", "read_trace", "record", "recorder_for"]

MAX_TRACE: Final = 2 << 30
"""Bytes of a trace's file: a run of 100,000 packets with all their bytes is a tenth of it."""

_HEAD: Final = 4_096
"""Bytes of a file by which a trace is known."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A run that was watched.

    Fields:
        outcome: what became of its traffic.
        trace: everything that happened, with the bytes of packets and datagrams.
        secrets: of its handshakes, each once.
    """

    outcome: Outcome
    trace: Trace
    secrets: list[Secrets]


def record(lab: Lab | str | Path, *, seed: int | None = None, progress: Progress | None = None) -> Recording:
    """Run a lab and keep everything that happens.

    Raises:
        LabFileError: the lab is wrong.
        AccountingError: a packet is unaccounted for: the emulator is broken.
    """
    loaded = lab if isinstance(lab, Lab) else load_lab(lab)
    recorder = recorder_for(loaded, seed)
    lines: list[bytes] = []
    outcome = simulate(loaded, seed=seed, observer=recorder, key_log=lines.append, progress=progress)
    return Recording(outcome, recorder, parse_key_log(b"\n".join(lines).decode("ascii")))


def recorder_for(lab: Lab, seed: int | None = None) -> TraceRecorder:
    """What a run of a lab is watched with, for its trace to say what was run.

    Args:
        lab: it.
        seed: instead of the lab's.
    """
    return TraceRecorder(
        title=lab.name,
        lab=lab.model_dump(mode="json", exclude_unset=True),
        seed=lab.seed if seed is None else seed,
    )


def is_trace(path: Path) -> bool:
    """Whether a file begins as a trace does, of whatever version; no pipe is read for it."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD).lstrip(b"\x1e \t")
    except OSError:
        return False
    return head.startswith(b"{") and b'"event_schemas"' in head


def read_trace(path: Path) -> Trace:
    """The trace of a file.

    Raises:
        TraceFileError: it cannot be read, or is none; with the file, the line and what is wrong.
    """
    try:
        data = read_file(path, MAX_TRACE)
    except OSError as error:
        raise TraceFileError(f"{path}: {error.strerror}") from error
    try:
        return parse_trace(data.decode("utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise TraceFileError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except TraceFileError as error:
        raise TraceFileError(f"{path}: {error}") from error
