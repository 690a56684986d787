"""``dtls-emu explain``: the rules of the emulator, with figures."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.documents import CommandsOption, HtmlOption, show
from dtls_emu.cli.output import ForceOption, JsonOption, print_json, print_table, print_text
from dtls_emu.cli.traces import TraceOption, gather
from dtls_emu.errors import DtlsEmuError
from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.overhead import MAX_PACKET
from dtls_emu.teach.mtu import DEFAULT_INNER, explain_mtu, remarks


if TYPE_CHECKING:
    from dtls_emu.teach.mtu import MtuCase


__all__ = ["explain"]

LONGEST: Final = MAX_PACKET
"""Bytes of the longest IP packet (RFC 791 3.1)."""

explain = typer.Typer(
    no_args_is_help=True,
    help="Explain what fits a path, who is encrypted and why, and the bytes of a record, a handshake or a packet.",
)


@explain.command(epilog="Example: dtls-emu explain mtu --link-mtu 1500; dtls-emu explain mtu two-vms")
def mtu(
    lab: Annotated[
        str | None,
        typer.Argument(
            metavar="[lab]", help="A lab: who may send how much to whom. Without one: the layers."
        ),
    ] = None,
    link_mtu: Annotated[
        int, typer.Option(help="Largest outer IP packet of a link, in bytes.", min=1, max=LONGEST)
    ] = DEFAULT_LINK_MTU,
    inner: Annotated[
        int, typer.Option(help="Length of a VM's IP packet, in bytes.", min=1, max=LONGEST)
    ] = DEFAULT_INNER,
    as_json: JsonOption = False,
) -> None:
    """Show what every layer costs, what fits, and what ICMP says when it does not."""
    if lab is not None:
        from dtls_emu.lab import compile_lab, load_lab
        from dtls_emu.teach.lab_mtu import explain_lab_mtu

        show(explain_lab_mtu(compile_lab(load_lab(lab))), as_json=as_json)
        return
    cases = explain_mtu(link_mtu, inner)
    if as_json:
        print_json([case.as_dict() for case in cases])
        return
    print_table(
        f"Layers of a packet of {inner} bytes",
        ["layer", *(f">{_title(case)}" for case in cases)],
        [
            *(
                [layer, *(str(dict(case.layers).get(layer, "-")) for case in cases)]
                for layer in dict.fromkeys(layer for case in cases for layer, _ in case.layers)
            ),
            ["outer IP packet", *(str(case.needed_link_mtu or "none") for case in cases)],
        ],
    )
    print_table(
        f"What fits a link MTU of {link_mtu} bytes",
        ["way", ">overhead", ">inner MTU", ">TCP MSS v4", ">TCP MSS v6", "fits", ">ICMP tells MTU"],
        [
            [
                _title(case),
                str(case.overhead.total),
                str(case.inner_mtu),
                str(case.tcp_mss[4]),
                str(case.tcp_mss[6]),
                "yes" if case.fits else "NO",
                "-" if case.icmp_mtu is None else str(case.icmp_mtu),
            ]
            for case in cases
        ],
    )
    for remark in remarks(cases):
        print_text(remark)


class Protocol(StrEnum):
    """What security rules tell apart."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"


_NUMBERS: Final = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.ICMP: 1}


