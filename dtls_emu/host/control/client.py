"""Ask a running host something over its control socket: one JSON object a line, there and back.

Needs nothing but the standard library and starts at once, so that a container's probes are cheap::

    python -m dtls_emu.host.control.client /run/dtls-emu/demo/host-1.sock ready
"""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["ControlError", "ask", "is_served", "main"]

ANSWER_TIMEOUT: Final = 5.0
"""Seconds. A host answers between two turns of its loop; only one that is stuck takes longer."""

MAX_ANSWER: Final = 16 << 20
"""Bytes. The status of a card with a thousand tunnels is a tenth of it."""


class ControlError(DtlsEmuError):
    """A host does not answer, or says no.

    Fields:
        problems: one line for each thing that is wrong with what was asked.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


def ask(path: Path | str, command: str, /, *, timeout: float = ANSWER_TIMEOUT, **arguments: Any) -> Any:
    """Send one request and return the result.

    Args:
        path: of the control socket.
        command: see :mod:`dtls_emu.host.control.server`.
        timeout: seconds, for each step.
        arguments: of the command.

    Raises:
        ControlError: nobody answers there, or the answer is no.
    """
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(request)
            line = _read_line(connection)
    except TimeoutError as error:
        raise ControlError(f"{path}: no answer in {timeout:g} seconds") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # a path too long for a socket has no number
        raise ControlError(f"{path}: {reason}") from error
    try:
        answer = json.loads(line)
        if answer["ok"]:
            return answer["result"]
        message, problems = str(answer["error"]), tuple(map(str, answer["problems"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ControlError(f"{path}: not the answer of a host: {line[:80]!r}") from error
    raise ControlError(message, problems)


def is_served(path: Path | str) -> bool:
    """Whether a process is behind a control socket, be it too busy to answer.

    Raises:
        OSError: that cannot be told.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
        try:
            connection.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # so many wait to be heard already
            pass
    return True


def main(arguments: list[str]) -> int:
    """Ask for ``ping`` or ``ready`` and exit 0 when the answer is yes."""
    if len(arguments) != 2 or arguments[1] not in {"ping", "ready"}:
        print("usage: python -m dtls_emu.host.control.client SOCKET ping|ready", file=sys.stderr)  # noqa: T201
        return 2
    path, command = arguments
    try:
        result = ask(path, command)
    except ControlError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    if command == "ready" and not result["ready"]:
        print(result["reason"], file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _read_line(connection: socket.socket) -> bytes:
    parts, size = [], 0
    while size <= MAX_ANSWER:
        part = connection.recv(1 << 16)
        parts.append(part)
        size += len(part)
        if not part or part.endswith(b"\n"):
            break
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
