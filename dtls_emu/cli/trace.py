"""``dtls-emu trace``: everything that happens in a run, an event a line."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import ForceOption, complain, say, width
from dtls_emu.cli.traces import TraceOption, gather
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.teach.story import Line


__all__ = ["trace"]

_INDENT: Final = 4
_LEAST_TEXT: Final = 30
"""Columns beside time, host and packet; with fewer the text goes below them."""


def trace(
    lab: Annotated[
        str | None, typer.Argument(metavar="[lab]", help="A lab file, or the name of a shipped lab.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--from", metavar="vm", help="Packets between this VM")
    ] = None,
    destination: Annotated[
        str | None, typer.Option("--to", metavar="vm", help="and this one, both ways.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="Packets of this traffic item, and answers to them.")
    ] = None,
    packet: Annotated[
        int | None,
        typer.Option(help="The whole path of one packet, and what its tunnel did meanwhile.", min=1),
    ] = None,
    trace_file: TraceOption = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="file", help="Write the trace as a file, all of it."),
    ] = None,
    force: ForceOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the trace's file instead of lines to read.")
    ] = False,
) -> None:
    """Tell everything that happens in a run, an event a line: time in ms, host, packet, what, and the rest of it.

    A trace's file is newline-delimited JSON in the shape of qlog; every command that takes --trace reads it. It has the
    bytes of every packet.
    """
    from dtls_emu.capture.trace_file import Trace, encode_trace
    from dtls_emu.files.results import ResultFile
    from dtls_emu.teach.selection import of_item, of_packet, of_pair
    from dtls_emu.teach.story import tell

    file = None if output is None else ResultFile(output, force=force)
    if sum((packet is not None, item is not None, bool(source or destination))) > 1:
        raise DtlsEmuError("--packet, --item and --from/--to each choose what to show; give one of them")
    found, _ = gather(lab, trace_file, seed)
    if file is not None:
        written = file.write("".join(f"{line}\n" for line in encode_trace(found)).encode())
        complain(f"trace of {len(found.events)} events: {written}")
    chosen = found.events
    if packet is not None:
        chosen = of_packet(found, packet)
    elif item is not None:
        chosen = of_item(found, item)
    elif source or destination:
        chosen = of_pair(found, source, destination)
    if as_json:
        say("\n".join(encode_trace(Trace(found.title, found.lab, found.seed, chosen))))
    elif file is None:
        say("\n".join(_lines([tell(event) for event in chosen])))


def _lines(lines: list[Line]) -> Iterator[str]:
    """Aligned columns; a long text goes on below itself."""
    from dtls_emu.cli.table import wrap

    hosts = max((len(line.host) for line in lines), default=0)
    times = max((len(f"{line.time * 1e3:.6f}") for line in lines), default=0)
    numbers = max((len(str(line.packet)) for line in lines), default=0)
    whats = max((len(line.what) for line in lines), default=0)
    room = width()
    for line in lines:
        number = str(line.packet or "")
        start = f"{line.time * 1e3:>{times}.6f}  {line.host:<{hosts}}  {number:>{numbers}}  {line.what:<{whats}}  "
        left = None if room is None else room - len(start)
        if left is None:
            yield f"{start}{line.text}"
        elif left >= _LEAST_TEXT:
            first, *more = wrap(line.text, left)
            yield f"{start}{first}"
            yield from (" " * len(start) + each for each in more)
        else:
            yield start.rstrip()
            assert room is not None
            yield from (" " * _INDENT + each for each in wrap(line.text, room - _INDENT))
