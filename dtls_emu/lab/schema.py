"""The lab file as pydantic models. Descriptions become the help that an editor shows (JSON Schema).

These models say what one entry may hold. What entries say of each other (names that must exist, addresses
that must not clash) is :mod:`dtls_emu.lab.checks`.
"""

from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema

from dtls_emu.lab.addresses import AddressPrefix, UnderlayAddress
from dtls_emu.lab.card_models import CARD_MODELS
from dtls_emu.lab.model import LabModel, Name, Switch, Whole
from dtls_emu.lab.networking import NetworkManager, RouteTable, Subnet, named
from dtls_emu.lab.placed import Endpoint, Placed
from dtls_emu.lab.problems import UnknownNameError, shown
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.security import SecurityGroup
from dtls_emu.lab.sizes import MAX_NAME as MAX_SIZE_NAME
from dtls_emu.lab.sizes import canonical_size, nearest_sizes, size_row
from dtls_emu.lab.topology import DEFAULT_LINK_MTU
from dtls_emu.lab.traffic import Traffic
from dtls_emu.lab.units import Duration, Probability, Rate
from dtls_emu.overhead import MAX_PACKET, smallest_handshake_mtu
from dtls_emu.vocabulary import (
    AcceleratedNetworking,
    EndpointKind,
    Enforcement,
    FirstPacket,
    FlowEncryption,
    Keying,
    Verdict,
)


__all__ = [
    "Encryption",
    "Endpoint",
    "Host",
    "Lab",
    "Link",
    "LinkSettings",
    "Overrides",
    "SmartNic",
    "StatedSize",
    "VirtualNetwork",
    "Vm",
    "json_schema",
]

MAX_VNI: Final = 2**24 - 1
"""Largest VXLAN network identifier (RFC 7348 5)."""

MIN_LINK_MTU: Final = smallest_handshake_mtu(4)
"""Smallest fabric on which a DTLS handshake can be made; over IPv6 it is larger (:mod:`dtls_emu.lab.checks`)."""

MAX_NETWORKS: Final = 5000
"""As many as Azure joins in one mesh ("Limitations with Azure Virtual Network Manager"); so that looking for clashes
between all that are peered takes a second and not an hour."""

DROP_FEATURE: Final = "Microsoft.Network/AllowDropUnecryptedVnet"
"""The feature behind DropUnencrypted, in the vendor's own spelling (Azure Verified Modules, virtual network)."""

MAX_QUEUE: Final = 1_000_000
MAX_FLOWS: Final = 4_000_000
"""Keep a mistyped number from taking the machine's memory."""


def _parse_enforcement(value: object) -> object:
    """ARM spells it in PascalCase, the Azure CLI in camelCase; both are read, PascalCase is written."""
    if isinstance(value, str):
        return next((each for each in Enforcement if each.lower() == value.lower()), value)
    return value


def _check_model(name: str) -> str:
    if name not in CARD_MODELS:
        raise ValueError(f"no model of a card {shown(name)}; write one of: {', '.join(CARD_MODELS)}")
    return name


def _check_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"no profile {shown(name)}; write one of: {', '.join(PROFILES)}")
    return name


def _parse_year(value: object) -> object:
    return str(value) if type(value) is int else value


class _Untitled(GenerateJsonSchema):
    """A field's generated title only repeats its key, and editors show it above the description."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class StatedSize(LabModel):
    """A VM size that the catalogue does not know, with what the profile would otherwise look up."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=MAX_SIZE_NAME)] = Field(
        description="Its name, for reports."
    )
    can_encrypt: Switch = Field(description="Whether its hosts' cards encrypt.")


def _parse_size(value: object) -> str | StatedSize:
    if isinstance(value, StatedSize):
        return value
    if isinstance(value, dict):
        try:
            return StatedSize.model_validate(value, by_alias=True, by_name=False)
        except ValidationError:
            raise ValueError(f"is no size; write {_STATED}, or a name such as Standard_D4s_v5") from None
    size = _known_size(value) if isinstance(value, str) else None
    if size is None:
        raise UnknownNameError(
            f"{shown(value)} is no VM size that is known", lambda: _instead_of_size(str(value))
        )
    return size


