"""The page's web application, and what keeps others out of it.

Whoever opens a page in the same browser can send requests here, and other users of the machine can, too. So:

* Every path begins with a random token; without it there is nothing here (403). It is compared in constant time.
* The Host header must be this server's own address: a name that was rebound to it (DNS rebinding) is refused (403).
* The page runs our scripts and styles only, and asks nobody else for anything (Content-Security-Policy); nobody else
  may read an answer, or frame the page; no Referer tells the token.
* A request's body is JSON of a few kilobytes, and is checked before anything is done. What is wrong is said in a line.

::

    GET  /TOKEN/                          the page; /TOKEN/static/NAME its parts
    GET  /TOKEN/api/RUN/about             what there is: title, pictures, settings
    GET  /TOKEN/api/RUN/events?from=&limit=     rows of events
    GET  /TOKEN/api/RUN/stream?from=      the same as they happen, as server-sent events
    GET  /TOKEN/api/RUN/packet/N, datagram/N, handshakes, handshakes/N, decision?from=&to=, settings, status
    POST /TOKEN/api/RUN/advance, set, send, rekey, restart
    POST /TOKEN/api/RUN/attack, meter     to be carried out now, in a run of its own; explained

Run 0 is the one that was served; each attack adds one.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dtls_emu.errors import DtlsEmuError
from dtls_emu.teach.page import requests, views
from dtls_emu.teach.page.requests import BadRequestError
from dtls_emu.teach.page.session import LiveSession, RecordedSession


if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from dtls_emu.teach.document import Document
    from dtls_emu.teach.page.session import Session


__all__ = ["Page", "make_token"]

MOST_BODY: Final = 16 << 10
"""Bytes of a request's body."""

MOST_ROWS: Final = 20_000
"""Events in one answer: about 5 MB."""

MOST_RUNS: Final = 8
"""Runs that are kept: the one that was served, and the last attacks."""

HEARTBEAT: Final = 15.0
"""Seconds without an event after which a stream says that it is still there."""

