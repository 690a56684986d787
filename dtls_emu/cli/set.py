"""``dtls-emu set``: change a lab while it is up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dtls_emu.cli.output import JsonOption, print_json
from dtls_emu.errors import DtlsEmuError


__all__ = ["set_command"]


def set_command(
    target: Annotated[
        str,
        typer.Argument(
            help="A virtual network, a VM, a link by its hosts (host-1-host-2; 'host-1->host-2' for one direction), "
            "link_defaults or overrides.",
            show_default=False,
        ),
    ],
    values: Annotated[
        list[str],
        typer.Argument(help="What to set, as key=value in the lab file's spelling.", show_default=False),
    ],
    run: Annotated[
        str, typer.Option("--run", help="Where several runs have such a target.", metavar="RUN")
    ] = "",
    socket: Annotated[
        str,
        typer.Option("--socket", help="Control socket of one card, which alone is told.", metavar="PATH"),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Change a lab that is up. What is not named stays as it is; `key=` is the default again.

    Every card takes it at once; tunnels stay up, and flows are decided again at their next packet.

    With --socket one card alone is told, whoever started it, and nothing is written down. In a container:

    podman exec host-1 dtls-emu set --socket /run/card/dtls-emu/two-vms/host-1.sock host-1-host-2 loss=1%
    """
    from dtls_emu.deploy.changes import change_host, change_run, find_run

    if run and socket:
        raise DtlsEmuError("either --run, for all cards of a run, or --socket, for one card")
    if socket:
        changes = change_host(socket, target, values)
    else:
        run = run or find_run(target)
        changes = change_run(run, target, values)
    if as_json:
        told = {"socket": socket} if socket else {"run": run}
        print_json({**told, "changes": [asdict(change) for change in changes]})
    else:
        typer.echo(f"{socket or run}: {target}: {' '.join(values)}")
