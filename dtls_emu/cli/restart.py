"""``dtls-emu restart``: start the card of one host anew."""

from __future__ import annotations

from typing import Annotated

import typer


__all__ = ["restart"]


def restart(
    host: Annotated[str, typer.Argument(help="Name of the host.", show_default=False)],
    run: Annotated[
        str, typer.Option("--run", help="Where several runs have such a host.", metavar="RUN")
    ] = "",
) -> None:
    """Start the card of a host anew, whether it runs, has ended or was killed.

    VMs and cables stay. Its tunnels are built again; peers let go of the old ones. What the new card needs is written
    first: where that cannot be, the old one runs on.
    """
    from dtls_emu.deploy.queries import find_place
    from dtls_emu.deploy.runs import restart_card

    name = run or find_place(host).run
    restart_card(name, host)
    typer.echo(f"{name}: the card of {host} is ready")
