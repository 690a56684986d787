"""``dtls-emu schema``: the JSON Schema of a lab file, or of a blob of flow logs."""

from __future__ import annotations

from typing import Annotated

import typer

from dtls_emu.cli.output import print_json


__all__ = ["schema"]


def schema(
    flow_log: Annotated[
        bool, typer.Option("--flow-log", help="Of a blob of virtual network flow logs, version 4.")
    ] = False,
) -> None:
    """Print the JSON Schema of a lab file, for editors and other tools."""
    if flow_log:
        from dtls_emu.flow_logs.schema import flow_log_schema

        print_json(flow_log_schema())
        return
    from dtls_emu.lab.schema import json_schema

    print_json(json_schema())
