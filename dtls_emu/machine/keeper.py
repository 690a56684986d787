"""A small process that keeps the namespaces of a run alive, from its start until the run ends.

``python -P -m dtls_emu.machine.keeper TOKEN FOLDER``

1. It makes the namespaces and says so, or what was refused, in a line of JSON.
2. It waits for a word from whoever started it: that the run has recorded it. When nobody is left who could say so,
   it ends, and the namespaces with it.
3. It sleeps until it is ended. It looks now and then whether the run's folder is there: when that is gone, as after a
   logout that took XDG_RUNTIME_DIR away, nobody can end the run any more, so it ends all of its processes.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.processes import (
    ProcessId,
    end_processes,
    identify,
    processes_with_mount,
)
from dtls_emu.machine.unsharing import Step, UnshareError, mount_source, unshare


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["KEEP", "KeeperFailedError", "StartedKeeper", "main", "start_keeper", "try_namespaces"]

KEEP: Final = b"k"
"""The word that a keeper waits for."""

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at the run's folder."""

START_TIMEOUT: Final = 30.0
"""Seconds. It takes a tenth of one, on a machine that is not busy."""


class KeeperFailedError(Exception):
    """There are no namespaces.

    Fields:
        refused: what was refused, where that is known.
    """

    def __init__(self, message: str, refused: UnshareError | None = None) -> None:
        super().__init__(message)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class StartedKeeper:
    """A keeper that waits for its word.

    Fields:
        process: which it is.
        token: of its namespaces.
        leash: file number: write :data:`KEEP` to it. When all copies of it are closed, the keeper ends.
    """

    process: ProcessId
    token: str
    leash: int


def start_keeper(token: str, folder: Path, user: int | None = None) -> StartedKeeper:
    """Start a keeper, and wait until its namespaces are there.

    Args:
        token: tells its namespaces from all others.
        folder: of the run; it need not be there before the word is said.
        user: whose they are, where this process is root; None: this one's.

    Raises:
        KeeperFailedError: it could not make them.
    """
    command = [sys.executable, "-P", "-m", "dtls_emu.machine.keeper", token, str(folder)]
    reading, leash = os.pipe2(os.O_CLOEXEC)
    try:
        process = subprocess.Popen(  # noqa: S603 (our own program)
            command,
            stdin=reading,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except OSError as error:
        os.close(leash)
        raise KeeperFailedError(f"cannot run {sys.executable}: {error.strerror}") from error
    finally:
        os.close(reading)
    assert process.stdout is not None
    process.returncode = 0  # it outlives this process, which is not to wait for it
    try:
        with process.stdout:
            said = process.stdout.readline()
    except BaseException:  # Ctrl-C
        os.close(leash)
        raise
    refused = _refused(said)
    identity = identify(process.pid)
    if refused is not None or identity is None:
        os.close(leash)
        os.waitpid(process.pid, 0)
        raise refused or KeeperFailedError("the process that was to keep the namespaces has ended")
    return StartedKeeper(identity, token, leash)


def try_namespaces(user: int | None = None) -> None:
    """Make namespaces with a TUN device in them, and let them go.

    Args:
        user: whose, where this process is root; None: this one's.

    Raises:
        KeeperFailedError: it cannot be.
    """
    keeper = start_keeper(secrets.token_hex(16), Path("/nowhere"), user)
    os.close(keeper.leash)
    os.waitpid(keeper.process.pid, 0)


def _refused(said: bytes) -> KeeperFailedError | None:
    """What a keeper's first line says; None: all is well."""
    try:
        answer = json.loads(said)
        if answer["ok"]:
            return None
        number = int(answer["number"])
        refused = UnshareError(Step(answer["step"]), OSError(number, os.strerror(number)))
        return KeeperFailedError(str(refused), refused)
    except (ValueError, KeyError, TypeError):
        return KeeperFailedError(f"the process that was to keep the namespaces said: {said[:200]!r}")


def main(arguments: Sequence[str]) -> int:
    """Keep the namespaces; see the module."""
    token, folder = arguments
    try:
        unshare(token)
    except UnshareError as error:
        print(json.dumps({"ok": False, "step": error.step, "number": error.number}), flush=True)  # noqa: T201
        return 1
    print(json.dumps({"ok": True}), flush=True)  # noqa: T201
    if os.read(0, 1) != KEEP:
        return 0
    _let_go_of_streams()
    while os.path.lexists(folder):
        time.sleep(LOOK_EVERY)
    end_processes(processes_with_mount(mount_source(token)))
    return 0


def _let_go_of_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
