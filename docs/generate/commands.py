"""The command line, from the application itself: what ``--help`` says, as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer.main

from dtls_emu.cli.app import app
from generate.tables import code, prose, table


if TYPE_CHECKING:
    from collections.abc import Iterator


__all__ = ["command_line"]

PROGRAM: Final = "dtls-emu"


def command_line() -> str:
    """A section for each command, in alphabetical order; commands of a group stand in its place."""
    return "\n".join(
        _section(name, command) for name, command in sorted(_commands(typer.main.get_command(app)))
    )


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield f"{prefix}{name}", command
            yield from _commands(command, f"{prefix}{name} ")
        elif not command.hidden:
            yield f"{prefix}{name}", command


def _section(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    context.info_name = f"{PROGRAM} {name}"
    usage = " ".join([PROGRAM, name, *command.collect_usage_pieces(context)])
    lines = [f"(command-{name.replace(' ', '-')})=", f"## {name}", "", f"```text\n{usage}\n```", ""]
    lines += [prose(part) + "\n" for part in (command.help or "").split("\n\n")]
    rows = [each.get_help_record(context) for each in command.params if not each.hidden]
    if rows:
        lines.append(
            table(["argument or option", "meaning"], [[code(spelled), prose(told)] for spelled, told in rows])
        )
    if command.epilog:
        lines.append(f"Example: {code(command.epilog.removeprefix('Example: '))}\n")
    return "\n".join(lines)
