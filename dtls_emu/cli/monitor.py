"""``dtls-emu monitor``: latency and reachability before, during and after a change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, print_table, say
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.measure.monitor import Change, Phase


__all__ = ["monitor"]

SvgOption = Annotated[Path | None, typer.Option("--svg", help="Write a plot of all probes.", metavar="FILE")]


def monitor(
    lab: Annotated[
        str, typer.Argument(help="A lab file, or the name of a shipped lab; its traffic is left out.")
    ],
    pair: Annotated[
        list[str], typer.Option(help="Who probes whom; repeatable.", metavar="VM:VM", show_default=False)
    ],
    every: Annotated[str, typer.Option(help="Between two probes of a pair.", metavar="TIME")] = "100ms",
    duration: Annotated[str, typer.Option("--for", help="How long.", metavar="TIME")] = "10s",
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="A change at a time, as `dtls-emu set` makes it, or `restart HOST`; repeatable. Such as '3s prod "
            "encryption.enabled=true'.",
            metavar="'TIME CHANGE'",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    svg: SvgOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Probe pairs of VMs of a simulated lab while it is changed: who reaches whom, how fast, and encrypted or not.

    One echo request each time, on the lab's virtual clock. The table has a row for each pair and each time between two
    changes.
    """
    from dtls_emu.files.results import ResultFile
    from dtls_emu.lab import load_lab
    from dtls_emu.measure.monitor import monitor as run_monitor
    from dtls_emu.measure.monitor_plot import monitor_svg

    loaded = load_lab(lab)
    pairs = [_pair(each) for each in pair]
    file = None if svg is None else ResultFile(svg, force=force)
    with progress() as report:
        found = run_monitor(
            loaded,
            pairs,
            every=_seconds("--every", every),
            duration=_seconds("--for", duration),
            changes=[_change(each) for each in at or ()],
            seed=seed,
            progress=report,
        )
    if as_json:
        print_json(found.as_dict())
    else:
        print_table(
            f"{found.lab}: {len(found.probes):,} probes in {found.duration:g} s",
            ("pair", "from", "since", ">sent", ">lost", ">median RTT", ">slowest", ">longest gap", "how"),
            [_row(each) for each in found.phases()],
            spare=["slowest", "longest gap"],
        )
    if file is not None:
        trouble = file.save(monitor_svg(found).encode()).trouble
        complain(trouble or f"written: {svg}")
        if trouble:
            raise typer.Exit(EXIT_FAILED)
    if not as_json and any(each.round_trip is None for each in found.probes):
        say("A probe is lost when it has no answer within a second.")


def _row(phase: Phase) -> tuple[str, ...]:
    return (
        f"{phase.source} to {phase.destination}",
        f"{phase.begin:g} s",
        phase.label,
        str(phase.sent),
        str(phase.sent - phase.answered),
        _milliseconds(phase.median),
        _milliseconds(phase.slowest),
        f"{phase.longest_gap:g} s" if phase.longest_gap else "-",
        "\n".join(f"{how} {count}" for how, count in phase.how.items()),
    )


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.3f} ms"


def _pair(text: str) -> tuple[str, str]:
    source, found, destination = text.partition(":")
    if not (source and found and destination):
        raise DtlsEmuError(
            f"--pair {text}: no two VMs; write them with a colon in between, such as vm-a:vm-b"
        )
    return source, destination


def _seconds(option: str, text: str) -> float:
    from dtls_emu.lab.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise DtlsEmuError(f"{option}: {error}") from None


def _change(text: str) -> Change:
    from dtls_emu.measure.monitor import Change

    time, *words = text.split() or [""]
    if len(words) < 2:
        raise DtlsEmuError(
            f"--at {text!r}: no change; write one such as '3s vm-b accelerated_networking=false'"
        )
    return Change(_seconds("--at", time), words[0], tuple(words[1:]))