@lru_cache(maxsize=1024)  # a large lab has many VMs of few sizes
def _known_size(name: str) -> str | None:
    size = canonical_size(name)
    return None if size_row(size) is None else size


def _instead_of_size(wrong: str) -> str:
    near = " or ".join(f"`{name}`" for name in nearest_sizes(wrong))
    meant = f"did you mean {near}? If not, write" if near else "write one such as Standard_D4s_v5, or"
    return f"{meant} {_STATED}"


def _write_size(size: str | StatedSize) -> str | dict[str, str | bool]:
    return size if isinstance(size, str) else size.model_dump()


_STATED: Final = "{name: ..., can_encrypt: true} or false"

VmSize = Annotated[
    str | StatedSize,
    PlainValidator(_parse_size),
    PlainSerializer(_write_size, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": "^[A-Za-z]+_[A-Za-z]+[0-9][A-Za-z0-9_-]*$"},
                StatedSize.model_json_schema(schema_generator=_Untitled),
            ],
            "examples": ["Standard_D4s_v5"],
        }
    ),
]
"""A name out of the catalogue, as Azure spells it; or one with its capability."""


def _parse_dscp(value: object) -> int | Literal["copy"]:
    if value == "copy" or (type(value) is int and 0 <= value <= 63):
        return value
    raise ValueError(f"{shown(value)} is no DSCP; write `copy`, or a number from 0 to 63")


OuterDscp = Annotated[
    int | Literal["copy"],
    PlainValidator(_parse_dscp),
    WithJsonSchema({"anyOf": [{"const": "copy"}, {"type": "integer", "minimum": 0, "maximum": 63}]}),
]


Passing = Literal[Verdict.DROP, Verdict.CLEAR]


class Encryption(LabModel):
    """Encryption of a virtual network, with ARM's spelling."""

    enabled: Switch = Field(description="Encrypt traffic between VMs.")
    enforcement: Annotated[
        Enforcement,
        BeforeValidator(_parse_enforcement),
        WithJsonSchema({"enum": [*Enforcement, *(f"{each[0].lower()}{each[1:]}" for each in Enforcement)]}),
    ] = Field(
        default=Enforcement.ALLOW_UNENCRYPTED,
        description="What happens to traffic that cannot be encrypted. Default AllowUnencrypted.",
    )


class VirtualNetwork(LabModel):
    """A virtual network."""

    address_prefixes: tuple[AddressPrefix, ...] = Field(
        min_length=1, description="IPv4 and IPv6 prefixes; the addresses of its VMs lie in them."
    )
    vni: Whole = Field(
        ge=1, le=MAX_VNI, description="VXLAN network identifier, 1 to 16777215; unique in the lab."
    )
    encryption: Encryption = Field(
        default=Encryption(enabled=False),
        description="Encryption of the network. Left out, it is off.",
    )
    peerings: tuple[Name, ...] = Field(
        default=(),
        description="Names of the virtual networks peered with this one. One side saying so is enough.",
    )
    region: Name = Field(
        default="eastus",
        description="Its region: a peering between regions is a global one, and a mesh is of one region unless it is "
        "global. Default eastus.",
    )
    use_remote_gateways: Switch = Field(
        default=False,
        description="Without a gateway of its own, it uses those of its peers: the spokes of a hub. Default false.",
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tags, by which a network group may take it in."
    )
    subnets: dict[Name, Subnet] = named(
        "Subnets by name; only those that have settings of their own are needed."
    )


class SmartNic(LabModel):
    """The card of a host."""

    backend: str = Field(
        default="auto",
        description="Cipher backend by name (`dtls-emu backends` lists them), or `auto`: the fastest that works. "
        "Default auto.",
    )
    present: Switch = Field(
        default=True,
        description="False: the card is absent or faulty, and the host forwards in clear only. Default true.",
    )
    model: (
        Annotated[str, AfterValidator(_check_model), WithJsonSchema({"enum": list(CARD_MODELS)})] | None
    ) = Field(
        default=None,
        description="In the simulation, packets take the time that was published of this card, and no more of them pass "
        "than it carried. Modelled, not measured; `line_rate` sets another rate. Default none.",
    )
    line_rate: Rate = Field(
        default=0.0,
        description="In the simulation, bits that the card carries a second, each way, headers and records included. "
        "Default 0, no limit but the model's.",
    )


