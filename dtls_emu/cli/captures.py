"""Where a capture is written, and what is said about it: of `dtls-emu capture` and `dtls-emu run --capture`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from dtls_emu.cli.output import complain, say
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Iterable

    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.capture.views import Capture
    from dtls_emu.files.results import ResultFile
    from dtls_emu.lab.schema import Lab
    from dtls_emu.teach.secrets import Secrets


__all__ = ["CaptureTarget", "refuse_inputs", "refuse_twice"]

STDOUT: Final = Path("-")


class CaptureTarget:
    """A place for a capture, tried when this is made; ``-`` is stdout.

    Args:
        path: as the user wrote it.
        force: a file that is there may be replaced.
        secrets: the capture is to have the secrets of its handshakes.

    Raises:
        DtlsEmuError: nothing can be written there, a file is there already, or it is a terminal.
    """

    def __init__(self, path: Path, *, force: bool, secrets: bool = True) -> None:
        from dtls_emu.files.results import READABLE, SECRET, ResultFile

        self.path = path
        self.file: ResultFile | None = None
        self._has_secrets = secrets
        if path != STDOUT:
            self.file = ResultFile(path, force=force, mode=SECRET if secrets else READABLE)
        elif sys.stdout.isatty():
            raise DtlsEmuError(
                "-o - writes a capture to a terminal; pipe it to `wireshark -k -i -`, or name a file"
            )

    def write(self, trace: Trace, secrets: Iterable[Secrets], *, quiet: bool = False) -> str:
        """Make the capture of a trace, write it, and say what it is and how it is opened.

        Args:
            trace: with the bytes of packets.
            secrets: of its handshakes.
            quiet: say all of it on stderr.

        Returns:
            why it is not where it was to go; empty when it is.

        Raises:
            CaptureError: no capture can be made of the trace.
        """
        from dtls_emu.capture.views import capture_trace
        from dtls_emu.capture.wireshark import open_command

        known = {each.client_random: each.master_secret for each in secrets}
        made = capture_trace(trace, known if self._has_secrets else None)
        for line in self._announcements(made, self.where):
            complain(line)
        if self.file is None:
            sys.stdout.buffer.write(made.content)
            sys.stdout.flush()
            complain(f"to open it: dtls-emu capture ... -o - | {open_command(None)}")
            return ""
        trouble = self.file.save(made.content).trouble
        if not trouble:
            told = f"{made.packets} packets at {made.interfaces} interfaces: {self.path}; to open it:"
            if quiet:
                complain(f"{told} {open_command(self.path)}")
            else:
                say(f"{told}\n{open_command(self.path)}")
        return trouble

    @property
    def where(self) -> str:
        """The place, for messages."""
        return "stdout" if self.file is None else str(self.path)

    def begin(self) -> BinaryIO:
        """Open the place for a capture that grows.

        Raises:
            ResultFileError: it cannot be written.
        """
        return os.fdopen(os.dup(1), "wb") if self.file is None else self.file.begin()

    def say_how_to_open(self) -> None:
        """Say the command that opens a capture that has grown to its end; a pipe's reader has it open."""
        from dtls_emu.capture.wireshark import open_command

        if self.file is not None:
            complain(f"to open it: {open_command(self.path)}")

    def _announcements(self, made: Capture, where: str) -> Iterable[str]:
        if not self._has_secrets:
            yield f"no secrets in {where}: it has what an eavesdropper has"
            return
        if made.opened:
            yield (
                f"writing session secrets to {where}, of {made.opened} of {made.handshakes} handshakes: whoever has it "
                "can read what the tunnels carried"
            )
        elif made.handshakes:
            yield (
                f"no secrets of the {made.handshakes} handshakes are known, so that {where} does not open them; "
                "--keys FILE adds them"
            )
        elif not made.sessions:
            yield f"there was no handshake: no secrets to write to {where}"
        if made.sessions:
            yield (
                f"the keys came from a broker: {where} has no secrets of them, because there was no handshake; a comment "
                "in it says so"
            )


def refuse_inputs(name: str, lab: Lab, options: Iterable[tuple[str, Path | None]]) -> None:
    """Refuse files that would be written over what a run reads.

    Args:
        name: of the lab, as the user wrote it.
        lab: it.
        options: their names, and the files that would be written.

    Raises:
        DtlsEmuError: one of them is read.
    """
    inputs = [Path(name), *(item.file for item in lab.traffic if item.kind == "pcap")]
    for option, path in options:
        if path is not None and any(
            path.exists() and each.exists() and path.samefile(each) for each in inputs
        ):
            raise DtlsEmuError(f"{option} {path} is read by this run, too; name another file")


def refuse_twice(files: Iterable[tuple[str, ResultFile | None]]) -> None:
    """Refuse to write two results to one file.

    Args:
        files: what each is, and where it goes.

    Raises:
        DtlsEmuError: two are the same.
    """
    before: list[tuple[str, ResultFile]] = []
    for what, file in files:
        if file is None:
            continue
        for other, theirs in before:
            if file.is_same_as(theirs):
                raise DtlsEmuError(f"{other} {theirs.path} is the file of {what}, too; name another file")
        before.append((what, file))
