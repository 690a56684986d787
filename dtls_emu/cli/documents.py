"""How an explanation is shown: as text, as JSON, or as a page in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtls_emu.cli.output import is_terminal, print_json, say, width


if TYPE_CHECKING:
    from dtls_emu.teach.document import Document


__all__ = ["CommandsOption", "HtmlOption", "show"]

CommandsOption = Annotated[
    bool, typer.Option("--commands", help="Also print what to type to find each value by yourself.")
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="file", help="Write a page of one file instead of text.")
]


def show(
    document: Document,
    *,
    as_json: bool,
    html: Path | None = None,
    force: bool = False,
    commands: bool = True,
) -> None:
    """Print a document, or write it to a file.

    Raises:
        DtlsEmuError: the file is there already, or cannot be written.
    """
    if html is not None:
        from dtls_emu.files.results import ResultFile
        from dtls_emu.teach.html import page

        say(f"Page: {ResultFile(html, force=force).write(page(document.title, document.blocks).encode())}")
    elif as_json:
        print_json(document.as_dict())
    else:
        from dtls_emu.teach.text import render_text

        colour = is_terminal() and not os.environ.get("NO_COLOR")
        say(render_text(document, width(), colour=colour, commands=commands).rstrip("\n"))