class Host(LabModel):
    """A physical machine of the emulated cloud."""

    underlay: UnderlayAddress = Field(description="Its IP address on the fabric; unique in the lab.")
    region: Name = Field(
        default="eastus", description="Its region, whose certificate authority signs for it. Default eastus."
    )
    smartnic: SmartNic = Field(default_factory=SmartNic, description="Its card.")
    servicing: Switch = Field(
        default=False,
        description="Its networking components are being updated: no flow table of its VMs is ready, and encrypted flows "
        "are dropped. Default false.",
    )


class Vm(Placed):
    """A VM."""

    size: VmSize = Field(
        default="Standard_D4s_v5",
        description="Azure VM size, in any case; it decides whether the VM can be encrypted. One that is not known "
        "is written with its capability: `{name: Standard_X4_v9, can_encrypt: true}`. Default Standard_D4s_v5.",
    )
    accelerated_networking: Switch = Field(
        default=True,
        description="Accelerated networking; without it the VM cannot be encrypted. Default true.",
    )
    state: Literal["running", "stopped"] = Field(
        default="running",
        description="A stopped VM sends and gets nothing. Starting one while the lab is up is a restart. Default running.",
    )
    restarted_since_encryption: Switch = Field(
        default=True,
        description="It was stopped and started since encryption was enabled; before, it is not encrypted. "
        "Default true.",
    )
    flow_table_ready: Switch = Field(
        default=True,
        description="False: first boot or servicing of its host; encrypted flows are dropped. Default true.",
    )
    discovery: Switch = Field(
        default=True,
        description="False: its host's networking stack cannot discover encryption; encrypted flows are dropped. "
        "Default true.",
    )


class LinkSettings(LabModel):
    """What a link does to datagrams. What is left out is as the less specific entry says."""

    mtu: Annotated[Whole, Field(ge=MIN_LINK_MTU, le=MAX_PACKET)] | None = Field(
        default=None,
        description=f"Largest outer IP packet, in bytes; a handshake needs {MIN_LINK_MTU} over IPv4 and "
        f"{smallest_handshake_mtu(6)} over IPv6. Default {DEFAULT_LINK_MTU}; jumbo fabrics have 9216.",
    )
    delay: Duration | None = Field(default=None, description="One-way delay. Default 50us.")
    jitter: Duration | None = Field(
        default=None, description="Most that is added to or taken from the delay. Default 0."
    )
    loss: Probability | None = Field(default=None, description="Share of datagrams lost. Default 0.")
    reorder: Probability | None = Field(
        default=None, description="Share of datagrams that later ones overtake. Default 0."
    )
    duplicate: Probability | None = Field(
        default=None, description="Share of datagrams that arrive twice. Default 0."
    )
    corrupt: Probability | None = Field(
        default=None, description="Share of datagrams with a flipped bit. Default 0."
    )
    ecn_mark: Probability | None = Field(
        default=None,
        description="Share of ECN-capable datagrams that are marked Congestion Experienced. Default 0.",
    )
    rate: Rate | None = Field(
        default=None, description="Bits of outer IP packets a second. Default 0, no limit."
    )


class Link(LinkSettings):
    """The link between two hosts: both directions (`between`), or one (`from` and `to`), which takes precedence."""

    between: tuple[Name, Name] | None = Field(
        default=None, description="Two hosts; holds for both directions."
    )
    source: Name | None = Field(default=None, alias="from", description="Host that sends, for one direction.")
    destination: Name | None = Field(
        default=None, alias="to", description="Host that receives, for one direction."
    )

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """The (source, destination) pairs of host names that this entry is about."""
        if self.between is not None:
            return self.between, self.between[::-1]
        assert self.source is not None
        assert self.destination is not None
        return ((self.source, self.destination),)

    @model_validator(mode="after")
    def _check(self) -> Self:
        both, one = self.between is not None, (self.source is not None, self.destination is not None)
        if both == any(one) or any(one) != all(one):
            raise ValueError(
                "a link names its hosts once; write `between: [host-1, host-2]`, or `from: host-1` and `to: host-2`"
            )
        return self


