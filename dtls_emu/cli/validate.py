"""``dtls-emu validate``: is a lab file right, and if not, all that is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import JsonOption, complain, print_json, say
from dtls_emu.errors import LabFileError


if TYPE_CHECKING:
    from dtls_emu.lab import Lab


__all__ = ["validate"]

EXIT_WRONG: Final = 2


def validate(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")],
    as_json: JsonOption = False,
) -> None:
    """Check a lab file without running it.

    Every problem is said at once, with file, line, key and what to write instead. Exits 2 when there is one.
    """
    from dtls_emu.lab import load_lab
    from dtls_emu.lab.kernel_names import socket_trouble
    from dtls_emu.lab.problems import MAX_PROBLEMS
    from dtls_emu.lab.profile_checks import assumptions

    try:
        loaded = load_lab(lab)
    except LabFileError as error:
        if as_json:
            print_json({"valid": False, "problems": error.problems})
        else:
            for problem in error.problems:
                say(problem, err=True)
            count = len(error.problems)
            more = count > MAX_PROBLEMS
            complain(f"{lab} has {'more than ' if more else ''}{_count(count - more, 'problem')}")
        raise typer.Exit(EXIT_WRONG) from None
    trouble = socket_trouble(loaded.name, loaded.hosts)
    notes = [f"`up` cannot bring it up under its own name: {trouble}"] if trouble else []
    notes += assumptions(loaded)
    if as_json:
        known = {"name": loaded.name, "profile": loaded.profile, **_counts(loaded)}
        print_json({"valid": True, "problems": [], "notes": notes, **known})
    else:
        nouns = zip(_counts(loaded).values(), _NOUNS, strict=True)
        told = ", ".join(_count(number, noun) for number, noun in nouns if number or noun != "endpoint")
        say(f"{loaded.name}: OK: {told}")
        for note in notes:
            say(f"note: {note}", err=True)


_NOUNS: Final = ("virtual network", "host", "VM", "endpoint", "link", "traffic item", "expectation")


def _counts(lab: Lab) -> dict[str, int]:
    return {
        "virtual_networks": len(lab.virtual_networks),
        "hosts": len(lab.hosts),
        "vms": len(lab.vms),
        "endpoints": len(lab.endpoints),
        "links": len(lab.links),
        "traffic": len(lab.traffic),
        "expectations": sum(item.expect is not None for item in lab.traffic),
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
