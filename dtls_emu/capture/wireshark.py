"""How a capture is opened in Wireshark, so that what is inside its tunnels is shown as the VXLAN that it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final


__all__ = ["SCRIPT", "open_command"]

SCRIPT: Final = Path(__file__).with_name("wireshark.lua")
"""Registers dissectors: DTLS for the port of tunnels, and VXLAN for what is in it."""


def open_command(file: str | Path | None) -> str:
    """The one command that opens a capture; None: one that comes from a pipe.

    Returns:
        a command line for a shell.
    """
    source = ["-k", "-i", "-"] if file is None else [str(file)]
    return shlex.join(["wireshark", "-X", f"lua_script:{SCRIPT}", *source])
