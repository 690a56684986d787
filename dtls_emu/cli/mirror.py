"""``dtls-emu mirror``: what a virtual network TAP of one VM sends to its collector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtls_emu.cli.captures import refuse_inputs
from dtls_emu.cli.output import ForceOption, JsonOption, complain, print_json, say
from dtls_emu.cli.progress import progress
from dtls_emu.cli.streams import EXIT_FAILED
from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["mirror"]

OutputOption = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="file", help="Where to write it, as pcapng.", show_default=False),
]

_NANOSECONDS = 1_000_000_000


def mirror(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab; it is run.")],
    output: OutputOption,
    source: Annotated[str, typer.Option("--from", help="The VM that is mirrored.", metavar="VM")],
    collector: Annotated[
        str, typer.Option("--to", help="The VM or load balancer that collects.", metavar="NAME")
    ],
    seed: Annotated[int | None, typer.Option(help="Instead of the lab's.", min=0)] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a lab with one VM mirrored (virtual network TAP), and write what its collector gets, for Wireshark.

    Each packet that the VM sends or gets, as a whole Ethernet frame in VXLAN on UDP port 4789, from the VM's address to
    the collector's. It counts in none of the VM's counters, and changes nothing of the run. What the vendor refuses is
    refused: VMs of an encrypted network, collectors that are in no peered network of the region, and others.

    Packets on their way to the internet have the VM's own address; the vendor's have that of its NAT gateway.
    Simulated runs only.
    """
    from dtls_emu.capture.pcapng import Interface, enhanced_packet, interface_description, section_header
    from dtls_emu.files.results import ResultFile
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.pcap import LINKTYPE_ETHERNET
    from dtls_emu.nic.mirror import Mirror
    from dtls_emu.simulation.simulation import simulate

    loaded = load_lab(lab)
    topology = compile_lab(loaded)
    blocks: list[bytes] = []
    interface = Interface(
        f"{collector}: mirror of {source}", "what a virtual network TAP sends", LINKTYPE_ETHERNET
    )
    tap = Mirror(
        topology,
        _vm(topology, "--from", source),
        _vm(topology, "--to", collector),
        lambda time, packet: blocks.append(enhanced_packet(0, round(time * _NANOSECONDS), packet)),
    )
    refuse_inputs(lab, loaded, [("-o", output)])
    file = ResultFile(output, force=force)
    with progress() as report:
        simulate(loaded, seed=seed, observer=tap, progress=report)
    head = section_header(application="dtls-emu") + interface_description(interface)
    trouble = file.save(head + b"".join(blocks)).trouble
    if trouble:
        complain(trouble)
        raise typer.Exit(EXIT_FAILED)
    if as_json:
        print_json(
            {
                "file": str(output),
                "source": source,
                "collector": collector,
                "mirrored": tap.mirrored,
                "left_out": tap.left_out,
            }
        )
        return
    left_out = f"; {tap.left_out:,} IPv6 packets are not mirrored" if tap.left_out else ""
    say(f"{tap.mirrored:,} packets of {source} mirrored to {collector}: {output}{left_out}")


def _vm(topology: Topology, option: str, name: str) -> Vm:
    from dtls_emu.lab.problems import suggest

    vm = topology.vms.get(name)
    if vm is None:
        raise DtlsEmuError(f"{option} {name}: no VM of this lab; {suggest(name, topology.vms)}")
    return vm
