"""What a traffic item says of the rest of the lab: VMs that must exist, and packets that they can send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dtls_emu.lab.pcap import read_pcap
from dtls_emu.lab.problems import Problem, suggest
from dtls_emu.lab.quantities import format_duration


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.placed import Placed
    from dtls_emu.lab.problems import KeyPath
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.traffic import Bulk, Fragments, Pcap, Ping, Traffic, UdpStream


__all__ = ["LONGEST_RUN", "check_traffic"]

LONGEST_RUN: Final = 86_400.0
"""Seconds of virtual time after which nothing more is sent: a day; a lab of minutes never meets it."""

MIN_HEADERS = {4: 40, 6: 60}
"""IP and TCP headers, in bytes, by IP version."""


def check_traffic(lab: Lab, vms: frozenset[str]) -> Iterator[Problem]:
    """Every problem of the traffic items.

    Args:
        lab: validated, entry by entry.
        vms: names of all VMs that the file declares.
    """
    names: set[str] = set()
    transfers: dict[tuple[object, ...], str] = {}
    for index, item in enumerate(lab.traffic):
        path: KeyPath = ("traffic", index)
        if item.name in names:
            yield Problem((*path, "name"), f"an earlier item is named `{item.name}`; write another name")
        names.add(item.name)
        yield from _check_ends(item, path, vms)
        yield from _check_times(item, path)
        if item.expect is not None and item.expect.answered is not None and item.kind != "ping":
            yield Problem(
                (*path, "expect", "answered"), f"`{item.kind}` is not answered; leave it out, or use `ping`"
            )
        source = lab.guest(item.source)
        if source is None:
            continue
        match item.kind:
            case "pcap":
                yield from _check_capture(lab, item, source, path)
            case "fragments":
                yield from _check_versions(lab, item, source, {int(shape[1]) for shape in item.shapes}, path)
                yield from _check_size(item.size, item, source, (*path, "size"))
            case "bulk":
                yield from _check_versions(lab, item, source, {_version(item)}, path)
                if item.mss is not None:
                    headers = MIN_HEADERS[_version(item)]
                    yield from _check_size(item.mss + headers, item, source, (*path, "mss"))
                ends = (
                    item.source,
                    item.destination,
                    item.ip_version,
                    item.source_port,
                    item.destination_port,
                )
                other = transfers.setdefault(ends, item.name)
                if other != item.name:
                    yield Problem(
                        (*path, "source_port"),
                        f"`{other}` has the same ends and ports; write another `source_port`",
                    )
            case _:
                yield from _check_versions(lab, item, source, {_version(item)}, path)
                yield from _check_size(item.size, item, source, (*path, "size"))


def _check_ends(item: Traffic, path: KeyPath, vms: frozenset[str]) -> Iterator[Problem]:
    if item.source not in vms:
        yield Problem((*path, "from"), f"no VM `{item.source}`; {suggest(item.source, sorted(vms))}")
    if not isinstance(item.destination, str):
        return
    if item.destination not in vms:
        others = sorted(vms - {item.source})
        yield Problem((*path, "to"), f"no VM `{item.destination}`; {suggest(item.destination, others)}")
    elif item.destination == item.source:
        yield Problem((*path, "to"), f"`{item.source}` sends to itself, which no card sees; write another VM")


def _check_times(item: Traffic, path: KeyPath) -> Iterator[Problem]:
    """All of it is sent while the run lasts; what a capture holds is checked when it is read."""
    longest = format_duration(LONGEST_RUN)
    if item.start > LONGEST_RUN:
        yield Problem((*path, "start"), f"a run ends after {longest}; write at most that, or nothing is sent")
        return
    match item.kind:
        case "ping":
            key, last = "interval", (item.count - 1) * item.interval
        case "udp":
            key, last = "interval" if item.rate is None else "rate", (item.count - 1) * item.spacing
        case "fragments":
            key, last = "interval", (item.count * len(item.shapes) - 1) * item.interval
        case _:
            return
    if item.start + last > LONGEST_RUN:
        yield Problem(
            (*path, key),
            f"the last packet would be sent {format_duration(round(item.start + last, 9))} after the start of the run, "
            f"which ends after {longest}; write a faster pace here, or a smaller `count`",
        )


def _version(item: Ping | UdpStream | Bulk) -> int:
    return item.ip_version if isinstance(item.destination, str) else item.destination.version


def _check_versions(
    lab: Lab, item: Ping | UdpStream | Bulk | Fragments, source: Placed, versions: set[int], path: KeyPath
) -> Iterator[Problem]:
    """A VM has an address of each IP version it is to use."""
    key = "shapes" if item.kind == "fragments" else "ip_version"
    if isinstance(item.destination, str):
        ends = [(item.source, source), (item.destination, lab.guest(item.destination))]
    else:
        ends = [(item.source, source)]
        if versions != {item.destination.version}:
            yield Problem(
                (*path, "shapes"),
                f"these shapes are not all IPv{item.destination.version} as `to` is; write only those, or a VM",
            )
            return
    for name, vm in ends:
        if 6 in versions and vm is not None and vm.address_v6 is None:
            where = (*path, key) if isinstance(item.destination, str) else (*path, "to")
            yield Problem(where, f"VM `{name}` has no IPv6 address; give it an `address_v6`, or use IPv4")


def _check_size(size: int, item: Traffic, source: Placed, path: KeyPath) -> Iterator[Problem]:
    if size > source.mtu:
        yield Problem(
            path,
            f"makes packets of {size} bytes, and the MTU of VM `{item.source}` is {source.mtu}; write less here, "
            f"or more at vms.{item.source}.mtu",
        )


def _check_capture(lab: Lab, item: Pcap, source: Placed, path: KeyPath) -> Iterator[Problem]:
    here = (*path, "file")
    try:
        packets = read_pcap(item.file)
    except OSError as error:
        yield Problem(here, f"cannot read {item.file}: {error.strerror}; write the path of a capture")
        return
    except ValueError as error:
        yield Problem(here, f"{item.file.name} {error}")
        return
    if not packets:
        yield Problem(here, f"{item.file.name} holds no IP packet; write the path of another capture")
    if packets and item.start <= LONGEST_RUN < item.start + packets[-1].time:
        yield Problem(
            here,
            f"frame {packets[-1].number} of {item.file.name} would be sent "
            f"{format_duration(item.start + packets[-1].time)} after the start of the run, which ends after "
            f"{format_duration(LONGEST_RUN)}; write the path of a shorter capture",
        )
    players = [(item.source, source)]
    other = None if item.destination is None else lab.guest(item.destination)
    if item.destination is not None and other is not None:
        players.append((item.destination, other))
        without = next((name for name, vm in players if vm.address_v6 is None), None)
        version6 = next((packet for packet in packets if packet.data[0] >> 4 == 6), None)
        if version6 is not None and without is not None:
            yield Problem(
                here,
                f"frame {version6.number} of {item.file.name} is IPv6, and VM `{without}` has no IPv6 address; "
                "give it an `address_v6`",
            )
    name, smallest = min(players, key=lambda player: player[1].mtu)
    large = next((packet for packet in packets if len(packet.data) > smallest.mtu), None)
    if large is not None:
        yield Problem(
            here,
            f"frame {large.number} of {item.file.name} has {len(large.data)} bytes, and the MTU of VM `{name}` is "
            f"{smallest.mtu}; write more at vms.{name}.mtu, or capture with segmentation offloads off",
        )
