"""``dtls-emu explain``: the rules of the emulator, with figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import JsonOption, print_json, print_table, print_text
from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.overhead import MAX_PACKET
from dtls_emu.teach.mtu import DEFAULT_INNER, explain_mtu, remarks


if TYPE_CHECKING:
    from dtls_emu.teach.mtu import MtuCase


__all__ = ["explain"]

LONGEST: Final = MAX_PACKET
"""Bytes of the longest IP packet (RFC 791 3.1)."""

explain = typer.Typer(no_args_is_help=True, help="Explain what fits a path, and who is encrypted and why.")


@explain.command(epilog="Example: dtls-emu explain mtu --link-mtu 1500")
def mtu(
    link_mtu: Annotated[
        int, typer.Option(help="Largest outer IP packet of a link, in bytes.", min=1, max=LONGEST)
    ] = DEFAULT_LINK_MTU,
    inner: Annotated[
        int, typer.Option(help="Length of a VM's IP packet, in bytes.", min=1, max=LONGEST)
    ] = DEFAULT_INNER,
    as_json: JsonOption = False,
) -> None:
    """Show what every layer costs, what fits, and what ICMP says when it does not."""
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


@explain.command(epilog="Example: dtls-emu explain decision")
def decision(as_json: JsonOption = False) -> None:
    """Show the decision table: the first row that applies says what happens to a flow."""
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


def _title(case: MtuCase) -> str:
    return f"{'encrypted' if case.encrypted else 'clear'}, IPv{case.underlay_version}"
