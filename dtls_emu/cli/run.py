"""``dtls-emu run``: a lab in one process, on a simulated fabric and a virtual clock."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.vocabulary import FirstPacket


if TYPE_CHECKING:
    from collections.abc import Iterator

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
    typer.Option(help="Write the secrets of all handshakes to a file, for Wireshark.", metavar="FILE"),
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
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a lab and say what became of its traffic.

    Real cards and real handshakes in one process, simulated links, virtual time; needs no root.
    Exits 0 when everything that the lab expects holds, 1 when not, or when a file could not be written.

    With --pcap and --keylog the inside of the tunnels can be read: `tshark -r FILE -o tls.keylog_file:FILE`.
    """
    from dtls_emu.host.accounts import AccountingError
    from dtls_emu.host.result_file import SECRET, ResultFile
    from dtls_emu.host.simulation import simulate
    from dtls_emu.host.wire_trace import WireCapture

    capture_file = None if pcap is None else ResultFile(pcap, force=force)
    key_file = None if keylog is None else ResultFile(keylog, force=force, mode=SECRET)
    if capture_file is not None and key_file is not None and capture_file.is_same_as(key_file):
        raise DtlsEmuError(f"--pcap and --keylog both name {pcap}; name two files")
    if key_file is not None:
        complain(f"writing session secrets to {keylog}: whoever has it can read what the tunnels carried")
    capture = WireCapture()
    secrets: list[bytes] = []
    try:
        with progress() as report:
            outcome = simulate(
                lab,
                seed=seed,
                first_packet=first_packet,
                trace=capture if capture_file else None,
                key_log=secrets.append if key_file else None,
                progress=report,
            )
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_AS_EXPECTED) from error
    troubles = []
    if capture_file is not None:
        troubles.append(capture_file.save(capture.encode()).trouble)
    if key_file is not None:
        troubles.append(key_file.save(b"".join(line + b"\n" for line in secrets)).trouble)
    if as_json:
        print_json(outcome.as_dict())
    else:
        _print(outcome)
    for trouble in filter(None, troubles):
        complain(trouble)
    if any(troubles):
        raise typer.Exit(EXIT_FAILED)
    if not outcome.ok:
        raise typer.Exit(EXIT_NOT_AS_EXPECTED)


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
        spare=["kind", "first RTT", "RTT", "more"],
    )
    print_table(
        "Tunnels",
        ["from", "to", "state", ">keys", ">set up in", "cipher", "backend", "why"],
        [_tunnel_row(tunnel) for tunnel in outcome.tunnels],
        spare=["why", "set up in", "keys", "cipher"],
    )
    if outcome.failures:
        print_table(
            "Not as expected",
            ["item", "what", "expected", "got"],
            [[name, check.key, check.expected, check.actual] for name, check in outcome.failures],
        )
    print_text(_summary(outcome))


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
