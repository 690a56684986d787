"""``dtls-emu flows``: the flow tables of a run's cards, or flow logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dtls_emu.cli.flow_logs import emit, is_flow_log, show_flow_logs
from dtls_emu.cli.output import ForceOption, JsonOption, print_json, print_table, print_text, width
from dtls_emu.cli.traces import TraceOption, gather
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.teach.flows import FlowEntry


__all__ = ["flows", "print_entries"]


def flows(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[lab|file|folder]",
            help="A lab file, or the name of a shipped lab; it is run. Or flow logs: a file of them, or a folder.",
        ),
    ] = None,
    trace_file: TraceOption = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    wanted: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="TEXT",
            help="Of flow logs, only tuples that this is true of, in the vendor's language: fields Direction, SrcIP, "
            "SrcPort, DstIP, DstPort, Protocol, Encryption, Action; = and !=; && before ||; no brackets.",
        ),
    ] = "",
    emitting: Annotated[
        bool, typer.Option("--emit", help="Write the flow logs of a scenario to a new folder instead.")
    ] = False,
    scenario: Annotated[
        str, typer.Option(metavar="NAME", help="What --emit writes: all-codes has every status and state.")
    ] = "all-codes",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the flow table of each card as it stood at the end of a run, entry by entry; or sum up flow logs.

    What each flow was decided to be, by which row of the decision table; how many packets found their entry (hits, on
    the fast path), and how many were exceptions, for the slow path. Bytes of what leaves for another host include VXLAN
    and Ethernet.

    Of simulated runs and their traces; `dtls-emu status --flows` shows those of a lab that is up.

    Of virtual network flow logs (version 4: the vendor's own, what collectors make of them, or those of `run
    --flow-log`): packets and bytes by ends, port and status. `dtls-emu flows PT1H.json --filter 'Encryption=NX_ALL'`
    shows what went in clear, for whatever reason. Whether that is as it should be says `dtls-emu audit`.
    """
    from dtls_emu.teach.flows import flow_table

    if emitting:
        emit(source, scenario, force=force)
        return
    if source is not None and trace_file is None and is_flow_log(source):
        show_flow_logs(source, wanted, as_json=as_json)
        return
    if wanted:
        raise DtlsEmuError("--filter is for flow logs; name a file of them, or a folder")
    trace, _ = gather(source, trace_file, seed)
    entries = flow_table(trace.events)
    if as_json:
        print_json({"lab": trace.title, "seed": trace.seed, "flows": [entry.as_dict() for entry in entries]})
        return
    for host in sorted({entry.host for entry in entries}):
        print_entries(host, [entry for entry in entries if entry.host == host])
    if not entries:
        print_text("There was no flow.")


def print_entries(host: str, entries: Sequence[FlowEntry]) -> None:
    """Print the flow tables of one card, by direction."""
    from dtls_emu.events import Direction

    _print(f"{host}: from its VMs", [each for each in entries if each.direction is Direction.EGRESS])
    _print(
        f"{host}: to its VMs, as the host that sends has decided",
        [each for each in entries if each.direction is Direction.INGRESS],
    )


def _print(title: str, entries: Sequence[FlowEntry]) -> None:
    """A line for each entry; where there is little room, each is a few lines high."""
    if not entries:
        return
    if width() is not None:
        print_table(
            title,
            ("flow", "decision", "counted", "lookups", "entry"),
            [_high_row(entry) for entry in entries],
        )
        return
    print_table(
        title,
        (
            "VM",
            "protocol",
            "source",
            "destination",
            "verdict",
            ">row",
            "name",
            "code",
            "path",
            ">packets",
            ">bytes",
            ">hits",
            ">exceptions",
            ">generation",
            ">age",
        ),
        [_flat_row(entry) for entry in entries],
    )


def _flat_row(entry: FlowEntry) -> tuple[str, ...]:
    source, destination = _ends(entry)
    return (
        entry.vm,
        _protocol(entry),
        source,
        destination,
        str(entry.verdict or "-"),
        str(entry.row or "-"),
        entry.name or "-",
        str(entry.code or "-"),
        entry.path,
        str(entry.packets),
        str(entry.nbytes),
        str(entry.hits),
        str(entry.exceptions),
        str(entry.generation),
        _seconds(entry.age),
    )


def _high_row(entry: FlowEntry) -> tuple[str, ...]:
    source, destination = _ends(entry)
    decision = "-"
    if entry.verdict is not None:
        decision = f"{entry.verdict}\nrow {entry.row}\n{entry.code or 'no code'}"
    return (
        f"{entry.vm}: {_protocol(entry)}\n{source}\nto {destination}",
        decision,
        f"{_count(entry.packets, 'packet')}\n{_count(entry.nbytes, 'byte')}",
        f"{_count(entry.hits, 'hit')}\n{_count(entry.exceptions, 'exception')}\n{entry.path} path",
        f"generation {entry.generation}\n{_seconds(entry.age)} old",
    )


def _protocol(entry: FlowEntry) -> str:
    from dtls_emu.teach.story import PROTOCOLS

    name = PROTOCOLS.get(entry.flow.protocol, f"protocol {entry.flow.protocol}")
    return f"{name} fragments" if entry.flow.fragment else name


def _ends(entry: FlowEntry) -> tuple[str, str]:
    flow = entry.flow
    if not flow.source_port and not flow.destination_port:
        return flow.source, flow.destination
    return _end(flow.source, flow.source_port), _end(flow.destination, flow.destination_port)


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _seconds(age: float) -> str:
    return f"{age:.3f} s"