class Overrides(LabModel):
    """Knobs of the profile that this lab sets otherwise."""

    first_packet: FirstPacket | None = Field(
        default=None,
        description="What happens to packets while their tunnel is being built. Where a network has "
        "DropUnencrypted, `clear` means `queue`. Default queue.",
    )
    fragments: Passing | None = Field(
        default=None,
        description="What happens to IP fragments between two encrypted networks: `drop`, or `clear` as in the "
        "preview of 2023. Where a network has DropUnencrypted, `clear` means `drop`. Default drop.",
    )
    accelerated_networking: Annotated[AcceleratedNetworking, BeforeValidator(_parse_year)] | None = Field(
        default=None,
        description="Which of the vendor's texts says where accelerated networking can be on: that of 2016, that of "
        "2022, or `any`: none. What it refuses is an error. Default any.",
    )
    drop_needs_feature: Switch | None = Field(
        default=None,
        description=f"DropUnencrypted needs the subscription feature `{DROP_FEATURE}`. Default true; false in the "
        "previews of 2023.",
    )
    restart_required: Switch | None = Field(
        default=None,
        description="A VM that was not stopped and started since encryption was enabled is not encrypted. Default "
        "true; the previews of 2023 say that it may be required.",
    )
    unsupported: Annotated[frozenset[EndpointKind], PlainSerializer(sorted, when_used="json")] | None = Field(
        default=None,
        description="Kinds of endpoints that lose connectivity in an encrypted network; the list replaces the "
        "profile's. The vendor's texts on gateways and firewalls have changed.",
    )
    plain_peer: Passing | None = Field(
        default=None,
        description="What happens under DropUnencrypted to a flow with a network without encryption. Not documented "
        "by the vendor. Default clear.",
    )
    same_host: Passing | None = Field(
        default=None,
        description="What happens under DropUnencrypted to a flow between two VMs of one host. Not documented by the "
        "vendor. Default clear.",
    )
    mixed_enforcement: Passing | None = Field(
        default=None,
        description="What becomes of what cannot be encrypted where only one of two networks drops unencrypted. Not "
        "documented by the vendor. Default drop.",
    )
    card_missing: Passing | None = Field(
        default=None,
        description="What happens to a flow whose VM could be encrypted but for its host's card, where both networks "
        "allow unencrypted. Not documented by the vendor. Default clear.",
    )
    connected_group: Literal[Verdict.ENCRYPT, Verdict.CLEAR] | None = Field(
        default=None,
        description="Whether flows between networks that a mesh joins are encrypted as over a peering, or pass in clear. "
        "Not documented by the vendor. Default encrypt.",
    )
    incapable_code: Literal[FlowEncryption.NX_FALLBACK, FlowEncryption.NX_HW_NOT_SUPPORTED] | None = Field(
        default=None,
        description="The flow-log code of a flow that passes in clear for want of a VM that can be encrypted. Not "
        "documented by the vendor. Default NX_FALLBACK.",
    )
    icmp_too_big: Switch | None = Field(
        default=None,
        description="Answer a packet that does not fit with ICMP and the MTU that does. Default true.",
    )
    replay_window: Annotated[Whole, Field(ge=64, le=65_536, multiple_of=64)] | None = Field(
        default=None, description="Records that a replay window remembers, a multiple of 64. Default 1024."
    )
    waiting_packets: Annotated[Whole, Field(ge=0, le=65_536)] | None = Field(
        default=None, description="Most packets that wait for one tunnel. Default 512."
    )
    link_queue: Annotated[Whole, Field(ge=1, le=MAX_QUEUE)] | None = Field(
        default=None, description="Most datagrams that wait for one link that has a `rate`. Default 1000."
    )
    flow_table: Annotated[Whole, Field(ge=1, le=MAX_FLOWS)] | None = Field(
        default=None, description="Most flows of one card. Default 1000000."
    )
    flows_per_vm: Annotated[Whole, Field(ge=1, le=MAX_FLOWS)] | None = Field(
        default=None,
        description="Most flows of one VM in each direction; what is beyond is dropped. Default 500000.",
    )
    outer_dscp: OuterDscp | None = Field(
        default=None,
        description="DSCP of the packets on the fabric, 0 to 63, or `copy`: that of the packet inside. Default 0.",
    )
    keying: Keying | None = Field(
        default=None,
        description="Where tunnels' keys come from: a DTLS `handshake`, or a `broker` that hands both hosts "
        "one-time session keys. Default handshake.",
    )
    rekey_records: Annotated[Whole, Field(ge=16, le=2**48)] | None = Field(
        default=None,
        description="Records under one key; a fresh one is made at seven eighths of it. Default 23726566.",
    )
    rekey_seconds: Duration | None = Field(
        default=None, description="Age at which a key is replaced, such as `10s`; 0 for never. Default 0."
    )


