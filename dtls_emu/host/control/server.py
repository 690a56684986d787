"""The control socket of a host: a Unix stream socket that only its owner can open (mode 0600).

One JSON object a line, there and back::

    {"command": "status"}                                  {"ok": true, "result": {...}}
    {"command": "set", "path": [...], "value": ...}        {"ok": false, "error": "...", "problems": [...]}

=========  ==================================  ==========================================================
command    arguments                           result
=========  ==================================  ==========================================================
ping       --                                  the process lives: ``{"pid": ...}``
ready      --                                  ``{"ready": bool, "reason": str}``: sockets open, devices there
status     --                                  everything that ``dtls-emu status`` prints
flows      ``most``, 1000 by default           ``{"host", "flows", "left_out"}``: the flow tables, at most so many
                                               entries of each direction; see :mod:`dtls_emu.host.flows`
set        ``path``, ``value``                 the lab is changed: ``{}``; see :mod:`dtls_emu.assembly.lab_document`
change     ``target``, ``values``              ``{"changes": [{"path", "value"}]}``: the lab is changed, all or nothing;
                                               see :mod:`dtls_emu.assembly.targets`
rekey      ``peer``, or all                    ``{"peers": [...]}``: with whom fresh keys are being made
close      --                                  ``{}``; the host says goodbye to its peers and ends
keys-      --                                  ``{"requests": [{"peer", "port"}]}``: sessions that want a broker's
wanted                                         keys; each is told once
install-   ``peer``, ``initiator``, ``port``,  ``{}``; the keys of one session, see
keys       ``material`` (base64)               :mod:`dtls_emu.tunnel.session_keys`
=========  ==================================  ==========================================================

What a client sends is bounded in length, number and time, and validated; what is wrong with it is its answer.
The socket's descriptors are all behind one epoll, so that a loop watches a single file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
)

from dtls_emu.errors import DtlsEmuError, LabFileError
from dtls_emu.host.control.listening import ControlSocketError, identity, listen


if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from pathlib import Path


__all__ = [
    "ChangeTarget",
    "Close",
    "ControlServer",
    "ControlSocketError",
    "Flows",
    "InstallKeys",
    "KeysWanted",
    "Ping",
    "Ready",
    "Rekey",
    "Request",
    "SetValue",
    "Status",
]

logger = logging.getLogger(__name__)

MAX_CLIENTS: Final = 16
"""At once; one more takes the place of the one that has been silent longest."""

MAX_LINE: Final = 64 << 10
"""Bytes of a request: a change of a lab is a few hundred."""

CLIENT_TIMEOUT: Final = 10.0
"""Seconds that a client may stay silent, or not read its answer."""

MAX_PATH: Final = 8

MAX_TARGET: Final = 128
"""Characters: two names of 63, and an arrow between them."""

MAX_FLOWS: Final = 1000
"""Entries of each direction in one answer: what a host describes in the time of a slow packet, 20 ms."""

_READ_BYTES: Final = 16 << 10
_REQUESTS_A_TURN: Final = 4


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ping(_Request):
    """Is the process alive?"""

    command: Literal["ping"]


class Ready(_Request):
    """Do packets get through?"""

    command: Literal["ready"]


class Status(_Request):
    """What is going on?"""

    command: Literal["status"]


class Flows(_Request):
    """What is in the flow tables?"""

    command: Literal["flows"]
    most: Annotated[StrictInt, Field(gt=0, le=MAX_FLOWS)] = MAX_FLOWS


class SetValue(_Request):
    """Change the lab."""

    command: Literal["set"]
    path: tuple[StrictStr | StrictInt, ...] = Field(min_length=1, max_length=MAX_PATH)
    value: Any


class ChangeTarget(_Request):
    """Change what people name, in the lab as it is now."""

    command: Literal["change"]
    target: Annotated[StrictStr, Field(max_length=MAX_TARGET)]
    values: Annotated[dict[StrictStr, Any], Field(min_length=1)]


class Rekey(_Request):
    """Make fresh keys with a peer, or with all."""

    command: Literal["rekey"]
    peer: StrictStr | None = None


class Close(_Request):
    """End."""

    command: Literal["close"]


class KeysWanted(_Request):
    """Which sessions want keys of the broker?"""

    command: Literal["keys-wanted"]


class InstallKeys(_Request):
    """Take the keys of one session."""

    command: Literal["install-keys"]
    peer: StrictStr
    initiator: StrictStr
    port: Annotated[StrictInt, Field(gt=0, lt=1 << 16)]
    material: Annotated[Base64Bytes, Field(repr=False)]


Request = Ping | Ready | Status | Flows | SetValue | ChangeTarget | Rekey | Close | KeysWanted | InstallKeys
_REQUESTS: Final[TypeAdapter[Request]] = TypeAdapter(Annotated[Request, Field(discriminator="command")])


@dataclass(slots=True, eq=False)
class _Client:
    connection: socket.socket
    deadline: float
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: bytes = b""
    is_done: bool = False


class ControlServer:
    """The socket and its clients. Not safe for concurrent use.

    Args:
        path: of the socket. A folder that is not there is made, for its owner only.
        answer: called for each request; what it returns is JSON, what it raises (:class:`DtlsEmuError`) is
            the client's answer.

    Raises:
        ControlSocketError: another host answers there, or it may not be made.
    """

    def __init__(self, path: Path, answer: Callable[[Request], Any]) -> None:
        self.path = path
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._listener = listen(path, MAX_CLIENTS)
        self._identity = identity(path)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)

    def fileno(self) -> int:
        """One file number that is readable when there is something to do (an epoll)."""
        return self._epoll.fileno()

    def next_timeout(self) -> float:
        """When `serve` wants to be called at the latest, in seconds; infinity when nobody is connected."""
        return min((client.deadline for client in self._clients.values()), default=float("inf"))

    def serve(self, now: float) -> None:
        """Do what there is to do, without waiting: a bounded amount of it."""
        for fileno, event in self._epoll.poll(0, _REQUESTS_A_TURN):
            if fileno == self._listener.fileno():
                self._accept(now)
            elif fileno in self._clients:
                self._serve_client(self._clients[fileno], event, now)
        for client in [each for each in self._clients.values() if now >= each.deadline]:
            self._dismiss(client)

    def close(self) -> None:
        """Dismiss everybody and remove the socket, unless it is another's by now. Idempotent."""
        for client in list(self._clients.values()):
            self._dismiss(client)
        self._epoll.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            if identity(self.path) == self._identity:
                self.path.unlink()

    def _accept(self, now: float) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return  # gone already, or no descriptors left: it waits in the backlog
        if len(self._clients) >= MAX_CLIENTS:
            self._dismiss(min(self._clients.values(), key=lambda each: each.deadline))
        connection.setblocking(False)
        self._clients[connection.fileno()] = _Client(connection, now + CLIENT_TIMEOUT)
        self._epoll.register(connection, select.EPOLLIN)

    def _serve_client(self, client: _Client, event: int, now: float) -> None:
        """One step: send what is left of an answer, else answer a request, else read."""
        try:
            if event & select.EPOLLERR:
                self._dismiss(client)
                return
            if not client.outgoing and b"\n" not in client.incoming:
                part = client.connection.recv(_READ_BYTES)
                if not part:
                    self._dismiss(client)
                    return
                client.incoming += part
            if not client.outgoing:
                self._answer_next(client, now)
            if client.outgoing:
                client.outgoing = client.outgoing[client.connection.send(client.outgoing) :]
        except BlockingIOError:
            pass
        except OSError:
            self._dismiss(client)
            return
        if client.is_done and not client.outgoing:
            self._dismiss(client)
            return
        # Writable is what a socket is nearly always: with requests left it brings the next turn at once.
        busy = client.outgoing or b"\n" in client.incoming
        self._epoll.modify(client.connection, select.EPOLLOUT if busy else select.EPOLLIN)

    def _answer_next(self, client: _Client, now: float) -> None:
        """Answer the first whole line, if there is one."""
        line, found, rest = client.incoming.partition(b"\n")
        if len(line) > MAX_LINE:
            client.outgoing = _encode(_refusal(f"a request has at most {MAX_LINE} bytes"))
            client.is_done = True
        elif found:
            client.incoming = rest
            client.deadline = now + CLIENT_TIMEOUT
            client.outgoing = _encode(self._answered(bytes(line)))

    def _answered(self, line_untrusted: bytes) -> dict[str, Any]:
        try:
            request = _REQUESTS.validate_json(line_untrusted)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors(include_url=False, include_context=False, include_input=False)
            ]
            return _refusal("not a request", problems)
        try:
            return {"ok": True, "result": self._answer(request)}
        except LabFileError as error:
            return _refusal("the lab would be wrong", error.problems)
        except DtlsEmuError as error:
            return _refusal(str(error))

    def _dismiss(self, client: _Client) -> None:
        del self._clients[client.connection.fileno()]
        self._epoll.unregister(client.connection)
        client.connection.close()


def _refusal(message: str, problems: Sequence[str] = ()) -> dict[str, Any]:
    return {"ok": False, "error": message, "problems": list(problems)}


def _encode(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
