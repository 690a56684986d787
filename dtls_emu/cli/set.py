"""``dtls-emu set``: change a lab while it is up."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dtls_emu.cli.output import JsonOption, print_json, say
from dtls_emu.errors import DtlsEmuError
from dtls_emu.files.reading import read_file


__all__ = ["set_command"]


MAX_BODY: Final = 1_000_000
"""Bytes of the body of a PUT: a virtual network with 3,000 subnets has half of it."""


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
        list[str] | None,
        typer.Argument(help="What to set, as key=value in the lab file's spelling.", show_default=False),
    ] = None,
    put: Annotated[
        str,
        typer.Option(
            "--put",
            help="Body of a PUT of a virtual network, as the cloud's API takes it: what it leaves out is off.",
            metavar="FILE",
        ),
    ] = "",
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
    from dtls_emu.assembly.targets import waiting_vms
    from dtls_emu.deploy.changes import change_host, change_run, find_run

    if run and socket:
        raise DtlsEmuError("either --run, for all cards of a run, or --socket, for one card")
    if bool(values) == bool(put):
        raise DtlsEmuError("write what to set, as key=value; or --put FILE")
    words = values or []
    body = _read_body(put) if put else None
    if socket:
        changes = change_host(socket, target, words, put=body)
    else:
        run = run or find_run(target)
        changes = change_run(run, target, words, put=body)
    if as_json:
        told = {"socket": socket} if socket else {"run": run}
        print_json({**told, "changes": [asdict(change) for change in changes]})
    else:
        typer.echo(f"{socket or run}: {target}: {' '.join(words) or put}")
        waiting = waiting_vms(changes)
        if waiting:
            say(
                f"note: {', '.join(waiting)}: not encrypted before it is stopped and started: `dtls-emu set VM state=stopped`, "
                "then state=running",
                err=True,
            )


def _read_body(path: str) -> Any:
    try:
        return json.loads(read_file(Path(path), MAX_BODY))
    except OSError as error:
        raise DtlsEmuError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DtlsEmuError(f"{path}: no JSON: {error}") from None
