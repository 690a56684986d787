"""What an ordinary user has done in the namespaces of a run: a process goes in, does it, and tells how it went.

The caller cannot go in himself: a process must have one thread for that, and numeric libraries start theirs. So
:mod:`dtls_emu.deploy.worker` is started inside. It has its arguments as one JSON object on its stdin, and answers in
lines of JSON: what happens now, and at the end the result, or what is wrong.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import LabFileError, RunError
from dtls_emu.machine.entering import entering_command
from dtls_emu.machine.keeper import KeeperFailedError, start_keeper
from dtls_emu.machine.refusals import explain_refusal


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from dtls_emu.machine.keeper import StartedKeeper
    from dtls_emu.machine.processes import ProcessId

    Report = Callable[[str], object]
    """Called with a line about what happens now."""


__all__ = ["call_inside", "must_enter", "new_namespaces", "undisturbed"]

WORKER: Final = "dtls_emu.deploy.worker"


def must_enter() -> bool:
    """Whether this process can make nothing where it is: it is not root, not even of a user namespace."""
    return os.geteuid() != 0


@contextmanager
def new_namespaces(folder: Path) -> Iterator[StartedKeeper]:
    """Namespaces for a run; they go with the body, unless whoever holds the keeper's leash has said that they stay.

    Args:
        folder: of the run.

    Raises:
        RunError: this machine does not let this user have any; says why, and what to do.
    """
    try:
        keeper = start_keeper(secrets.token_hex(16), folder)
    except KeeperFailedError as error:
        if error.refused is None:
            raise RunError(f"no namespaces without root: {error}") from error
        refusal = explain_refusal(error.refused)
        raise RunError(f"no namespaces without root: {refusal.reason}; {refusal.remedy}") from error
    try:
        yield keeper
    finally:
        os.close(keeper.leash)


def call_inside(
    door: ProcessId,
    task: str,
    arguments: Mapping[str, Any],
    *,
    report: Report = lambda _line: None,
    leash: int | None = None,
) -> Any:
    """Have something done in the namespaces of a process, and return its result. An interrupt is passed on to it.

    Args:
        door: the process.
        task: what, see :mod:`dtls_emu.deploy.worker`.
        arguments: of it; JSON types.
        report: told what happens.
        leash: of a keeper, that is handed on.

    Raises:
        RunError: it cannot be done.
        LabFileError: the lab would be wrong.
    """
    command = entering_command(door, "", [sys.executable, "-P", "-m", WORKER])
    request = {"task": task, "parent": os.getpid(), "arguments": {**arguments}}
    if leash is not None:
        request["leash"] = leash
    try:
        process = subprocess.Popen(  # noqa: S603 (our own program)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a terminal's Ctrl-C comes once, from here
            pass_fds=() if leash is None else (leash,),
        )
    except OSError as error:
        raise RunError(f"cannot run {sys.executable}: {error.strerror}") from error
    assert process.stdin is not None
    assert process.stdout is not None
    with process, process.stdin, process.stdout:
        try:
            process.stdin.write(json.dumps(request).encode())
            process.stdin.close()
            answer = _follow(process.stdout, report)
        except BrokenPipeError:
            answer = None
        except BaseException:
            with undisturbed():
                process.send_signal(signal.SIGTERM)
                _follow(process.stdout, report)
            raise
    if answer is None:
        raise RunError(f"the process in the namespaces of the run has ended with status {process.returncode}")
    if "problems" in answer:
        raise LabFileError(answer["problems"])
    if "error" in answer:
        raise RunError(answer["error"])
    return answer["result"]


def _follow(lines: Any, report: Report) -> dict[str, Any] | None:
    """Pass on what happens, and return the answer; None where there is none."""
    for line in lines:
        said = json.loads(line)
        if "line" not in said:
            return dict(said)
        report(said["line"])
    return None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no impatient Ctrl-C stop the body; signals belong to the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
