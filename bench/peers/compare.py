"""Compare dtls-emu with other userspace tunnels, side by side, on this machine: ``python bench/peers/compare.py``.

Every peer runs in network namespaces of its own. What is made goes away at the end, also after Ctrl-C and after
a failure. README.md beside this file has the method and its limits.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dtls_emu.cli.output import ForceOption, print_table
from dtls_emu.cli.streams import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, run_command
from dtls_emu.files.results import ResultFile
from dtls_emu.measure.result import result_path
from side_by_side.comparison import Comparison
from side_by_side.dtls_emu_lab import DtlsEmu
from side_by_side.errors import PeerError
from side_by_side.ocserv import Ocserv
from side_by_side.openvpn import OpenVpn
from side_by_side.packages import TOOLS, install
from side_by_side.plan import METRICS, Plan
from side_by_side.report import tables
from side_by_side.veth import Veth
from side_by_side.wireguard_go import WireGuardGo


if TYPE_CHECKING:
    from side_by_side.peer import Peer


DTLS_EMU: Final = {
    peer.name: peer
    for peer in (DtlsEmu("ipsec-mb"), DtlsEmu("cryptography"), DtlsEmu("cryptography", encrypted=False))
}
PEERS: Final[dict[str, Peer]] = {
    **{peer.name: peer for peer in (Veth(), OpenVpn(), WireGuardGo(), Ocserv())},
    **DTLS_EMU,
}
GROUPS: Final = {"dtls-emu": tuple(DTLS_EMU)}
"""What ``--peers`` takes besides names."""

REFERENCES: Final = ("dtls-emu-ipsec-mb", "dtls-emu-cryptography", "openvpn")


def compare(
    peers: Annotated[
        str, typer.Option(help=f"Of {', '.join((*PEERS, *GROUPS))}; by default all.", metavar="NAME,...")
    ] = "",
    metrics: Annotated[
        str, typer.Option(help=f"Of {', '.join(METRICS)}; by default all.", metavar="NAME,...")
    ] = "",
    rounds: Annotated[int, typer.Option(help="How often everything is measured.", min=1)] = 5,
    seconds: Annotated[
        float, typer.Option(help="Length of each TCP trial and each UDP flood.", min=0.5)
    ] = 3.0,
    reference: Annotated[
        str,
        typer.Option(
            help=f"The peer that others are compared with; by default the first that is up of {', '.join(REFERENCES)}."
        ),
    ] = "",
    congestion: Annotated[str, typer.Option(help="TCP congestion control.")] = "cubic",
    seed: Annotated[int, typer.Option(help="Of the random order.")] = 1,
    json: Annotated[
        str, typer.Option(help="Result file; by default one named by the time, in results/.", metavar="FILE")
    ] = "",
    force: ForceOption = False,
    keep: Annotated[
        str, typer.Option(help="Keep logs, and throw-away keys, in this new folder.", metavar="FOLDER")
    ] = "",
) -> None:
    """Measure tunnels side by side: TCP, UDP packet rates, round-trip times and CPU time."""
    chosen = _chosen(peers, tuple(PEERS), GROUPS)
    plan = Plan(rounds, seconds, _chosen(metrics, METRICS, {}), congestion, seed)
    references = _chosen(reference, REFERENCES, {name: (name,) for name in PEERS})
    if os.geteuid():
        _refuse("namespaces and TUN devices need root")
    if keep and Path(keep).exists():
        _refuse(f"--keep: {keep} is there already")
    default = result_path(what="peers")
    file = ResultFile(json or default, force=force, make_folders=not json, avoid_others=not json)
    comparison = Comparison([PEERS[name] for name in chosen], plan, _say)
    interrupted, failed = False, False
    try:
        install(TOOLS, _say)
        with tempfile.TemporaryDirectory(prefix="dtls-emu-peers-") as folder, ExitStack() as stack:
            try:
                comparison.bring_up(Path(keep or folder).resolve(), stack)
                comparison.measure(references)
            except KeyboardInterrupt:
                interrupted = True
                _say("interrupted: taking down what is up")
            finally:
                _ignore_interrupts()
    except PeerError as error:
        # Taking something down may fail as well, and the figures are none the worse for it.
        failed = True
        _say(f"compare: {error}")
    result = comparison.result(interrupted=interrupted)
    if result is not None:
        saved = file.save(result.encode())
        for title, columns, rows in tables(result):
            print_table(title, columns, rows)
        if saved.trouble:
            failed = True
            _say(f"compare: {saved.trouble}")
        else:
            typer.echo(f"Result file: {saved.path}")
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _chosen(text: str, names: tuple[str, ...], groups: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names that an option lists, in its order; all of ``names`` when it is empty."""
    if not text:
        return names
    found: list[str] = []
    for word in text.split(","):
        if word not in names and word not in groups:
            _refuse(f"no {word!r}; write names such as {','.join(dict.fromkeys((*names, *groups)))}")
        found += groups.get(word, (word,))
    return tuple(dict.fromkeys(found))


def _ignore_interrupts() -> None:
    """From here on all is taken down, and a second Ctrl-C would leave that half done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse(why: str) -> None:
    _say(f"compare: {why}")
    raise typer.Exit(EXIT_USAGE)


if __name__ == "__main__":
    sys.exit(run_command(lambda: typer.run(compare)))
