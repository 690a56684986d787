"""``dtls-emu schema``: the JSON Schema of a lab file."""

from __future__ import annotations

from dtls_emu.cli.output import print_json


__all__ = ["schema"]


def schema() -> None:
    """Print the JSON Schema of a lab file, for editors and other tools."""
    from dtls_emu.lab.schema import json_schema

    print_json(json_schema())