@explain.command(epilog="Example: dtls-emu explain decision two-vms --from vm-a --to vm-b")
def decision(
    lab: Annotated[
        str | None, typer.Argument(metavar="[lab]", help="A lab; without one the table itself is shown.")
    ] = None,
    source: Annotated[str | None, typer.Option("--from", help="The VM that sends.")] = None,
    destination: Annotated[str | None, typer.Option("--to", help="A VM, or an IP address.")] = None,
    fragment: Annotated[bool, typer.Option("--fragment", help="The packet is an IP fragment.")] = False,
    tunnel_failed: Annotated[
        bool, typer.Option("--tunnel-failed", help="The tunnel was tried and did not come up.")
    ] = False,
    protocol: Annotated[
        Protocol | None, typer.Option("--protocol", help="Transport protocol, for security rules.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Destination port, for security rules.")
    ] = 0,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show the decision table; or, for a flow of a lab, which row applies and why each one above it does not."""
    if lab is not None or source is not None or destination is not None:
        from dtls_emu.cli.flows import flow_of
        from dtls_emu.policy import Transport
        from dtls_emu.teach.decision import explain_decision

        topology, vm, address = flow_of(lab, source, destination)
        document = explain_decision(
            topology,
            vm,
            address,
            fragment=fragment,
            tunnel_failed=tunnel_failed,
            transport=None if protocol is None else Transport(_NUMBERS[protocol], 0, port),
        )
        show(document, as_json=as_json, html=html, force=force)
        return
    from dtls_emu.policy import rows

    table = [
        {
            "row": row.number,
            "name": row.name,
            "condition": row.condition,
            "verdict": str(row.verdict),
            "encryption": row.code,
            "dropped_as": row.reason,
            "basis": str(row.basis),
            "source": row.source,
        }
        for row in rows()
    ]
    if as_json:
        print_json(table)
        return
    print_table(
        "Decision table, first match from the top (DOC: documented, EXC: seen in an excerpt, INF: inferred)",
        [">row", "condition", "verdict", "code", "dropped as", "basis", "source"],
        [
            [
                str(row["row"]),
                str(row["condition"]),
                str(row["verdict"]),
                str(row["encryption"] or "none"),
                str(row["dropped_as"] or "-"),
                str(row["basis"]),
                str(row["source"]),
            ]
            for row in table
        ],
        spare=["source", "basis", "dropped as"],
    )


@explain.command(epilog="Example: dtls-emu explain record 16fefd0000000000000000 ... --keys keys.log")
def record(
    octets: Annotated[
        list[str],
        typer.Argument(
            metavar="hex",
            help="The UDP payload in hexadecimal, with spaces or colons or without; - for stdin.",
        ),
    ],
    keys: Annotated[
        Path | None, typer.Option("--keys", help="A key log: of `dtls-emu run --keylog`.", exists=False)
    ] = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print the key in the command that opens it, too.")
    ] = False,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a DTLS record apart, open it if a key does, or say exactly what is wrong with it."""
    from dtls_emu.teach.record import explain_record
    from dtls_emu.teach.secrets import read_key_log

    data = _octets(sys.stdin.read() if octets == ["-"] else "".join(octets))
    secrets = [] if keys is None else read_key_log(keys)
    show(explain_record(data, secrets, show_secrets=show_secrets), as_json=as_json, html=html, force=force)


@explain.command(epilog="Example: dtls-emu explain handshake two-vms")
def handshake(
    lab: Annotated[str | None, typer.Argument(metavar="[lab]", help="A lab; it is run.")] = None,
    trace_file: TraceOption = None,
    number: Annotated[int, typer.Option("--number", "-n", help="Which one of the run.", min=1)] = 1,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="file", help="A key log, for a trace. A run has its own.")
    ] = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="With the values of master secret and keys.")
    ] = False,
    commands: CommandsOption = False,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Explain a handshake that was made: flights, messages, certificates, and how keys follow from secrets."""
    from dtls_emu.teach.handshake import explain_handshake
    from dtls_emu.teach.secrets import read_key_log

    found, own = gather(lab, trace_file, seed)
    secrets = own if keys is None else read_key_log(keys)
    document = explain_handshake(found, secrets, number=number, show_secrets=show_secrets)
    show(document, as_json=as_json, html=html, force=force, commands=commands)


@explain.command(epilog="Example: dtls-emu explain packet two-vms --from vm-a --to vm-b")
def packet(
    lab: Annotated[str, typer.Argument(metavar="lab", help="A lab file, or the name of a shipped lab.")],
    source: Annotated[str | None, typer.Option("--from", metavar="vm", help="The VM that sends.")] = None,
    destination: Annotated[
        str | None, typer.Option("--to", metavar="vm", help="A VM, or an IP address.")
    ] = None,
    payload: Annotated[str, typer.Option(help="Text to carry in a UDP datagram.")] = "hello",
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="With the key in the command that opens the record.")
    ] = False,
    commands: CommandsOption = False,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send a packet through a lab and show its bytes at every stage, and with encryption off beside it."""
    from dtls_emu.cli.flows import flow_of
    from dtls_emu.lab import load_lab
    from dtls_emu.teach.packet import explain_packet

    _, vm, address = flow_of(lab, source, destination)
    own = vm.address(address.version)
    assert own is not None  # `flow_of` has looked
    document = explain_packet(
        load_lab(lab), vm.name, own, address, payload.encode(), show_secrets=show_secrets
    )
    show(document, as_json=as_json, html=html, force=force, commands=commands or show_secrets)


@explain.command(epilog="Example: dtls-emu explain connection --html connection.html")
def connection(
    lab: Annotated[
        str, typer.Argument(metavar="[lab]", help="A lab with two VMs on two hosts whose flow is encrypted.")
    ] = "two-vms",
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="With the keys in the commands that open records.")
    ] = False,
    commands: CommandsOption = False,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a connection and show every byte of it: the illustrated DTLS 1.2 AES-256-GCM connection."""
    from dtls_emu.teach.connection import explain_connection

    document = explain_connection(lab, show_secrets=show_secrets)
    show(document, as_json=as_json, html=html, force=force, commands=commands)


def _octets(text: str) -> bytes:
    """Bytes from hexadecimal digits as tools print them.

    Raises:
        DtlsEmuError: they are none.
    """
    digits = re.sub(r"0x|[\s:,-]", "", text)
    if not digits or len(digits) % 2 or not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        wrong = next((each for each in digits if each not in "0123456789abcdefABCDEF"), None)
        said = f"`{wrong}` is no hexadecimal digit" if wrong else f"{len(digits)} digits are no whole bytes"
        raise DtlsEmuError(f"{said}; write the UDP payload in hexadecimal, such as 17fefd0001...")
    return bytes.fromhex(digits)


def _title(case: MtuCase) -> str:
    return f"{'encrypted' if case.encrypted else 'clear'}, IPv{case.underlay_version}"
