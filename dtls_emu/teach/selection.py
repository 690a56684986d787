"""Which events of a trace are about what somebody asks for: a pair of VMs, a traffic item, one packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import Classified, Delivered, Offered, PacketEvent
from dtls_emu.simulation.accounts import forward_mark, reverse_of
from dtls_emu.teach.story import packet_events


if TYPE_CHECKING:
    from dtls_emu.capture.trace_file import Trace
    from dtls_emu.events import Event


__all__ = ["SelectionError", "of_item", "of_packet", "of_pair"]


class SelectionError(DtlsEmuError):
    """A trace has nothing of what was asked for. Says what there is."""


def of_packet(trace: Trace, packet: int) -> list[Event]:
    """One packet's whole path.

    Raises:
        SelectionError: no packet has that number.
    """
    found = packet_events(trace.events, packet)
    if not any(isinstance(event, PacketEvent) for event in found):
        last = max(
            (event.packet + event.count - 1 for event in trace.events if isinstance(event, Offered)),
            default=0,
        )
        said = f"packets have the numbers 1 to {last}" if last else "it has no numbered packets"
        raise SelectionError(f"--packet {packet}: no packet of this trace; {said}")
    return found


def of_item(trace: Trace, name: str) -> list[Event]:
    """What happened to the packets of a traffic item, and to the answers to them.

    Raises:
        SelectionError: no item has that name.
    """
    items = [str(item["name"]) for item in trace.lab.get("traffic", [])]
    if name not in items:
        raise SelectionError(
            f"--item {name}: no traffic item of this lab; there are {', '.join(items) or 'none'}"
        )
    mark = forward_mark(items.index(name))
    marks = {mark, reverse_of(mark)}
    return [event for event in trace.events if isinstance(event, PacketEvent) and event.mark in marks]


def of_pair(trace: Trace, source: str | None, destination: str | None) -> list[Event]:
    """What happened to packets between two VMs, in either direction; of one VM with whomever where one is None.

    Raises:
        SelectionError: nothing of the trace is about them.
    """
    vms = {event.vm for event in trace.events if isinstance(event, Offered | Delivered) and event.vm}
    for name, vm in (("--from", source), ("--to", destination)):
        if vm is not None and vm not in vms:
            raise SelectionError(
                f"{name} {vm}: no packet of this VM in the trace; there are {', '.join(sorted(vms))}"
            )
    homes = _addresses(trace)
    numbers: set[int] = set()
    for event in trace.events:
        if not isinstance(event, Classified):
            continue
        ends = homes.get(event.flow.source, ""), homes.get(event.flow.destination, "")
        if any(
            (source is None or a == source) and (destination is None or b == destination)
            for a, b in (ends, ends[::-1])
        ):
            numbers.add(event.packet)
    return [event for event in trace.events if isinstance(event, PacketEvent) and event.packet in numbers]


def _addresses(trace: Trace) -> dict[str, str]:
    """VM by address, from the lab's document."""
    vms = {**trace.lab.get("vms", {}), **trace.lab.get("endpoints", {})}
    return {
        str(vm[key]): name
        for name, vm in vms.items()
        for key in ("address", "address_v6")
        if vm.get(key) is not None
    }
