"""``dtls-emu routes``: the effective routes of a VM's NIC, as the portal prints them."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Any

import typer

from dtls_emu.cli.output import JsonOption, print_json, print_table, say
from dtls_emu.errors import DtlsEmuError


__all__ = ["routes"]


def routes(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")],
    vm: Annotated[str, typer.Option("--vm", help="The VM or endpoint whose NIC it is about.")],
    to: Annotated[str | None, typer.Option("--to", help="Which route an address takes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print effective routes: source, state, prefixes, next hop, as the portal does.

    A prefix that several routes have is Active once: a user's route before a connected group, that before the network
    and its peers, those before what is behind a gateway. The longest prefix decides. Encryption is no part of routes.
    """
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.problems import suggest

    topology = compile_lab(load_lab(lab))
    if vm not in topology.vms:
        raise DtlsEmuError(f"--vm {vm}: no VM of this lab; {suggest(vm, topology.vms)}")
    end = topology.vms[vm]
    rows: list[dict[str, Any]] = [
        {
            "source": each.source,
            "state": each.state,
            "address_prefix": str(each.prefixes[0]),
            "next_hop_type": str(each.next_hop),
            "next_hop_ip_address": each.next_hop_address or None,
            "user_defined_route_name": each.name or None,
            "leads_to": each.leads_to or None,
        }
        for each in topology.routing.effective(end)
    ]
    taken: dict[str, Any] | None = None
    if to is not None:
        try:
            address = ip_address(to)
        except ValueError:
            raise DtlsEmuError(f"--to {to}: no IP address; write one such as 10.0.0.4") from None
        hop = topology.routing.hop_of(end, address)
        taken = {"to": str(address), "next_hop_type": str(hop.next_hop), "leads_to": hop.owner or None}
    if as_json:
        print_json({"vm": vm, "routes": rows, **({} if taken is None else {"taken": taken})})
        return
    print_table(
        f"Effective routes of {vm}",
        ["source", "state", "address prefix", "next hop type", "next hop IP", "route name", "leads to"],
        [
            [
                row["source"],
                row["state"],
                row["address_prefix"],
                row["next_hop_type"],
                row["next_hop_ip_address"] or "-",
                row["user_defined_route_name"] or "-",
                row["leads_to"] or "-",
            ]
            for row in rows
        ],
        spare=["route name", "next hop IP"],
    )
    if taken is not None:
        where = f", {taken['leads_to']}" if taken["leads_to"] else ""
        say(f"{taken['to']}: {taken['next_hop_type']}{where}")
