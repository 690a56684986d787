"""The traffic of a lab: what is sent, by whom, to whom, and what must come of it.

After validation times are seconds, sizes bytes, rates bit/s. The ``size`` of packets is that of whole IP
packets, headers included: the same number as in an MTU, in a benchmark's table and in an ICMP answer. Only that
of a bulk transfer is its payload.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from dtls_emu.lab.expectation import Expect
from dtls_emu.lab.model import LabModel, Name, Switch, Whole, check_name
from dtls_emu.lab.problems import shown
from dtls_emu.lab.units import ByteCount, Duration, Rate
from dtls_emu.overhead import MAX_PACKET
from dtls_emu.vocabulary import FragmentShape


__all__ = ["Bulk", "Destination", "Fragments", "Pcap", "Ping", "Traffic", "UdpStream"]

MAX_SIZE: Final = MAX_PACKET
"""Largest IP packet (RFC 791 3.1)."""

MAX_COUNT: Final = 1_000_000
"""Most packets of an item: a lab runs in one process and its trace is kept."""

MIN_FRAGMENT_SIZE: Final = 64
"""Room for the longest header chain of a shape, 40 + 8 + 8, and 8 bytes behind it."""

DEFAULT_INTERVAL: Final = 0.001


def _parse_destination(value: object) -> str | IPv4Address | IPv6Address:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    if isinstance(value, str):
        try:
            return ip_address(value.partition("%")[0])  # an interface of this machine means nothing here
        except ValueError:
            return check_name(value)
    raise ValueError(
        f"{shown(value)} is neither a name nor an address; write the name of a VM or an IP address"
    )


Destination = Annotated[
    str | IPv4Address | IPv6Address,
    PlainValidator(_parse_destination),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["vm-b", "203.0.113.7"]}),
]
"""Name of a VM, or an IP address."""

Port = Annotated[Whole, Field(ge=1, le=65_535)]
IpVersion = Annotated[Literal[4, 6], Field(description="IP version to use when `to` is a VM.")]


class _Item(LabModel):
    """What every kind of traffic has."""

    name: Name = Field(description="Name of this item in reports; unique in the lab.")
    source: Name = Field(alias="from", description="Name of the VM that sends.")
    start: Duration = Field(default=0.0, description="When it starts, after the start of the run. Default 0.")
    expect: Expect | None = Field(default=None, description="What must come of it.")


class _Addressed(_Item):
    destination: Destination = Field(
        alias="to", description="Name of a VM, or an IP address (a public one is the internet)."
    )


class Ping(_Addressed):
    """Echo requests at a steady pace; the other end answers each."""

    kind: Literal["ping"]
    ip_version: IpVersion = 4
    count: Whole = Field(default=4, ge=1, le=MAX_COUNT, description="Number of echo requests. Default 4.")
    interval: Duration = Field(default=1.0, description="From one request to the next. Default 1s.")
    size: Whole = Field(
        default=84, ge=48, le=MAX_SIZE, description="Bytes of the whole IP packet. Default 84, ping's own."
    )
    df: Switch = Field(default=True, description="Set Don't Fragment (IPv4). Default true.")


class UdpStream(_Addressed):
    """UDP datagrams at a steady pace, one way."""

    kind: Literal["udp"]
    ip_version: IpVersion = 4
    count: Whole = Field(default=100, ge=1, le=MAX_COUNT, description="Number of packets. Default 100.")
    size: Whole = Field(
        default=1400, ge=48, le=MAX_SIZE, description="Bytes of the whole IP packet. Default 1400."
    )
    interval: Duration | None = Field(
        default=None, description="From one packet to the next. Default 1ms. Not together with `rate`."
    )
    rate: Rate | None = Field(default=None, description="Bits of IP packets a second. Not with `interval`.")
    source_port: Port = Field(default=40_000, description="UDP port of the sender. Default 40000.")
    destination_port: Port = Field(default=5201, description="UDP port of the receiver. Default 5201.")
    flows: Whole = Field(
        default=1,
        ge=1,
        le=25_000,
        description="Number of flows that the packets go round; each has the next source port. Default 1.",
    )
    df: Switch = Field(default=True, description="Set Don't Fragment (IPv4). Default true.")

    @property
    def spacing(self) -> float:
        """Seconds from one packet to the next."""
        if self.rate is not None:
            return self.size * 8 / self.rate
        return DEFAULT_INTERVAL if self.interval is None else self.interval

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rate is not None and self.interval is not None:
            raise ValueError("`rate` and `interval` both say the pace; write one of them")
        if self.rate == 0:
            raise ValueError("`rate` 0 would never send; write a rate such as 100Mbit/s")
        if self.source_port + self.flows - 1 > 65_535:
            raise ValueError(
                f"{self.flows} flows from source port {self.source_port} run past port 65535; "
                f"write a `source_port` of at most {65_536 - self.flows}"
            )
        return self


class Bulk(_Addressed):
    """A TCP-like transfer: handshake, full segments under a window, acknowledgements, retransmission."""

    kind: Literal["bulk"]
    ip_version: IpVersion = 4
    size: ByteCount = Field(alias="bytes", gt=0, le=2**32, description="Payload bytes to transfer.")
    mss: Whole | None = Field(
        default=None,
        ge=64,
        le=MAX_SIZE,
        description="Most payload bytes of a segment. Default: what fits the MTUs of the two VMs.",
    )
    source_port: Port = Field(default=40_000, description="TCP port of the sender. Default 40000.")
    destination_port: Port = Field(default=5201, description="TCP port of the receiver. Default 5201.")


def _resolve_file(path: Path, info: ValidationInfo) -> Path:
    folder: Any = (info.context or {}).get("folder")
    return path if folder is None else Path(folder, path)


class Pcap(_Item):
    """Packets of a capture, at the times it recorded.

    With ``rewrite: addresses`` the side that speaks first in each conversation of the capture is played by
    ``from`` and the other by ``to``: their addresses replace the captured ones and the checksums follow. With
    ``rewrite: none`` every packet is sent by ``from`` as it is, source address and all.
    """

    kind: Literal["pcap"]
    destination: Name | None = Field(
        default=None,
        alias="to",
        description="Name of the VM that plays the other side. Needed unless `rewrite` is `none`.",
    )
    file: Annotated[Path, AfterValidator(_resolve_file)] = Field(
        description="The capture (pcap, Ethernet or raw IP), relative to the lab file."
    )
    rewrite: Literal["addresses", "none"] = Field(
        default="addresses",
        description="`addresses`: the side that speaks first becomes `from`, the other `to`; checksums follow. "
        "`none`: `from` sends every packet as it is. Default `addresses`.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rewrite == "addresses" and self.destination is None:
            raise ValueError(
                "missing key `to`: who plays the other side of the capture; write the name of a VM"
            )
        if self.rewrite == "none" and self.destination is not None:
            raise ValueError("with `rewrite: none` packets go where they say; leave `to` out")
        return self


class Fragments(_Addressed):
    """IP fragments of the shapes that are named, none of which makes a whole packet with another."""

    kind: Literal["fragments"]
    shapes: tuple[FragmentShape, ...] = Field(
        min_length=1, description="Shapes to send, one after the other, again and again."
    )
    count: Whole = Field(
        default=1, ge=1, le=MAX_COUNT, description="Number of fragments of each shape. Default 1."
    )
    interval: Duration = Field(
        default=DEFAULT_INTERVAL, description="From one fragment to the next. Default 1ms."
    )
    size: Whole = Field(
        default=576,
        ge=MIN_FRAGMENT_SIZE,
        le=MAX_SIZE,
        description="Bytes of each fragment's whole IP packet. Default 576. `v4-tiny` is as small as it gets.",
    )


Traffic = Annotated[Ping | UdpStream | Bulk | Pcap | Fragments, Field(discriminator="kind")]
"""One traffic item; `kind` says which."""
