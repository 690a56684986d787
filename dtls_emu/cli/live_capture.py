"""``dtls-emu capture --live`` and ``dtls-emu up --capture``: a run that is up, as one capture that grows."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Final

from dtls_emu.cli.output import complain
from dtls_emu.errors import DtlsEmuError, RunError


if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dtls_emu.capture.live import LiveCapture
    from dtls_emu.cli.captures import CaptureTarget
    from dtls_emu.deploy.listening import Listeners
    from dtls_emu.deploy.state import RunState


__all__ = ["capture_from_the_start", "capture_run"]

CAPTURING: Final = "capturing"
"""The first word that is said once every host tells what it sees."""

LAST: Final = 0.1
"""Seconds that hosts are given at the end: five times what an event waits for others."""

WAIT: Final = 0.1
"""Seconds between two looks at what is old enough to be written."""


def capture_run(run: str, target: CaptureTarget, *, opens: bool) -> None:
    """Capture a run until Ctrl-C, SIGTERM, or its end.

    Args:
        run: its name.
        target: where the capture goes.
        opens: with secrets, the inside of VMs and remarks.

    Raises:
        RunError: there is no such run, or a host of it does not answer.
        DtlsEmuError: the capture cannot be written.
    """
    from dtls_emu.assembly.lab_document import compile_document
    from dtls_emu.capture.live import LiveCapture
    from dtls_emu.deploy.listening import Listeners
    from dtls_emu.deploy.state import CardProcess, no_such_run, read_state, run_names
    from dtls_emu.paths import run_directory
    from dtls_emu.vocabulary import Keying

    state = read_state(run_directory(run)) if run in run_names() else None
    if state is None:
        raise no_such_run(run)
    topology = compile_document(state.lab)
    has_broker = topology.profile.keying is Keying.BROKER
    addresses = {host.name: host.underlay for host in topology.hosts.values()}
    capture = LiveCapture(addresses, opens=opens, epoch_ns=time.time_ns() - time.monotonic_ns())
    sockets = {card.host: card.socket for card in state.of(CardProcess)}
    with Listeners(sockets, wants_bytes=True, wants_secrets=opens, on_lost=_say_lost) as listeners:
        told = listeners.wait_until_heard()
        with target.begin() as file:
            _write(file, [capture.header(_about(state, has_broker=has_broker, opens=opens))])
            for batch in told:
                capture.take(batch.host, batch.events, batch.missed, batch.secrets)
            fresh = listeners.refresh_keys() if opens and not has_broker else 0
            _announce(state, target, fresh=fresh, opens=opens)
            try:
                _follow(listeners, capture, file)
            except KeyboardInterrupt:
                complain("interrupted: the capture ends here")
                _take_last(listeners, capture)
            _write(file, capture.end(time.monotonic()))
    _say_what_it_has(capture, target, opens=opens)


def capture_from_the_start(run: str, file: Path, *, force: bool, opens: bool) -> None:
    """Have a run captured until it is ended, by a process of its own. Returns when every host tells what it sees.

    Raises:
        RunError: it cannot be captured. Says why.
    """
    command = [sys.executable, "-P", "-m", "dtls_emu", "capture", "--live", run, "-o", str(file)]
    command += ["--force"] * force + ["--no-secrets"] * (not opens)
    with subprocess.Popen(  # noqa: S603 (our own program)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line.strip().removeprefix("dtls-emu: "))
            complain(said[-1])
            if said[-1].startswith(CAPTURING):
                process.returncode = 0  # it is left to itself: it ends with the run
                return
        process.wait()
        raise RunError(
            f"the run `{run}` is up, and is not captured: {said[-1] if said else 'no reason given'}"
        )


def _take_last(listeners: Listeners, capture: LiveCapture) -> None:
    """Take what has happened until now: hosts tell it within a moment."""
    until = time.monotonic() + LAST
    while (left := until - time.monotonic()) > 0:
        for batch in listeners.batches(left) or ():
            capture.take(batch.host, batch.events, batch.missed, batch.secrets)


def _follow(listeners: Listeners, capture: LiveCapture, file: BinaryIO) -> None:
    """Write what hosts tell until they end."""
    while (batches := listeners.batches(WAIT)) is not None:
        for batch in batches:
            capture.take(batch.host, batch.events, batch.missed, batch.secrets)
        _write(file, capture.blocks(time.monotonic()))


def _write(file: BinaryIO, blocks: Iterable[bytes]) -> None:
    content = b"".join(blocks)
    if not content:
        return
    try:
        file.write(content)
        file.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DtlsEmuError(f"the capture ends here: {error.strerror}") from error


def _about(state: RunState, *, has_broker: bool, opens: bool) -> Iterable[str]:
    yield (
        f"the run {state.run}, on real hosts, captured while it is up; while it is, Python carries all of its packets, "
        "so they are slower"
    )
    if has_broker and opens:
        yield (
            "Keys come from a broker: there is no handshake, so there are no secrets in a form that a capture could "
            "have, and what the tunnels carry cannot be opened here."
        )


def _announce(state: RunState, target: CaptureTarget, *, fresh: int, opens: bool) -> None:
    where = target.where
    if opens:
        complain(
            f"writing session secrets to {where}: whoever has it can read what the tunnels carry"
            + (
                f"; {fresh} that were up get fresh keys, as the secrets of the old ones are gone"
                if fresh
                else ""
            )
        )
    else:
        complain(f"no secrets in {where}: it has what an eavesdropper has")
    complain(
        f"{CAPTURING} {state.run} to {where} until it is down, or Ctrl-C; meanwhile Python carries all of its packets, "
        "so they are slower"
    )


def _say_lost(host: str) -> None:
    with suppress(OSError):
        complain(f"{host} has ended, and is listened to again when it is back")


def _say_what_it_has(capture: LiveCapture, target: CaptureTarget, *, opens: bool) -> None:
    handshakes, opened = capture.handshakes
    words = f"{capture.packets} packets at {capture.interfaces} interfaces: {target.where}"
    if opens:
        words += f"; secrets of {opened} of {handshakes} handshakes"
    complain(words)
    missed = sum(capture.missed.values())
    if missed:
        complain(
            f"{missed} packets are missing, more than could be shown: `capinfos` shows at which interface"
        )
    target.say_how_to_open()
