"""``dtls-emu serve``: a lab, a trace or a run as a page in the browser."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import JsonOption, complain, say
from dtls_emu.cli.traces import TraceOption  # noqa: TC001  # typer reads the annotations
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    import uvicorn

    from dtls_emu.teach.document import Document
    from dtls_emu.teach.page.server import Page
    from dtls_emu.teach.page.session import Session


__all__ = ["serve"]

LOOPBACK: Final = "127.0.0.1"
USUAL_LAB: Final = "two-vms"
HTTP: Final = 80
BACKLOG: Final = 64

GRACE: Final = 1
"""Seconds for answers under way when the server ends."""


def serve(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[lab|trace|run]",
            help=f"A lab file, the name of a shipped lab, a trace, or a lab that is up; else {USUAL_LAB}.",
        ),
    ] = None,
    trace_file: TraceOption = None,
    run: Annotated[
        str,
        typer.Option("--run", help="Show this lab that is up, whatever else has its name.", metavar="RUN"),
    ] = "",
    port: Annotated[
        int,
        typer.Option(help="TCP port on the loopback device; 0 takes any that is free.", min=0, max=65_535),
    ] = 0,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a lab as a page in the browser: packets on their way, every byte of them, and controls to play with.

    A lab that is up (dtls-emu up) is shown by what its cards tell: a sample of events, and exact counters.

    The page is for this machine only, and its address has a random token: give it to nobody. Ctrl-C ends it.
    """
    _check_extra()
    import uvicorn

    from dtls_emu.teach.page.server import Page, make_token

    if sum((what is not None, trace_file is not None, bool(run))) > 1:
        raise DtlsEmuError("name a lab, a trace with --trace FILE or a run with --run RUN, not both")
    session = _session(what, trace_file, run, seed)
    listener = _listen(port)
    own = listener.getsockname()[1]
    token = make_token()
    meter = _meter(what or USUAL_LAB) if session.kind == "lab" else None
    page = Page(session, token, _names(own), meter=meter)
    address = f"http://{LOOPBACK}:{own}/{token}/"
    if as_json:
        import json

        about = {"title": session.trace.title, "kind": session.kind, "live": session.is_live}
        say(json.dumps({"url": address, "port": own, **about}))
    else:
        say(f"{session.trace.title}: {address}\nOnly this machine can open it. Ctrl-C ends it.")
    if not no_browser and _has_screen():
        import webbrowser

        webbrowser.open(address)
    config = uvicorn.Config(
        page.app,
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE,
        lifespan="off",
        ws="none",
        h11_max_incomplete_event_size=16 << 10,
        limit_concurrency=BACKLOG,
    )
    try:
        _run(page, config, listener)
    finally:
        page.close()
        listener.close()


def _check_extra() -> None:
    """Say which extra is missing, and how it is installed.

    Raises:
        DtlsEmuError: it is.
    """
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise DtlsEmuError(
            f"the page needs {' and '.join(missing)}: install them with pip install 'dtls-emu[serve]'"
        )


def _session(what: str | None, trace_file: Path | None, run: str, seed: int | None) -> Session:
    """What is to be shown.

    Raises:
        DtlsEmuError: it is not there, or wrong.
    """
    from dtls_emu.teach.page.session import LiveSession, RecordedSession
    from dtls_emu.teach.recording import is_trace, read_trace

    if trace_file is None and what is not None and is_trace(Path(what)):
        trace_file = Path(what)
    if trace_file is not None:
        return RecordedSession(read_trace(trace_file))
    if not run and what is not None and _is_up(what):
        if not _is_lab(what):
            run = what
        else:
            complain(f"this is the lab; the run of that name is shown by: dtls-emu serve --run {what}")
    if not run:
        return LiveSession(what or USUAL_LAB, seed=seed)
    _check_linux()
    from dtls_emu.teach.page.run_session import RunSession

    if seed is not None:
        raise DtlsEmuError("a lab that is up has no seed")
    return RunSession(run)


def _is_lab(name: str) -> bool:
    from dtls_emu.lab import shipped_labs

    return name in shipped_labs() or Path(name).exists()


def _is_up(name: str) -> bool:
    """Whether a run has this name."""
    from dtls_emu.errors import RunError
    from dtls_emu.paths import runs_directory

    if "/" in name:
        return False
    try:
        return (runs_directory() / name).is_dir()
    except (RunError, OSError):
        return False


def _check_linux() -> None:
    """Say what real hosts need.

    Raises:
        DtlsEmuError: this is no Linux.
    """
    if sys.platform != "linux":
        raise DtlsEmuError("labs are brought up on Linux only; serve a lab, which is simulated, or a trace")


def _listen(port: int) -> socket.socket:
    """A socket on the loopback device.

    Raises:
        DtlsEmuError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise DtlsEmuError(
            f"port {port} on {LOOPBACK}: {error.strerror}; --port 0 takes any that is free"
        ) from error
    return listener


def _run(page: Page, config: uvicorn.Config, listener: socket.socket) -> None:
    """Serve until Ctrl-C, which is how it ends; SIGTERM ends it as it ends any command."""
    import uvicorn

    class Server(uvicorn.Server):
        """Which ends open streams, too."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Take a signal; it is raised anew when the server has ended."""
            page.stop()
            super().handle_exit(sig, frame)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGINT, before)


def _names(port: int) -> list[str]:
    """What a browser writes into its Host header; the port of HTTP is left out there (RFC 9110 7.2)."""
    names = (LOOPBACK, "localhost")
    return [f"{name}:{port}" for name in names] + ([*names] if port == HTTP else [])


def _has_screen() -> bool:
    """Whether a browser that somebody looks at can be opened; a text browser would take the terminal."""
    if sys.platform == "linux":
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _meter(lab: str) -> Callable[[], Document]:
    """What measures for the page: it may not know who does."""

    def measure() -> Document:
        from dtls_emu.measure.meter import read_meter
        from dtls_emu.teach.blocks import Table, Text
        from dtls_emu.teach.document import Document

        reading = read_meter(lab)
        document = Document("Measured now")
        rows = (
            ("in clear", f"{reading.plain / 1e9:.2f}"),
            (f"encrypted, {reading.backend}", f"{reading.encrypted / 1e9:.2f}"),
        )
        document.add(
            Table(("", ">Gbit/s"), rows),
            Text(
                f"Encrypted runs at {reading.ratio:.2f} of in clear ({reading.least:.2f} to {reading.most:.2f} in "
                f"{reading.rounds} rounds)."
            ),
            Text(
                f"Both cards in this process on one core, packets of {reading.size} bytes, no sockets: the `memory` path of "
                "`dtls-emu bench`, which measures with care."
            ),
        )
        return document

    return measure
