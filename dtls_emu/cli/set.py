"""``dtls-emu set``: change a lab while it is up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dtls_emu.cli.output import JsonOption, print_json


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
    as_json: JsonOption = False,
) -> None:
    """Change a lab that is up. What is not named stays as it is; `key=` is the default again.

    Every card takes it at once; tunnels stay up, and flows are decided again at their next packet. Needs root.
    """
    from dtls_emu.host.changes import change_run, find_run
    from dtls_emu.host.run_state import require_root

    require_root()
    name = run or find_run(target)
    changes = change_run(name, target, values)
    if as_json:
        print_json({"run": name, "changes": [asdict(change) for change in changes]})
    else:
        typer.echo(f"{name}: {target}: {' '.join(values)}")
