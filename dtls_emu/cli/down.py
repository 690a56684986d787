"""``dtls-emu down``: end a run and remove what it made, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dtls_emu.cli.output import JsonOption, complain, print_json
from dtls_emu.errors import DtlsEmuError


__all__ = ["down"]

EXIT_LEFT: int = 1
"""Something could not be removed."""


def down(
    run: Annotated[str, typer.Argument(help="Name of the run; may be left out when there is one.")] = "",
    every: Annotated[bool, typer.Option("--all", help="End all runs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """End a run: cards, programs in its VMs, interfaces, namespaces, credentials.

    A run records each thing before it makes it, and only what is recorded is removed. So this works after anything
    was killed, when the disk is full, and again when nothing is left. What a damaged record does not tell is named and
    left. Hosts that were started by hand are no run. Exits 1 when something cannot be removed. A run belongs to the
    user who gave `up`: root's needs root.
    """
    from dtls_emu.deploy.queries import only_run
    from dtls_emu.deploy.runs import stop_run
    from dtls_emu.deploy.state import run_names, started_by_hand
    from dtls_emu.paths import run_directory

    if run and every:
        raise DtlsEmuError("either the name of a run, or --all")
    there = run_names()
    wanted = [run] if run else there if every or not there else [only_run()]
    outcomes: dict[str, dict[str, Any]] = {}
    for name in wanted:
        if name not in there:
            notes = ["there is no such run: nothing to do"]
            by_hand = [] if "/" in name or name in {".", ".."} else started_by_hand(run_directory(name))
            notes += [f"{path} is of a host that was started by hand" for path in by_hand]
            outcomes[name] = {"removed": False, "notes": notes, "error": ""}
            continue
        try:
            outcomes[name] = {"removed": True, "notes": stop_run(name), "error": ""}
        except DtlsEmuError as error:
            outcomes[name] = {"removed": False, "notes": [], "error": str(error)}
    if as_json:
        print_json({"runs": outcomes})
    else:
        _print(outcomes)
    if any(outcome["error"] for outcome in outcomes.values()):
        raise typer.Exit(EXIT_LEFT)


def _print(outcomes: dict[str, dict[str, Any]]) -> None:
    from dtls_emu.deploy.state import nothing_is_up

    if not outcomes:
        typer.echo(nothing_is_up())
    for name, outcome in outcomes.items():
        for note in outcome["notes"]:
            typer.echo(f"{name}: {note}")
        if outcome["error"]:
            complain(f"{name}: {outcome['error']}")
        elif outcome["removed"]:
            typer.echo(f"{name} is down")