def _section(description: str) -> Any:
    """Required, says the JSON Schema; the check itself is with the others between entries, to say all at once."""
    return Field(
        default_factory=dict,
        description=description,
        json_schema_extra={"minProperties": 1, "additionalProperties": False},
    )


class Lab(LabModel):
    """A lab: virtual networks, hosts, VMs, the links between hosts, and traffic."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": ["virtual_networks", "hosts", "vms"],
            "patternProperties": {"^x-": {"description": "A place for anchors; ignored otherwise."}},
        }
    )

    name: Name = Field(default="lab", description="Name in reports. Default: the file's name.")
    description: str = Field(default="", description="What the lab shows, in a sentence.")
    profile: Annotated[str, AfterValidator(_check_profile), WithJsonSchema({"enum": list(PROFILES)})] = Field(
        default="current", description="Behaviour profile. Default current."
    )
    subscription_features: Annotated[frozenset[str], PlainSerializer(sorted, when_used="json")] | None = (
        Field(
            default=None,
            description=f"Features that the subscription has registered. Where the list is written, and the profile asks "
            f"for `{DROP_FEATURE}`, DropUnencrypted without it is an error; without a list it is taken to be registered.",
        )
    )
    overrides: Overrides = Field(
        default_factory=Overrides, description="Knobs of the profile that this lab sets otherwise."
    )
    seed: Whole = Field(
        default=1, ge=0, le=2**63 - 1, description="Seed of every random choice of a run. Default 1."
    )
    virtual_networks: Annotated[dict[Name, VirtualNetwork], Field(max_length=MAX_NETWORKS)] = _section(
        "Virtual networks by name; at least one."
    )
    hosts: dict[Name, Host] = _section("Hosts by name; at least one.")
    vms: dict[Name, Vm] = _section("VMs by name; at least one.")
    security_groups: dict[Name, SecurityGroup] = named("Security groups by name; subnets name theirs.")
    route_tables: dict[Name, RouteTable] = named("Route tables by name; subnets name theirs.")
    network_manager: NetworkManager = Field(
        default_factory=NetworkManager,
        description="Groups of virtual networks, meshes that connect them, and rules for them.",
    )
    endpoints: dict[Name, Endpoint] = named(
        "What is no VM of the user's, by name: gateways, private endpoints, platform services, ..."
    )
    link_defaults: LinkSettings = Field(
        default_factory=LinkSettings, description="What every link is like, but for what its own entry says."
    )
    links: tuple[Link, ...] = Field(
        default=(), description="Links between hosts. A pair that is not named has `link_defaults`."
    )
    traffic: tuple[Traffic, ...] = Field(
        default=(), description="What is sent. Items run side by side; `start` puts one after another."
    )

    @property
    def guests(self) -> dict[str, Placed]:
        """VMs and endpoints by name: all that lives on hosts."""
        return {**self.vms, **self.endpoints}

    def guest(self, name: str) -> Placed | None:
        """The VM or endpoint of this name."""
        return self.vms.get(name) or self.endpoints.get(name)

    @property
    def peers(self) -> dict[str, frozenset[str]]:
        """The networks that each network is peered with, whichever side says so."""
        peers: dict[str, set[str]] = {name: set() for name in self.virtual_networks}
        for name, network in self.virtual_networks.items():
            for peer in network.peerings:
                if peer in peers and peer != name:
                    peers[name].add(peer)
                    peers[peer].add(name)
        return {name: frozenset(others) for name, others in peers.items()}


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a lab file, draft 2020-12. An editor that knows it completes and checks lab files."""
    schema = Lab.model_json_schema(by_alias=True, schema_generator=_Untitled)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": "dtls-emu lab"}
