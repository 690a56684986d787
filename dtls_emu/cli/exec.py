"""``dtls-emu exec``: run a program where a VM is."""

from __future__ import annotations

import os
from typing import Annotated, Final

import typer

from dtls_emu.cli.output import complain


__all__ = ["exec_command"]

EXIT_CANNOT_RUN: Final = 126
EXIT_NOT_FOUND: Final = 127
"""As shells have it."""


def exec_command(
    vm: Annotated[
        str, typer.Argument(help="Name of a VM, or of a host, which sees the fabric.", show_default=False)
    ],
    command: Annotated[
        list[str], typer.Argument(help="The program and its arguments, after --.", show_default=False)
    ],
    run: Annotated[str, typer.Option("--run", help="Where several runs have such a VM.", metavar="RUN")] = "",
) -> None:
    """Run a program in the network namespace of a VM. Its terminal and exit code are those of the program.

    Only the network is the VM's: files, names (/etc/resolv.conf) and users are those of this machine. Needs root.
    """
    from dtls_emu.host.netns import entered
    from dtls_emu.host.run_queries import find_place
    from dtls_emu.host.run_state import require_root

    require_root()
    place = find_place(vm, run or None)
    with entered(place.namespace):
        try:
            os.execvp(command[0], command)  # noqa: S606 (what the user said)
        except OSError as error:
            complain(f"{command[0]}: {error.strerror}")
            code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN
    raise typer.Exit(code)
