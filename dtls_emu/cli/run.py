"""``dtls-emu run``: a lab in one process, on a simulated fabric and a virtual clock."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import JsonOption, complain, console, print_json, print_table
from dtls_emu.cli.progress import progress
from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.vocabulary import FirstPacket


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dtls_emu.host.outcome import ItemOutcome, Outcome, TunnelOutcome


__all__ = ["run"]

EXIT_NOT_AS_EXPECTED: Final = 1

FirstPacketOption = Annotated[
    FirstPacket | None,
    typer.Option(help="What happens to packets while their tunnel is built, instead of what the lab says."),
]
CaptureOption = Annotated[
    Path | None, typer.Option(help="Write what was on the fabric to a file for Wireshark.", metavar="FILE")
]

KeyLogOption = Annotated[
    Path | None,
    typer.Option(help="Write the secrets of all handshakes to a new file, for Wireshark.", metavar="FILE"),
]

_MILLISECOND: Final = 1e-3
_RATES: Final = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"))


def run(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")],
    seed: Annotated[
        int | None, typer.Option(help="Of every random choice, instead of the lab's.", min=0)
    ] = None,
    first_packet: FirstPacketOption = None,
    pcap: CaptureOption = None,
    keylog: KeyLogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a lab and say what became of its traffic.

    Real cards and real handshakes in one process, simulated links, virtual time; needs no root.
    Exits 0 when everything that the lab expects holds, 1 when not.

    With --pcap and --keylog the inside of the tunnels can be read: `tshark -r FILE -o tls.keylog_file:FILE`.
    """
    from dtls_emu.host.accounts import AccountingError
    from dtls_emu.host.simulation import simulate
    from dtls_emu.host.wire_trace import WireCapture

    capture = None if pcap is None else WireCapture()
    try:
        with progress() as report, _key_log(keylog) as key_log:
            outcome = simulate(
                lab, seed=seed, first_packet=first_packet, trace=capture, key_log=key_log, progress=report
            )
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_AS_EXPECTED) from error
    if pcap is not None and capture is not None:
        _write(pcap, capture.encode())
    if as_json:
        print_json(outcome.as_dict())
    else:
        _print(outcome)
    if not outcome.ok:
        raise typer.Exit(EXIT_NOT_AS_EXPECTED)


@contextmanager
def _key_log(path: Path | None) -> Iterator[Callable[[bytes], None] | None]:
    """Where handshakes' secrets go: nowhere, unless a file is named; only its owner can read that."""
    if path is None:
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise DtlsEmuError(f"cannot make {path}: {error.strerror}") from error
    complain(f"writing session secrets to {path}: whoever has it can read what the tunnels carried")
    with os.fdopen(descriptor, "wb") as file:

        def write(line: bytes) -> None:
            file.write(line + b"\n")

        yield write


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DtlsEmuError(f"cannot write {path}: {error.strerror}") from error


def _print(outcome: Outcome) -> None:
    print_table(
        f"{outcome.lab}: traffic, {outcome.duration:.3f} s of virtual time, seed {outcome.seed}",
        [
            "item",
            "kind",
            "verdict",
            "code",
            ">offered",
            ">delivered",
            "dropped",
            ">first RTT",
            ">RTT",
            "more",
        ],
        [_item_row(item) for item in outcome.items],
    )
    print_table(
        "Tunnels",
        ["from", "to", "state", ">keys", ">set up in", "cipher", "backend", "why"],
        [_tunnel_row(tunnel) for tunnel in outcome.tunnels],
    )
    if outcome.failures:
        print_table(
            "Not as expected",
            ["item", "what", "expected", "got"],
            [[name, check.key, check.expected, check.actual] for name, check in outcome.failures],
        )
    console().print(_summary(outcome), markup=False)


def _item_row(item: ItemOutcome) -> list[str]:
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(item.dropped.items()))
    return [
        item.name,
        item.kind,
        item.verdicts,
        item.encryptions,
        str(item.offered),
        str(item.delivered),
        dropped or "-",
        _milliseconds(item.round_trips.first),
        _milliseconds(item.round_trips.median),
        ", ".join(_remarks(item)),
    ]


def _remarks(item: ItemOutcome) -> Iterator[str]:
    if item.kind == "ping":
        yield f"{item.answered} answered"
    if item.payload_bytes is not None:
        yield f"{item.payload_bytes:,} bytes"
        if item.payload_bytes and item.duration:
            yield _rate(item.payload_bytes * 8 / item.duration)
    if item.duplicated:
        yield f"{item.duplicated} duplicated"
    if item.forward.damaged:
        yield f"{item.forward.damaged} delivered damaged"
    if item.path_mtu is not None:
        yield f"path MTU {item.path_mtu}"
    if item.note:
        yield item.note


def _tunnel_row(tunnel: TunnelOutcome) -> list[str]:
    state = f"{tunnel.state}: {tunnel.failure}" if tunnel.failure else tunnel.state
    backend = tunnel.backend if tunnel.protects else f"{tunnel.backend} (PROTECTS NOTHING)"
    took = _milliseconds(tunnel.handshake_seconds) if tunnel.handshakes else "-"
    return [
        tunnel.host,
        tunnel.peer,
        state,
        str(tunnel.handshakes),
        took,
        tunnel.cipher,
        backend,
        tunnel.backend_reason,
    ]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / _MILLISECOND:.3f} ms"


def _rate(bits_per_second: float) -> str:
    unit, name = next((each for each in _RATES if bits_per_second >= each[0]), _RATES[-1])
    return f"{bits_per_second / unit:.3g} {name}"


def _summary(outcome: Outcome) -> str:
    expected = sum(len(item.checks) for item in outcome.items)
    if outcome.failures:
        return f"{len(outcome.failures)} of {expected} expectations do not hold."
    return f"All {expected} expectations hold." if expected else "The lab expects nothing."
