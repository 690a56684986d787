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
from dtls_emu.lab.vocabulary import FirstPacket, Keying


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dtls_emu.host.outcome import ItemOutcome, Outcome, TunnelOutcome
    from dtls_emu.lab.schema import Lab


__all__ = ["run"]

EXIT_NOT_AS_EXPECTED: Final = 1

FirstPacketOption = Annotated[
    FirstPacket | None,
    typer.Option(help="What happens to packets while their tunnel is built, instead of what the lab says."),
]
CaptureOption = Annotated[
    Path | None,
    typer.Option(
        help="Write what was on the links to a file for Wireshark: what they copied, damaged and lost, too, and what "
        "left for the internet.",
        metavar="FILE",
    ),
]

KeyLogOption = Annotated[
    Path | None,
    typer.Option(help="Write the secrets of all handshakes to a new file, for Wireshark.", metavar="FILE"),
]

_MILLISECOND: Final = 1e-3
_CIPHER: Final = "AES-256-GCM"
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

    Verdicts and codes speak of every packet and every answer to one, each as it was sent.
    Packets add up: offered + duplicated by links = delivered + dropped.

    With --pcap and --keylog the inside of the tunnels can be read: `tshark -r FILE -o tls.keylog_file:FILE`.
    """
    from dtls_emu.host.accounts import AccountingError
    from dtls_emu.host.simulation import simulate
    from dtls_emu.host.wire_trace import WireCapture
    from dtls_emu.lab import load_lab

    loaded = load_lab(lab)
    _check_files(lab, loaded, pcap, keylog)
    capture = None if pcap is None else WireCapture()
    try:
        with progress() as report, _key_log(keylog) as key_log:
            outcome = simulate(
                loaded,
                seed=seed,
                first_packet=first_packet,
                trace=capture,
                internet=None if capture is None else capture.outside,
                key_log=key_log,
                progress=report,
            )
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_AS_EXPECTED) from error
    if as_json:
        print_json(outcome.as_dict())
    else:
        _print(outcome)
    if pcap is not None and capture is not None:
        _write(pcap, capture.encode())
    if not outcome.ok:
        raise typer.Exit(EXIT_NOT_AS_EXPECTED)


def _check_files(name: str, lab: Lab, pcap: Path | None, keylog: Path | None) -> None:
    """Refuse files that could not be written, or would be written over another one, while nothing is lost yet."""
    if keylog is not None and lab.overrides.keying is Keying.BROKER:
        raise DtlsEmuError(
            f"{name}: its keys come from a broker, and a key log has the secrets of handshakes; leave --keylog out"
        )
    if pcap is not None:
        _check_place(pcap)
        inputs = [Path(name), *(item.file for item in lab.traffic if item.kind == "pcap")]
        for other, what in ((keylog, "the key log"), *((each, "read by this run") for each in inputs)):
            if other is not None and _same_file(pcap, other):
                raise DtlsEmuError(f"--pcap {pcap} is {what}, too; name another file")
    if keylog is not None:
        _check_place(keylog)


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise DtlsEmuError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise DtlsEmuError(f"cannot write {path}: it is a folder; name a file in it")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DtlsEmuError(f"cannot write {path}: permission denied")


def _same_file(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


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
    lines = 0
    with os.fdopen(descriptor, "wb") as file:

        def write(line: bytes) -> None:
            nonlocal lines
            if not lines:
                complain(
                    f"writing session secrets to {path}: whoever has it can read what the tunnels carried"
                )
            lines += 1
            file.write(line + b"\n")

        try:
            yield write
        finally:
            if not lines:
                path.unlink(missing_ok=True)
                complain(f"there was no handshake: no secrets to write to {path}")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DtlsEmuError(f"cannot write {path}: {error.strerror}") from error


def _print(outcome: Outcome) -> None:
    copies = any(item.duplicated for item in outcome.items)
    print_table(
        f"{outcome.lab}: traffic, {outcome.duration:.3f} s of virtual time, seed {outcome.seed}",
        ["item", "verdict", "code", ">offered", *[">duplicated"] * copies, ">delivered", "dropped"],
        [_item_row(item, copies=copies) for item in outcome.items],
    )
    more = [row for item in outcome.items if any((row := _more_row(item))[2:])]
    if more:
        print_table("Times, transfers and remarks", ["item", "kind", ">first RTT", ">RTT", "more"], more)
    print_table(
        "Tunnels",
        ["from", "to", "state", ">keys", ">set up in", "cipher", "backend"],
        [_tunnel_row(tunnel) for tunnel in outcome.tunnels],
    )
    for line in dict.fromkeys(line for tunnel in outcome.tunnels for line in _tunnel_notes(tunnel)):
        console().print(line, markup=False)
    if outcome.failures:
        print_table(
            "Not as expected",
            ["item", "what", "expected", "got"],
            [[name, check.key, check.expected, check.actual] for name, check in outcome.failures],
        )
    console().print(_summary(outcome), markup=False)


def _item_row(item: ItemOutcome, *, copies: bool) -> list[str]:
    treated = item.treated
    dropped = [f"{reason} {count}" for reason, count in sorted(item.dropped.items())]
    return [
        item.name,
        item.verdicts
        if len(treated) < 2
        else _lines(f"{verdict} {n}" for (verdict, _), n in treated.items()),
        _lines(str(code or "none") for _, code in treated) or "none",
        str(item.offered),
        *[str(item.duplicated)] * copies,
        str(item.delivered),
        _lines(dropped) or "-",
    ]


def _more_row(item: ItemOutcome) -> list[str]:
    return [
        item.name,
        item.kind,
        _time(item.round_trips.first),
        _time(item.round_trips.median),
        _lines(_remarks(item)),
    ]


def _lines(parts: Iterable[str]) -> str:
    """One below the other, so that a table stays narrow."""
    return "\n".join(parts)


def _remarks(item: ItemOutcome) -> Iterator[str]:
    if item.kind == "ping":
        yield f"{item.answered} answered"
    if item.verdict is None and item.reverse.offered and item.handled:
        yield f"verdicts include answers: {item.reverse.offered}"
    if item.payload_bytes is not None:
        yield f"{item.payload_bytes:,} bytes"
        if item.payload_bytes and item.duration:
            yield _rate(item.payload_bytes * 8 / item.duration)
    if item.forward.damaged:
        yield f"{item.forward.damaged} delivered damaged"
    if item.path_mtu is not None:
        yield f"path MTU {item.path_mtu}"
    if item.note:
        yield item.note


def _tunnel_row(tunnel: TunnelOutcome) -> list[str]:
    state = f"{tunnel.state}: {tunnel.failure}" if tunnel.failure else tunnel.state
    backend = tunnel.backend if tunnel.protects else f"{tunnel.backend} (PROTECTS NOTHING)"
    took = _time(tunnel.handshake_seconds) if tunnel.handshakes else "-"
    return [
        tunnel.host,
        tunnel.peer,
        state,
        str(tunnel.handshakes),
        took,
        _CIPHER if tunnel.cipher else "none",
        backend,
    ]


def _tunnel_notes(tunnel: TunnelOutcome) -> Iterator[str]:
    """What is mostly the same for all tunnels."""
    if tunnel.cipher:
        yield f"{_CIPHER}: {tunnel.cipher}"
    reading = "" if tunnel.protects else "; what is called encrypted here can be read by anyone"
    yield f"{tunnel.backend}: {tunnel.backend_reason}{reading}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds / _MILLISECOND:.3f} ms"


def _rate(bits_per_second: float) -> str:
    unit, name = next((each for each in _RATES if bits_per_second >= each[0]), _RATES[-1])
    return f"{bits_per_second / unit:.3g} {name}"


def _summary(outcome: Outcome) -> str:
    expected = sum(len(item.checks) for item in outcome.items)
    if outcome.failures:
        return f"{len(outcome.failures)} of {expected} expectations do not hold."
    return f"All {expected} expectations hold." if expected else "The lab expects nothing."
