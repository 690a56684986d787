"""A host's status as metrics, for Prometheus: from status documents to families, and these as text.

What a family is named, counted in and labelled with follows https://prometheus.io/docs/practices/naming/; the text is
the exposition format 0.0.4. Labels are names of the lab, reasons and states: words that this package or its user has
chosen, and a bounded number of them. Nothing that a guest or a datagram says is one.

A reason for which nothing was dropped has no sample, as in `status`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from dtls_emu.tunnel.states import TunnelState


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


__all__ = ["CONTENT_TYPE", "Family", "exposition", "metric_families"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

PREFIX: Final = "dtls_emu"

Kind = Literal["counter", "gauge"]
Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Family:
    """A metric, with a sample for each combination of its labels.

    Fields:
        name: with its unit; that of a counter ends with ``_total``.
        kind: ``counter`` only grows while a host runs.
        help: what it counts.
        samples: labels and value, in order.
    """

    name: str
    kind: Kind
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)


def metric_families(reports: Iterable[Mapping[str, Any]]) -> list[Family]:
    """The metrics of hosts, one family for each name.

    Args:
        reports: what :func:`dtls_emu.host.status.describe` says of each; plain data.

    Raises:
        KeyError, TypeError, ValueError: one is no status document of this version.
    """
    families: dict[str, Family] = {}
    for report in reports:
        host = (("run", str(report["run"])), ("host", str(report["host"])))
        for name, kind, said, labels, value in _facts(report):
            full = f"{PREFIX}_{name}"
            family = families.setdefault(full, Family(full, kind, said))
            family.samples.append(((*host, *labels), float(value)))
    return list(families.values())


def exposition(families: Iterable[Family]) -> str:
    """Families as text, which ends with a line feed."""
    lines: list[str] = []
    for family in families:
        lines += [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "".join(f"{line}\n" for line in lines)


Fact = tuple[str, Kind, str, Labels, float]
"""Name without the prefix, kind, help, labels beside those of the host, value."""


def _facts(report: Mapping[str, Any]) -> Iterator[Fact]:
    yield "host_ready", "gauge", "1 when packets get through the host's card.", (), not report["trouble"]
    yield "host_uptime_seconds", "gauge", "Time since the host was started.", (), report["uptime_seconds"]
    for mode, seconds in report["cpu_seconds"].items():
        labels = (("mode", mode),)
        yield (
            "host_cpu_seconds_total",
            "counter",
            "CPU time that the host's process has used.",
            labels,
            seconds,
        )
    card = report["card"]
    yield from _card(card)
    for peer, tunnel in card["tunnels"].items():
        yield from _tunnel((("peer", peer),), tunnel)
        if tunnel["link"] is not None:
            yield from _link((("peer", peer),), tunnel["link"])
    yield from _sockets(report["fabric"])
    for vm, device in report["devices"].items():
        yield from _device((("vm", vm),), device)
        yield from _kernel((("vm", vm),), device)
    yield from _kernel((("vm", ""),), report)
    name, said = "left_for_internet_packets_total", "Packets for the internet, to which there is no gateway."
    yield name, "counter", said, (), report["left_for_internet"]


def _card(card: Mapping[str, Any]) -> Iterator[Fact]:
    egress, ingress = card["egress"], card["ingress"]
    yield from _counted(
        egress,
        offered=("egress_offered_packets", "Packets that VMs handed to the card."),
        offered_bytes=("egress_offered_bytes", "Bytes of the packets that VMs handed to the card."),
        answered=("icmp_errors_sent", "ICMP errors that the card sent back to VMs."),
        icmp_limited=("icmp_errors_limited", "ICMP errors not sent, as their VM has had enough of them."),
    )
    said = "Packets of VMs that left the card, by how: encrypted, clear, local (same host), gateway."
    for fate in ("encrypted", "clear", "local", "gateway"):
        yield "egress_sent_packets_total", "counter", said, (("fate", fate),), egress[fate]
    name, said = "egress_waiting_packets", "Packets of VMs that wait for their tunnel to come up."
    yield name, "gauge", said, (), egress["waiting"]
    yield from _dropped("egress_dropped_packets_total", "Packets of VMs that were dropped.", egress)
    yield from _counted(
        ingress,
        received=("ingress_received_records", "Records and clear datagrams that came from the fabric."),
        delivered=("ingress_delivered_packets", "Packets handed to VMs."),
        delivered_bytes=("ingress_delivered_bytes", "Bytes of the packets handed to VMs."),
        control=("ingress_control_records", "Handshake records and alerts from the fabric."),
    )
    said = "Records and clear datagrams from the fabric that were dropped."
    yield from _dropped("ingress_dropped_records_total", said, ingress)
    for direction, count in card["flows"].items():
        yield "flows", "gauge", "Flows in the card's tables.", (("direction", direction),), count


def _tunnel(peer: Labels, tunnel: Mapping[str, Any]) -> Iterator[Fact]:
    for state in TunnelState:
        labels = (*peer, ("state", str(state)))
        yield (
            "tunnel_state",
            "gauge",
            "1 for the state that a tunnel is in.",
            labels,
            tunnel["state"] == state,
        )
    if tunnel["keys_age_seconds"] is not None:
        said = "Time since the keys in force were made; without keys there is none."
        yield "tunnel_keys_age_seconds", "gauge", said, peer, tunnel["keys_age_seconds"]
    said = "Time that the last handshake took; 0 before the first."
    yield "tunnel_last_handshake_seconds", "gauge", said, peer, tunnel["last_handshake_seconds"]
    said = "Packets that wait for a tunnel to come up."
    yield "tunnel_waiting_packets", "gauge", said, peer, tunnel["waiting"]
    yield from _counted(
        tunnel,
        peer,
        handshakes=("tunnel_handshakes", "Handshakes that gave a tunnel fresh keys."),
        forgeries=("tunnel_forged_records", "Records of a tunnel that did not verify."),
    )
    mtu = tunnel["mtu"]
    said = "Largest packet that the lab's link to a peer carries."
    yield "tunnel_fabric_mtu_bytes", "gauge", said, peer, mtu["fabric"]
    said = "Largest packet of a VM that fits a tunnel, sealed."
    yield "tunnel_inner_mtu_bytes", "gauge", said, peer, mtu["inner_encrypted"]


def _link(peer: Labels, link: Mapping[str, Any]) -> Iterator[Fact]:
    yield from _counted(
        link,
        peer,
        offered=("link_offered_datagrams", "Datagrams handed to an impaired link."),
        duplicated=("link_duplicated_datagrams", "Copies that an impaired link made."),
        delivered=("link_delivered_datagrams", "Datagrams that left an impaired link, copies included."),
        corrupted=("link_corrupted_datagrams", "Datagrams of an impaired link with a bit flipped."),
        reordered=("link_reordered_datagrams", "Datagrams of an impaired link overtaken by a later one."),
        marked=("link_marked_datagrams", "Datagrams that an impaired link marked Congestion Experienced."),
    )
    said = "Datagrams on their way through an impaired link."
    yield "link_in_flight_datagrams", "gauge", said, peer, link["in_flight"]
    yield from _dropped(
        "link_dropped_datagrams_total", "Datagrams that an impaired link dropped.", link, peer
    )


def _sockets(fabric: Mapping[str, Any]) -> Iterator[Fact]:
    yield from _counted(
        fabric,
        offered=("socket_offered_datagrams", "Datagrams that the card handed to its sockets."),
        sent=("socket_sent_datagrams", "Datagrams that the kernel took."),
        received=("socket_received_datagrams", "Datagrams that came from the kernel."),
        delivered=("socket_delivered_datagrams", "Datagrams handed to the card."),
        rejected=("socket_rejected_datagrams", "Datagrams that were empty or cut off."),
        unread=("socket_unread_datagrams", "Datagrams that had arrived at a port when it was closed."),
        sends=("socket_sends", "System calls that sent something."),
        reads=("socket_reads", "System calls that received something."),
        gso_refusals=("socket_gso_refusals", "Sends that asked for UDP segmentation and were refused."),
        kernel_drops=("socket_kernel_drops", "Receives lost because a socket's buffer was full."),
    )
    yield from _dropped("socket_dropped_datagrams_total", "Datagrams that could not be sent.", fabric)


def _device(vm: Labels, device: Mapping[str, Any]) -> Iterator[Fact]:
    yield "device_present", "gauge", "1 while a VM's device is there.", vm, not device["gone"]
    yield from _counted(
        device,
        vm,
        received=("device_received_packets", "Packets read from a VM's device."),
        received_bytes=("device_received_bytes", "Bytes of the packets read from a VM's device."),
        offered=("device_offered_packets", "Packets to be written to a VM's device."),
        written=("device_written_packets", "Packets that a VM's device took."),
        reads=("device_reads", "System calls that read something from a VM's device."),
        writes=("device_writes", "System calls that wrote something to a VM's device."),
    )
    said = "Packets that a VM's device did not take."
    yield from _dropped("device_dropped_packets_total", said, device, vm)


def _kernel(vm: Labels, document: Mapping[str, Any]) -> Iterator[Fact]:
    kernel = document["kernel"]
    said = "Packets that the kernel dropped inside a VM, or in the host's own namespace, whose vm is empty."
    dropped = {"dropped": {**kernel["queues"], **kernel["sockets"]}}
    yield from _dropped("kernel_dropped_packets_total", said, dropped, vm)


def _counted(document: Mapping[str, Any], labels: Labels = (), **wanted: tuple[str, str]) -> Iterator[Fact]:
    """Counters that are numbers of a document: by its key their names without ``_total``, and their helps."""
    for key, (name, said) in wanted.items():
        yield f"{name}_total", "counter", said, labels, document[key]


def _dropped(name: str, said: str, document: Mapping[str, Any], labels: Labels = ()) -> Iterator[Fact]:
    for reason, count in document["dropped"].items():
        yield name, "counter", said, (*labels, ("reason", reason)), count


def _labels(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quotes else text


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
