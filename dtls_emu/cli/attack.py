"""``dtls-emu attack``: attacks on purpose."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated, Final

import typer

from dtls_emu.cli.documents import HtmlOption, show
from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table
from dtls_emu.errors import DtlsEmuError


__all__ = ["attack"]

EXIT_NOT_AS_EXPECTED: Final = 1
LIST: Final = "list"


def attack(
    name: Annotated[str, typer.Argument(metavar="name", help=f"Which one; `{LIST}` says which there are.")],
    lab: Annotated[
        str, typer.Argument(metavar="[lab]", help="A lab file, or the name of a shipped lab.")
    ] = "two-vms",
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="file", help="Write what happened as a trace.")
    ] = None,
    html: HtmlOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Carry out an attack on a lab's simulated fabric, and say what stopped it, or what let it through.

    It is tried again under settings in which the opposite is expected, where there are some. Exits 0 when it was stopped,
    or works under these settings and did; else 1.
    """
    from dtls_emu.capture.trace_file import encode_trace
    from dtls_emu.files.results import ResultFile
    from dtls_emu.lab import load_lab
    from dtls_emu.teach.attacks import ATTACKS
    from dtls_emu.teach.attacks import attack as carry_out

    if name == LIST:
        rows = [[each.name, each.summary, ", ".join(each.musts)] for each in ATTACKS.values()]
        if as_json:
            print_json([dict(zip(("name", "summary", "musts"), row, strict=True)) for row in rows])
        else:
            print_table("Attacks", ["name", "what the attacker does", "about"], rows)
        return
    if name not in ATTACKS:
        from dtls_emu.lab.problems import suggest

        raise DtlsEmuError(f"no attack is called {name}; {suggest(name, ATTACKS)}")
    file = None if trace is None else ResultFile(trace, force=force)
    report = carry_out(name, load_lab(lab))
    show(report.document, as_json=as_json, html=html, force=force)
    if file is not None:
        file.write("".join(f"{line}\n" for line in encode_trace(report.trace)).encode())
    if not report.as_expected:
        complain(f"{name}: not what was expected under these settings")
        raise typer.Exit(EXIT_NOT_AS_EXPECTED)
