"""Commands and daemons: started, watched by their log, stopped by their own id, their CPU time read.

All of them end with this process, even if it is killed: ``setpriv --pdeathsig`` asks the kernel for that, and then
replaces itself by the command.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from side_by_side.errors import PeerError


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = ["Daemon", "cpu_seconds", "daemon", "family", "parse_stat", "run"]

ENDS_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "--")

POLL_S: Final = 0.02
STOP_S: Final = 5.0
"""How long a daemon may take to end by itself before it is killed."""

LOG_TAIL: Final = 400
"""Characters of a log that an error quotes."""

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def run(
    argv: Sequence[str], *, check: bool = True, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end.

    Raises:
        PeerError: it is not there, took longer than ``timeout`` seconds, or failed and ``check`` is set.
    """
    if shutil.which(argv[0]) is None:
        raise PeerError(f"{argv[0]} is not installed")
    try:
        done = subprocess.run(
            [*ENDS_WITH_US, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{' '.join(argv)}: not done after {timeout:.0f} s") from error
    if check and done.returncode:
        raise PeerError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()[-LOG_TAIL:]}")
    return done


class Daemon:
    """A process that stays, with its output in a file."""

    def __init__(self, argv: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        """Start it. It gets a session of its own: a Ctrl-C is ours, and we stop it in order."""
        self._argv, self.log = [*argv], log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*ENDS_WITH_US, *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """Its process id; wrappers such as ``nsenter`` replace themselves, so it is the daemon's own."""
        return self._process.pid

    def text(self) -> str:
        """All it said so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, timeout: float = 15.0) -> re.Match[str]:
        """Wait until its output has a match of ``pattern`` (multi-line regular expression).

        Raises:
            PeerError: it ended, or ``timeout`` seconds passed, without.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self._process.poll() is not None
            if found := re.search(pattern, self.text(), re.MULTILINE):
                return found
            if ended or time.monotonic() > deadline:
                how = "ended" if ended else f"was not ready after {timeout:.0f} s"
                raise PeerError(f"{self._argv[0]} {how}: {self._last_words()}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it, politely first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _last_words(self) -> str:
        return self.text().strip()[-LOG_TAIL:] or "it said nothing"


@contextmanager
def daemon(argv: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[Daemon]:
    """A :class:`Daemon` that is stopped on the way out."""
    process = Daemon(argv, log, environment)
    try:
        yield process
    finally:
        process.stop()


def cpu_seconds(processes: Iterable[int]) -> float:
    """CPU time, user and system, that processes and all their descendants have used so far."""
    return sum(ticks for _, ticks in _family(processes).values()) / TICKS_PER_SECOND


def family(processes: Iterable[int]) -> list[int]:
    """Ids of those of ``processes`` that run, and of all their descendants."""
    return sorted(_family(processes))


def parse_stat(text: str) -> tuple[int, int]:
    """Parent's id and CPU ticks of ``/proc/PID/stat`` (proc(5)); a name may hold spaces and parentheses."""
    fields = text[text.rindex(")") + 1 :].split()
    return int(fields[1]), int(fields[11]) + int(fields[12])


def _family(processes: Iterable[int]) -> dict[int, tuple[int, int]]:
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text(errors="replace"))
            except OSError:
                continue  # it ended while we looked
    members = {pid for pid in processes if pid in stats}
    grown = True
    while grown:
        children = {pid for pid, (parent, _) in stats.items() if parent in members}
        grown = not children <= members
        members |= children
    return {pid: stats[pid] for pid in members}
