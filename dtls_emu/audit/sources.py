"""Flow logs as people have them: one file, or a folder as it was downloaded from a storage account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.files.streaming import find_files, stream_file
from dtls_emu.flow_logs.errors import FlowLogError
from dtls_emu.flow_logs.reading import read_records


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dtls_emu.flow_logs.tally import Tally
    from dtls_emu.progress import Progress


__all__ = ["SUFFIXES", "add_logs", "log_files"]

SUFFIXES: Final = (".json", ".jsonl", ".log", ".ndjson")
"""Of the files below a folder that are read. A file that is named may have any."""

_KILOBYTE: Final = 1 << 10


def log_files(path: Path) -> list[Path]:
    """The files that a path stands for.

    Raises:
        FlowLogError: it cannot be read, or there are none.
    """
    try:
        if not path.is_dir():
            return [path]
        found = find_files(path, SUFFIXES)
    except ValueError:
        raise FlowLogError(f"{str(path)!r}: no file can have this name") from None
    except OSError as error:
        raise FlowLogError(f"{error.filename}: {error.strerror}") from None
    if not found:
        raise FlowLogError(f"{path}: no file below it ends in {', '.join(SUFFIXES)}")
    return found


def add_logs(path: Path, tally: Tally, progress: Progress | None = None) -> int:
    """Add up all records of a file, or of a folder.

    Args:
        path: of it.
        tally: takes them.
        progress: told now and then how much has been read.

    Returns:
        how many files there are.

    Raises:
        FlowLogError: a file cannot be read, or is no flow log of version 4. Says which, where and why.
    """
    files = log_files(path)
    try:
        total = sum(each.stat().st_size for each in files)
    except (OSError, ValueError):
        total = 0  # to read it says why
    done = 0

    def pieces(file: Path) -> Iterator[bytes]:
        nonlocal done
        for piece in stream_file(file):
            yield piece
            done += len(piece)
            if progress is not None:
                progress(done // _KILOBYTE, max(total // _KILOBYTE, 1), str(file.name))

    for file in files:
        try:
            for record in read_records(pieces(file)):
                tally.add(record)
            tally.flush()
        except FlowLogError as error:
            raise FlowLogError(f"{file}: {error}") from None
        except OSError as error:
            raise FlowLogError(f"{file}: cannot be read: {error.strerror}") from None
    if not tally.records:
        raise FlowLogError(f"{path}: no record of a flow log in it")
    return len(files)
