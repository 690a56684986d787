"""``dtls-emu run``: a lab in one process, on a simulated fabric and a virtual clock."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.captures import CaptureTarget, refuse_inputs, refuse_twice
from dtls_emu.cli.flow_logs import FlowLogTarget
from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, print_text, say
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError
from dtls_emu.vocabulary import FirstPacket


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dtls_emu.capture.key_log import KeyLog
    from dtls_emu.events import Observer
    from dtls_emu.simulation.outcome import ItemOutcome, Outcome, TunnelOutcome
    from dtls_emu.vocabulary import FlowEncryption, Verdict


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

WholeCaptureOption = Annotated[
    Path | None,
    typer.Option(
        help="Write everything that was seen anywhere to a pcapng file that Wireshark opens decrypted: see `dtls-emu "
        "capture`.",
        metavar="FILE",
    ),
]

FlowLogOption = Annotated[
    Path | None,
    typer.Option(
        help="Write the flow logs of all VMs' interfaces to a new folder, as the cloud does: version 4, a blob an hour. "
        "Virtual time begins on 2026-01-01.",
        metavar="DIR",
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
    capture: WholeCaptureOption = None,
    flow_log: FlowLogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a lab and say what became of its traffic.

    Real cards and real handshakes in one process, simulated links, virtual time; needs no root.
    Exits 0 when everything that the lab expects holds, 1 when not, or when a file could not be written.

    Verdicts and codes speak of every packet and every answer to one, each as it was sent.
    Packets add up: offered + duplicated by links = delivered + dropped.

    With --capture Wireshark shows the inside of the tunnels and of VMs, and why packets were dropped: the command that
    opens it is printed. With --pcap and --keylog the inside of the tunnels can be read: `tshark -r FILE -o tls.keylog_file:FILE`.
    """
    from dtls_emu.capture.key_log import KeyLog
    from dtls_emu.capture.traces import WireCapture
    from dtls_emu.events import fan_out
    from dtls_emu.files.results import SECRET, ResultFile
    from dtls_emu.lab import load_lab
    from dtls_emu.simulation.accounts import AccountingError
    from dtls_emu.simulation.simulation import simulate
    from dtls_emu.teach.recording import recorder_for
    from dtls_emu.teach.secrets import parse_key_log

    loaded = load_lab(lab)
    refuse_inputs(lab, loaded, [("--pcap", pcap), ("--keylog", keylog), ("--capture", capture)])
    pcap_file = None if pcap is None else ResultFile(pcap, force=force)
    key_file = None if keylog is None else ResultFile(keylog, force=force, mode=SECRET)
    if capture is not None and str(capture) == "-":
        raise DtlsEmuError("--capture - would be among the tables; use `dtls-emu capture LAB -o -`")
    target = None if capture is None else CaptureTarget(capture, force=force)
    refuse_twice(
        [
            ("--pcap", pcap_file),
            ("--keylog", key_file),
            ("--capture", None if target is None else target.file),
        ]
    )
    flows = None if flow_log is None else FlowLogTarget(loaded, flow_log, force=force)
    wire, key_log, recorder = WireCapture(), KeyLog(), recorder_for(loaded, seed)
    views = ((wire, pcap_file), (key_log, key_file), (recorder, target))
    observers: list[Observer] = [view for view, wanted in views if wanted is not None]
    if flows is not None:
        observers.append(flows.log)
    try:
        with progress() as report:
            outcome = simulate(
                loaded,
                seed=seed,
                first_packet=first_packet,
                observer=fan_out(observers),
                key_log=key_log.add if key_file or target else None,
                progress=report,
                report_flows_every=inf if flows is None else flows.report_every,
            )
    except AccountingError as error:
        complain(f"the run is void: {error}")
        raise typer.Exit(EXIT_NOT_AS_EXPECTED) from error
    troubles = []
    if flows is not None:
        troubles.append(flows.write())
    if pcap_file is not None:
        troubles.append(pcap_file.save(wire.encode()).trouble)
    if key_file is not None:
        complain(_announcement(key_log, keylog))
        if key_log.secrets or key_log.sessions:
            troubles.append(key_file.save(key_log.encode()).trouble)
    if target is not None:
        secrets = parse_key_log(key_log.encode().decode("ascii"))
        troubles.append(target.write(recorder, secrets, quiet=True))
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


def _announcement(key_log: KeyLog, path: Path | None) -> str:
    """What is written to a key log, or why nothing is."""
    if key_log.secrets:
        return f"writing session secrets to {path}: whoever has it can read what the tunnels carried"
    if key_log.sessions:
        return f"the keys came from a broker: {path} says between whom, and has no secrets, because there was no handshake"
    return f"there was no handshake: no secrets to write to {path}"


def _print(outcome: Outcome) -> None:
    copies = any(item.duplicated for item in outcome.items)
    print_table(
        f"{outcome.lab}: traffic, {outcome.duration:.3f} s of virtual time, seed {outcome.seed}",
        ["item", "verdict", "code", ">row", ">offered", *[">duplicated"] * copies, ">delivered", "dropped"],
        [_item_row(item, copies=copies) for item in outcome.items],
        spare=["offered"],
    )
    named = {
        each.decision.row.number: each.decision.row.name for item in outcome.items for each in item.handled
    }
    if named:
        listed = ", ".join(f"{number} {name}" for number, name in sorted(named.items()))
        print_text(f"Rows of the decision table: {listed}.")
        say("")
    more = [row for item in outcome.items if any((row := _more_row(item))[2:])]
    if more:
        print_table(
            "Times, transfers and remarks",
            ["item", "kind", ">first RTT", ">RTT", "more"],
            more,
            spare=["kind"],
        )
    print_table(
        "Tunnels",
        ["from", "to", "state", ">keys", ">set up in", "cipher", "backend"],
        [_tunnel_row(tunnel) for tunnel in outcome.tunnels],
        spare=["set up in", "keys", "cipher"],
    )
    for line in dict.fromkeys(line for tunnel in outcome.tunnels for line in _tunnel_notes(tunnel)):
        print_text(line)
    if outcome.failures:
        print_table(
            "Not as expected",
            ["item", "what", "expected", "got"],
            [[name, check.key, check.expected, check.actual] for name, check in outcome.failures],
        )
    print_text(_summary(outcome))


def _item_row(item: ItemOutcome, *, copies: bool) -> list[str]:
    treated = item.treated
    dropped = [f"{reason} {count}" for reason, count in sorted(item.dropped.items())]
    return [
        item.name,
        item.verdicts
        if len(treated) < 2
        else _lines(f"{verdict} {n}" for (verdict, _), n in treated.items()),
        _lines(str(code or "none") for _, code in treated) or "none",
        _lines(_rows(item, *decided) for decided in treated) or "-",
        str(item.offered),
        *[str(item.duplicated)] * copies,
        str(item.delivered),
        _lines(dropped) or "-",
    ]


def _rows(item: ItemOutcome, verdict: Verdict, code: FlowEncryption | None) -> str:
    """The rows of the decision table that have decided so, by number."""
    decisions = (each.decision for each in item.handled)
    found = {each.row.number for each in decisions if (each.verdict, each.code) == (verdict, code)}
    return ", ".join(map(str, sorted(found)))


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
        yield f"{_CIPHER}: {tunnel.cipher.removeprefix(f'{_CIPHER}, ')}"
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
