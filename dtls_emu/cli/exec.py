"""``dtls-emu exec``: run a program where a VM is."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from dtls_emu.cli.output import complain


if TYPE_CHECKING:
    from dtls_emu.deploy.queries import Place


__all__ = ["EXEC_SETTINGS", "exec_command"]

EXIT_CANNOT_RUN: Final = 126
EXIT_NOT_FOUND: Final = 127
"""As shells have it."""

EXEC_SETTINGS: Final = {"allow_interspersed_args": False}
"""What follows the name of the VM is the program's, options too."""

RUN_OPTION: Final = "--run"


def exec_command(
    context: typer.Context,
    vm: Annotated[
        str, typer.Argument(help="Name of a VM, or of a host, which sees the fabric.", show_default=False)
    ],
    command: Annotated[
        list[str],
        typer.Argument(help="The program and its arguments; -- may stand before it.", show_default=False),
    ],
    run: Annotated[
        str, typer.Option(RUN_OPTION, help="Where several runs have such a VM.", metavar="RUN")
    ] = "",
) -> None:
    """Run a program in the network namespace of a VM. Its terminal and exit code are those of the program.

    Only the network is the VM's: files, names (/etc/resolv.conf) and users are those of this machine. In a run that
    was brought up without root, the program sees this user as root: of the VM's network, and of nothing else.
    """
    from dtls_emu.deploy.inside import must_enter
    from dtls_emu.deploy.queries import find_place
    from dtls_emu.machine.netns import entered

    run, program = _split(context, run, command)
    place = find_place(vm, run or None)
    if must_enter():
        _become_inside(place, program)
    with entered(place.namespace):
        if not program[0]:
            complain("the name of the program is empty")
            raise typer.Exit(EXIT_NOT_FOUND)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and a program would inherit that
        try:
            os.execvp(program[0], program)  # noqa: S606 (what the user said)
        except OSError as error:
            complain(f"{program[0]}: {error.strerror}")
            code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN
    raise typer.Exit(code)


def _become_inside(place: Place, program: list[str]) -> NoReturn:
    """Be the program, in the namespaces of its run; see :mod:`dtls_emu.machine.entering` for how that fails."""
    from dtls_emu.deploy.queries import find_door
    from dtls_emu.deploy.state import no_such_run, read_state
    from dtls_emu.machine.entering import entering_command
    from dtls_emu.paths import run_directory

    state = read_state(run_directory(place.run))
    if state is None:
        raise no_such_run(place.run)
    inside = entering_command(find_door(state), place.namespace, program)
    os.execv(inside[0], inside)  # noqa: S606 (our own program)


def _split(context: typer.Context, run: str, words: list[str]) -> tuple[str, list[str]]:
    """The run and the program, from all that follows the name of the VM: no program's name begins with a hyphen."""
    rest = list(words)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        word = rest.pop(0)
        if word == "--":
            break
        name, is_given, value = word.partition("=")
        if word in context.help_option_names:
            typer.echo(context.get_help())
            raise typer.Exit
        if name != RUN_OPTION:
            raise typer.BadParameter(
                f"{word}: no such option; write -- before a program of this name", context
            )
        if not is_given and not rest:
            raise typer.BadParameter(f"{RUN_OPTION} needs the name of a run", context)
        run = value if is_given else rest.pop(0)
    if not rest:
        raise typer.BadParameter("which program? Write it behind the name of the VM", context)
    return run, rest
