"""Which flow of a lab a command is about: two VMs by name, or a VM and an address."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from dtls_emu.errors import DtlsEmuError


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Address, Topology, Vm


__all__ = ["flow_of"]


def flow_of(lab: str | None, source: str | None, destination: str | None) -> tuple[Topology, Vm, Address]:
    """The lab, the VM that sends, and the address that it sends to.

    Raises:
        DtlsEmuError: one of them is missing, no VM of the lab, or no address that they share a version of.
        LabFileError: the lab has problems.
    """
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.problems import suggest

    if lab is None or source is None or destination is None:
        raise DtlsEmuError("name a lab and both ends of a flow: LAB --from VM --to VM")
    topology = compile_lab(load_lab(lab))
    vm = topology.vms.get(source)
    if vm is None:
        raise DtlsEmuError(f"--from {source}: no VM of this lab; {suggest(source, topology.vms)}")
    other = topology.vms.get(destination)
    if other is not None:
        address = next((each for each in other.addresses if vm.address(each.version)), None)
        if address is None:
            raise DtlsEmuError(f"{source} and {destination} have no IP version in common")
        return topology, vm, address
    try:
        address = ip_address(destination)
    except ValueError:
        raise DtlsEmuError(
            f"--to {destination}: no VM of this lab and no address; {suggest(destination, topology.vms)}"
        ) from None
    if vm.address(address.version) is None:
        raise DtlsEmuError(f"{source} has no IPv{address.version} address to send to {destination} from")
    return topology, vm, address