STATIC: Final = {
    "style.css": "text/css; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "link.js": "text/javascript; charset=utf-8",
    "state.js": "text/javascript; charset=utf-8",
    "player.js": "text/javascript; charset=utf-8",
    "scene.js": "text/javascript; charset=utf-8",
    "crowd.js": "text/javascript; charset=utf-8",
    "eventlist.js": "text/javascript; charset=utf-8",
    "documents.js": "text/javascript; charset=utf-8",
    "inspector.js": "text/javascript; charset=utf-8",
    "panels.js": "text/javascript; charset=utf-8",
    "controls.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The page's parts; nothing else is read from the disk."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def make_token() -> str:
    """128 random bits, for a URL."""
    return secrets.token_urlsafe(16)


class Page:
    """The application.

    Args:
        session: what is served.
        token: with which every path begins.
        hosts: values of the Host header that are this server's.
        meter: measures what encryption costs, for the page's meter; None: there is none.

    Fields:
        app: to be run by an ASGI server.
        runs: what is served, and the runs of attacks.
    """

    def __init__(
        self,
        session: Session,
        token: str,
        hosts: Sequence[str],
        *,
        meter: Callable[[], Document] | None = None,
    ) -> None:
        self.runs: dict[int, Session] = {0: session}
        self._token = token
        self._meter = meter
        self._next = 1
        self._busy = asyncio.Lock()
        self._is_over = False
        api = f"/{token}/api/{{run:int}}"
        routes = [
            Route(f"/{token}/", self._index),
            Route(f"/{token}/static/{{name}}", self._static),
            Route(f"{api}/about", self._about),
            Route(f"{api}/events", self._events),
            Route(f"{api}/stream", self._stream),
            Route(f"{api}/packet/{{number:int}}", self._packet),
            Route(f"{api}/datagram/{{number:int}}", self._datagram),
            Route(f"{api}/handshakes", self._handshakes),
            Route(f"{api}/handshakes/{{number:int}}", self._handshake),
            Route(f"{api}/decision", self._decision),
            Route(f"{api}/settings", self._settings),
            Route(f"{api}/status", self._status),
            *(
                Route(f"{api}/{name}", endpoint, methods=["POST"])
                for name, endpoint in (
                    ("advance", self._advance),
                    ("set", self._set),
                    ("send", self._send),
                    ("rekey", self._rekey),
                    ("restart", self._restart),
                    ("attack", self._attack),
                    ("meter", self._measure),
                )
            ),
        ]
        inner = Starlette(
            routes=routes,
            exception_handlers={DtlsEmuError: _refuse, 404: _not_found, 405: _not_allowed, 500: _broken},
        )
        self.app: ASGIApp = _Guard(inner, token, hosts)

    def stop(self) -> None:
        """End the streams of events, which would hold up the server's end. May be called from a signal handler."""
        self._is_over = True
        for session in self.runs.values():
            session.tell()

    def close(self) -> None:
        """Overwrite all keys. Idempotent."""
        for session in self.runs.values():
            session.close()

    # ------------------------------------------------------------------------------------------------ pages

    async def _index(self, _request: Request) -> Response:
        return _file("index.html", "text/html; charset=utf-8")

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        return _file(name, STATIC[name]) if name in STATIC else _say(404, "there is no such file")

    # ------------------------------------------------------------------------------------------------ views

    async def _about(self, request: Request) -> Response:
        session = self._session(request)
        found = await run_in_threadpool(views.about, session)
        return _json(found | {"meter": self._meter is not None, "runs": self._titles()})

    async def _events(self, request: Request) -> Response:
        session = self._session(request)
        start = requests.number(request.query_params, "from", 0, len(session.events), default=0)
        limit = requests.number(request.query_params, "limit", 1, MOST_ROWS, default=MOST_ROWS)
        return Response(await run_in_threadpool(_rows, session, start, limit), media_type="application/json")

    async def _stream(self, request: Request) -> Response:
        session = self._session(request)
        start = requests.number(request.query_params, "from", 0, len(session.events), default=0)
        # A browser that lost the connection says what it has got.
        last = request.headers.get("last-event-id", "")
        if last.isascii() and last.isdecimal():
            start = min(int(last[:9]), len(session.events))
        rows = _happening(session, start, lambda: self._is_over)
        return StreamingResponse(rows, media_type="text/event-stream")

    async def _packet(self, request: Request) -> Response:
        return await self._view(request, views.packet, request.path_params["number"])

    async def _datagram(self, request: Request) -> Response:
        return await self._view(request, views.datagram, request.path_params["number"])

    async def _handshakes(self, request: Request) -> Response:
        return await self._view(request, views.handshakes)

    async def _handshake(self, request: Request) -> Response:
        return await self._view(request, views.handshake, request.path_params["number"])

    async def _decision(self, request: Request) -> Response:
        ends = [requests.word(request.query_params, name) for name in ("from", "to")]
        return await self._view(request, views.decision, *ends)

    async def _settings(self, request: Request) -> Response:
        return await self._view(request, views.settings)

    async def _status(self, request: Request) -> Response:
        return await self._view(request, views.status)

    async def _view(self, request: Request, view: Callable[..., Any], *arguments: Any) -> Response:
        return _json(await run_in_threadpool(view, self._session(request), *arguments))

    # ----------------------------------------------------------------------------------------------- doing

    async def _advance(self, request: Request) -> Response:
        session = self._open(request, "advance")
        assert isinstance(session, LiveSession)
        seconds, most = requests.advance(await _body(request))
        await run_in_threadpool(session.advance, seconds, most)
        return _json(session.stand())

    async def _set(self, request: Request) -> Response:
        session = self._open(request, "set")
        target, words = requests.change(await _body(request))
        await run_in_threadpool(session.set, target, words)
        return _json(session.stand() | {"settings": views.settings(session)})

    async def _send(self, request: Request) -> Response:
        session = self._open(request, "send")
        order = requests.order(await _body(request))
        said = await run_in_threadpool(session.send, order)
        return _json(session.stand() | {"said": said})

    async def _rekey(self, request: Request) -> Response:
        session = self._open(request, "rekey")
        host, peer = requests.ends(await _body(request))
        await run_in_threadpool(session.rekey, host, peer)
        return _json(session.stand())

    async def _restart(self, request: Request) -> Response:
        session = self._open(request, "restart")
        host, backend = requests.restart(await _body(request))
        await run_in_threadpool(session.restart, host, backend)
        return _json(session.stand() | {"settings": views.settings(session)})

    async def _attack(self, request: Request) -> Response:
        session = self._open(request, "attack")
        assert isinstance(session, LiveSession)
        name = requests.attack(await _body(request))
        async with self._busy:
            report = await run_in_threadpool(_carry_out, name, session)
        number, self._next = self._next, self._next + 1
        report.trace.title = f"attack {name} on {session.trace.title}"
        self.runs[number] = RecordedSession(report.trace)
        for oldest in sorted(self.runs)[1 : len(self.runs) - MOST_RUNS + 1]:
            self.runs.pop(oldest).close()
        return _json({"document": report.document.as_dict(), "run": number, "expected": report.as_expected})

    async def _measure(self, request: Request) -> Response:
        await _body(request)
        if self._meter is None:
            raise BadRequestError("there is no meter here")
        async with self._busy:
            document = await run_in_threadpool(self._meter)
        return _json({"document": document.as_dict()})

    # ----------------------------------------------------------------------------------------------- runs

    def _session(self, request: Request) -> Session:
        run = request.path_params["run"]
        if run not in self.runs:
            raise BadRequestError("there is no such run any more", status=404)
        return self.runs[run]

    def _open(self, request: Request, what: str) -> Session:
        """The run, if something can be done to it."""
        session = self._session(request)
        if why := session.refusal(what):
            raise BadRequestError(why, status=409)
        return session

    def _titles(self) -> list[dict[str, Any]]:
        return [{"run": number, "title": session.trace.title} for number, session in self.runs.items()]


class _Guard:
    """Refuses what is not for this server, before anything looks at it; and puts the headers on every answer."""

    def __init__(self, inner: ASGIApp, token: str, hosts: Sequence[str]) -> None:
        self._inner = inner
        self._token = token.encode()
        self._hosts = {host.lower().encode() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    *((name.lower().encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, guarded)
        else:
            await self._inner(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        given = [value.lower() for name, value in scope["headers"] if name == b"host"]
        if len(given) != 1 or given[0] not in self._hosts:
            return _say(403, "this server answers to its own address only")
        first = scope["path"].lstrip("/").partition("/")[0].encode("utf-8", "replace")
        if not secrets.compare_digest(first, self._token):
            return _say(
                403, "open the address that `dtls-emu serve` has printed: the token is missing or wrong"
            )
        about = {name: value for name, value in scope["headers"] if name.startswith(b"sec-fetch-")}
        # Somebody may follow a link to the page, from a notebook's terminal for one; no other site gets at anything else.
        is_visit = scope["method"] == "GET" and about.get(b"sec-fetch-dest") == b"document"
        if about.get(b"sec-fetch-site", b"none") not in {b"same-origin", b"none"} and not is_visit:
            return _say(403, "requests of other sites are not answered")
        return None


def _carry_out(name: str, session: LiveSession) -> Any:
    from dtls_emu.teach.attacks import attack  # noqa: PLC0415  # cryptography's X.509 takes its time

    return attack(name, session.lab)


async def _body(request: Request) -> Any:
    """The JSON of a request's body, which is small."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequestError("the body is to be JSON, with `Content-Type: application/json`", status=415)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MOST_BODY:
            raise BadRequestError(f"the body has more than {MOST_BODY} bytes", status=413)
    try:
        return json.loads(bytes(data))
    except (ValueError, RecursionError):
        raise BadRequestError("the body is no JSON") from None


def _rows(session: Session, start: int, limit: int) -> bytes:
    with session.lock:
        found = {"from": start, "rows": session.rows(start, limit), **session.stand()}
    return json.dumps(found, separators=(",", ":")).encode()


async def _happening(
    session: Session, start: int, is_over: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """Rows from ``start`` on as they happen, until the browser goes away or the server ends."""
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def listener() -> None:
        loop.call_soon_threadsafe(news.set)

    session.listen(listener)
    try:
        yield b"retry: 1000\n\n"
        told: tuple[int, float, bool] | None = None
        while not is_over():
            news.clear()
            data = await run_in_threadpool(_rows, session, start, 2_000)
            count = len(session.events)
            start = min(start + 2_000, count)
            stand = start, session.now, session.has_ended
            if stand != told:
                told = stand
                yield b"id: %d\ndata: " % start + data + b"\n\n"
            if start < count:
                continue
            try:
                await asyncio.wait_for(news.wait(), HEARTBEAT)
            except TimeoutError:
                yield b": still here\n\n"
    finally:
        session.forget(listener)


def _file(name: str, kind: str) -> Response:
    data = (files("dtls_emu.teach.page") / "static" / name).read_bytes()
    return Response(data, media_type=kind)


def _json(document: Any) -> Response:
    return JSONResponse(document)


def _say(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _refuse(_request: Request, error: Exception) -> Response:
    """What was wrong, in a line."""
    status = error.status if isinstance(error, BadRequestError) else 422
    return _say(status, "; ".join(str(error).splitlines()))


async def _not_found(_request: Request, _error: Exception) -> Response:
    return _say(404, "there is nothing here")


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return _say(405, "not with this method")


async def _broken(_request: Request, _error: Exception) -> Response:
    return _say(500, "the emulator is at fault; what went wrong is in the terminal of `dtls-emu serve`")
