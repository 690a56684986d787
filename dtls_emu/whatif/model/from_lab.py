"""A lab as a model: the same questions, asked of a network that was written for the emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.lab import load_lab
from dtls_emu.lab.endpoint_kinds import ENDPOINTS
from dtls_emu.lab.schema import StatedSize
from dtls_emu.policy import Condition
from dtls_emu.vocabulary import EndpointKind
from dtls_emu.whatif.model.estate import Endpoint, Network, Peering, Subnet
from dtls_emu.whatif.template.values import Place


if TYPE_CHECKING:
    from dtls_emu.lab.schema import Lab, Vm
    from dtls_emu.whatif.model.estate import Estate


__all__ = ["add_lab"]


def add_lab(name: str, estate: Estate) -> None:
    """Add what a lab holds.

    Args:
        name: path of a lab file, or name of a shipped lab.
        estate: is added to.

    Raises:
        LabFileError: it has problems.
    """
    lab = load_lab(name)
    place = Place(name)
    for key, network in lab.virtual_networks.items():
        here = place.at("virtual_networks", key)
        estate.networks[key] = Network(
            key,
            key,
            "",
            network.address_prefixes,
            network.encryption.enabled,
            network.encryption.enforcement if network.encryption.enabled else None,
            declared=True,
            subnets={"": Subnet("", network.address_prefixes)},
            place=here,
        )
    for key, peers in lab.peers.items():
        at = place.at("virtual_networks", key, "peerings")
        estate.peerings += [Peering(key, peer, open=True, place=at) for peer in sorted(peers)]
    _add_guests(lab, place, estate)


def _add_guests(lab: Lab, place: Place, estate: Estate) -> None:
    for key, vm in lab.vms.items():
        stated = vm.size if isinstance(vm.size, StatedSize) else None
        estate.endpoints[f"vms.{key}"] = Endpoint(
            f"vms.{key}",
            key,
            EndpointKind.VM,
            "VM",
            vm.virtual_network,
            "",
            1,
            vm.size.name if isinstance(vm.size, StatedSize) else vm.size,
            can_encrypt=None if stated is None else stated.can_encrypt,
            accelerated=vm.accelerated_networking,
            restarted=vm.restarted_since_encryption,
            address=str(vm.address),
            mtu=vm.mtu,
            place=place.at("vms", key),
            conditions=_conditions(vm, lab),
        )
    for key, endpoint in lab.endpoints.items():
        estate.endpoints[f"endpoints.{key}"] = Endpoint(
            f"endpoints.{key}",
            key,
            endpoint.kind,
            ENDPOINTS[endpoint.kind].title,
            endpoint.virtual_network,
            "",
            can_encrypt=True if endpoint.can_encrypt is None else endpoint.can_encrypt,  # as a lab takes it
            restarted=True,
            address=str(endpoint.address),
            mtu=endpoint.mtu,
            place=place.at("endpoints", key),
        )


def _conditions(vm: Vm, lab: Lab) -> int:
    """What a lab says of a VM that no real file does."""
    found = 0 if lab.hosts[vm.host].smartnic.present else int(Condition.NO_CARD)
    found |= 0 if vm.flow_table_ready else int(Condition.NOT_READY)
    return found | (0 if vm.discovery else int(Condition.NO_DISCOVERY))
