"""The commands: parse, call, print. No logic that a notebook would miss.

One file a command. Floors that import Numba are imported inside a command, never at the top of its file, so
that ``dtls-emu --help`` and ``dtls-emu validate`` start at once.
"""

from dtls_emu.cli.app import main


__all__ = ["main"]
