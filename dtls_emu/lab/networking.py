"""Subnets, route tables and the network manager, as pydantic models."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from dtls_emu.lab.addresses import AddressPrefix
from dtls_emu.lab.model import LabModel, Name, Switch
from dtls_emu.lab.problems import shown
from dtls_emu.lab.routing import NextHop
from dtls_emu.lab.security import AdminRule


__all__ = ["Mesh", "NetworkGroup", "NetworkManager", "Route", "RouteTable", "Subnet", "named"]

_HOPS: Final = (NextHop.VNET_LOCAL, NextHop.INTERNET, NextHop.GATEWAY, NextHop.NONE)


def named(description: str) -> Any:
    """Entries by name, of which there may be none."""
    return Field(
        default_factory=dict, description=description, json_schema_extra={"additionalProperties": False}
    )


def _parse_hop(value: object) -> object:
    if value is None:  # YAML's null is the word's namesake
        return NextHop.NONE
    if isinstance(value, str):
        found = next((each for each in _HOPS if each.lower() == value.lower()), None)
        if found is not None:
            return found
        if value.lower() == "virtualappliance":
            raise ValueError(
                "appliances that forward packets of others are not emulated; write another next hop"
            )
    raise ValueError(f"{shown(value)} is no next hop of a route table; write one of: {', '.join(_HOPS)}")


class Route(LabModel):
    """A route of a route table."""

    address_prefix: AddressPrefix = Field(description="What it is for; the longest prefix decides.")
    next_hop: Annotated[NextHop, BeforeValidator(_parse_hop), WithJsonSchema({"enum": list(_HOPS)})] = Field(
        description="Where it leads: `VnetLocal`, `Internet`, `VirtualNetworkGateway`, or `None`: nowhere."
    )


class RouteTable(LabModel):
    """Routes that go before all others of the same prefix, in the subnets that name the table."""

    routes: dict[Name, Route] = named("Routes by name.")
    gateway_route_propagation: Switch = Field(
        default=True, description="Routes to what is behind gateways hold in its subnets. Default true."
    )


class Subnet(LabModel):
    """A part of a virtual network; VMs whose address lies in it have its settings."""

    address_prefixes: tuple[AddressPrefix, ...] = Field(
        min_length=1, description="Inside those of its virtual network."
    )
    default_outbound_access: Switch = Field(
        default=True,
        description="False: a private subnet, without a way to the internet. Default true; the vendor's own default for "
        "new networks is false from API version 2025-07-01 on.",
    )
    route_table: Name | None = Field(default=None, description="Name of its route table.")
    security_group: Name | None = Field(default=None, description="Name of its security group.")


class NetworkGroup(LabModel):
    """Virtual networks by name, or by a tag of theirs."""

    members: tuple[Name, ...] = Field(default=(), description="Names of virtual networks: static membership.")
    tag: dict[str, str] = Field(
        default_factory=dict,
        description="Tags and their values; every virtual network that has all of them is a member.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.members and not self.tag:
            raise ValueError("has neither `members` nor `tag`; write the one or the other")
        return self


class Mesh(LabModel):
    """A connectivity configuration: every network of its groups reaches every other one directly."""

    groups: tuple[Name, ...] = Field(min_length=1, description="Names of network groups.")
    is_global: Switch = Field(
        default=False,
        alias="global",
        description="Across regions; otherwise each region is a mesh of its own. Default false.",
    )
    address_overlap: Literal["Allowed", "Disallowed"] = Field(
        default="Allowed",
        description="`Allowed`: prefixes that overlap are left out of the mesh, and traffic to them is dropped. "
        "`Disallowed`: they are an error. Default Allowed.",
    )


class NetworkManager(LabModel):
    """A network manager: groups of virtual networks, meshes that connect them, and rules for them."""

    high_scale: Switch = Field(
        default=False,
        description="High-scale connected groups: 5,000 networks and 20,000 private endpoints in a mesh instead of 250 "
        "and 2,000. Default false.",
    )
    groups: dict[Name, NetworkGroup] = named("Network groups by name.")
    meshes: dict[Name, Mesh] = named("Meshes by name.")
    admin_rules: dict[Name, AdminRule] = named("Security admin rules by name, asked before security groups.")
