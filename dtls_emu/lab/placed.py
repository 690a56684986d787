"""What a lab places on hosts: what VMs and endpoints of other kinds have in common, and those endpoints."""

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from dtls_emu.lab.addresses import AddressPrefix, MacAddress, VmAddress4, VmAddress6
from dtls_emu.lab.endpoint_kinds import ENDPOINTS, PLACEABLE, needs_capability
from dtls_emu.lab.model import LabModel, Name, Switch, Whole
from dtls_emu.overhead import IPV4_MINIMUM
from dtls_emu.vocabulary import EndpointKind


__all__ = ["Endpoint", "Placed"]

GATEWAYS: Final = (
    EndpointKind.VPN_GATEWAY,
    EndpointKind.EXPRESSROUTE_GATEWAY,
    EndpointKind.VIRTUAL_WAN_HUB,
)
"""Kinds of endpoints that have networks behind them."""

MAX_VM_MTU: Final = 9216
"""The usual jumbo limit of switches; Azure's own is 9000."""


def _check_placeable(kind: EndpointKind) -> EndpointKind:
    if kind not in PLACEABLE:
        raise ValueError(
            f"`{kind}` is nothing that is placed on a host; write one of: {', '.join(PLACEABLE)}"
        )
    return kind


PlaceableKind = Annotated[
    EndpointKind, AfterValidator(_check_placeable), WithJsonSchema({"enum": list(PLACEABLE)})
]


class Placed(LabModel):
    """What lives on a host, in a virtual network."""

    host: Name = Field(description="Name of the host it lives on.")
    virtual_network: Name = Field(description="Name of its virtual network.")
    address: VmAddress4 = Field(description="Its IPv4 address, inside a prefix of its virtual network.")
    address_v6: VmAddress6 | None = Field(
        default=None, description="Its IPv6 address, inside a prefix of its virtual network."
    )
    mac: MacAddress | None = Field(
        default=None, description="Its MAC address. Default: derived from its name and address."
    )
    mtu: Whole = Field(
        default=1500, ge=IPV4_MINIMUM, le=MAX_VM_MTU, description="MTU of its NIC, in bytes. Default 1500."
    )


class Endpoint(Placed):
    """What is no VM of the user's: a gateway, a private endpoint, an instance of a platform service, ...

    It answers as a VM does; what encryption means for it is the table of endpoints' to say.
    """

    kind: PlaceableKind = Field(description="What it is.")
    can_encrypt: Switch | None = Field(
        default=None,
        description="Whether the VMs that it runs on can be encrypted; only for kinds where that matters (`paas`, "
        "`aks-api-server`), and there it must be said.",
    )

    prefixes: tuple[AddressPrefix, ...] = Field(
        default=(),
        description="What is behind a gateway, and what it answers for: networks on premises. Only for `vpn-gateway`, "
        "`expressroute-gateway` and `virtual-wan-hub`.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = ENDPOINTS[self.kind]
        if self.prefixes and self.kind not in GATEWAYS:
            raise ValueError(f"`prefixes` means nothing for `{self.kind}`; leave it out")
        if needs_capability(kind.kind) and self.can_encrypt is None:
            raise ValueError(
                f"missing key `can_encrypt`: what becomes of `{kind.kind}` depends on the VMs that it runs on; write "
                "true or false"
            )
        if not needs_capability(kind.kind) and self.can_encrypt is not None:
            raise ValueError(f"`can_encrypt` means nothing for `{kind.kind}`; leave it out")
        return self
