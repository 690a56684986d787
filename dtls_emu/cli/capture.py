"""``dtls-emu capture``: a run as one capture for Wireshark, which opens what the tunnels carried."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer

from dtls_emu.cli.captures import CaptureTarget, refuse_inputs
from dtls_emu.cli.live_capture import capture_run
from dtls_emu.cli.output import ForceOption, complain
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.cli.traces import TraceOption, gather
from dtls_emu.errors import DtlsEmuError


__all__ = ["capture"]


def capture(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="file", help="Where to write it, as pcapng; - for stdout."),
    ],
    lab: Annotated[
        str | None,
        typer.Argument(metavar="[lab]", help="A lab file, or the name of a shipped lab; it is run."),
    ] = None,
    trace_file: TraceOption = None,
    live: Annotated[
        str | None,
        typer.Option("--live", metavar="run", help="Capture a run that is up, until Ctrl-C or its end."),
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys", metavar="file", help="A key log, for a trace. A run has its own.")
    ] = None,
    no_secrets: Annotated[
        bool,
        typer.Option("--no-secrets", help="What an eavesdropper has: links and internet, nothing to open."),
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    force: ForceOption = False,
) -> None:
    """Run a lab and write everything that was seen anywhere to one file for Wireshark, which it opens decrypted.

    Of a lab that is up: dtls-emu capture --live two-vms -o - | wireshark -k -i -

    An interface for each end of each link: what left there, and what came in: damaged, twice, late, or not at all.
    One for the inside of each VM, and one for the internet. Comments say what was decided and why packets were dropped
    (filter: frame.comment). The secrets of each handshake stand before the first record that they open.

    The command that opens it is printed: it brings Wireshark to show what is inside the tunnels.

    With --live Python carries all packets of the run while it is captured, so they are slower. Tunnels that are up get
    fresh keys, because nobody has the secrets of the old ones any more; not with --no-secrets. What could not be shown
    is counted, and stands in the statistics of the interfaces at the end of the file.
    """
    if live is not None:
        if lab is not None or trace_file is not None or keys is not None or seed is not None:
            raise DtlsEmuError("--live captures a run that is up: without LAB, --trace, --keys and --seed")
        capture_run(live, CaptureTarget(output, force=force, secrets=not no_secrets), opens=not no_secrets)
        return
    from dtls_emu.lab import load_lab
    from dtls_emu.teach.secrets import read_key_log

    if keys is not None and no_secrets:
        raise DtlsEmuError("--keys has secrets, and --no-secrets wants none; give one of them")
    if lab is not None:
        refuse_inputs(lab, load_lab(lab), [("-o", output)])
    for path in (trace_file, keys):
        if path is not None and path.exists() and output.exists() and output.samefile(path):
            raise DtlsEmuError(f"-o {output} is read by this command, too; name another file")
    target = CaptureTarget(output, force=force, secrets=not no_secrets)
    logged = [] if keys is None else read_key_log(keys)
    trace, own = gather(lab, trace_file, seed)
    if trouble := target.write(trace, [*own, *logged]):
        complain(trouble)
        raise typer.Exit(EXIT_FAILED)
