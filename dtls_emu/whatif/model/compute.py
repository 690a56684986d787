"""What runs: VMs and their interfaces, scale sets, AKS clusters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dtls_emu.vocabulary import EndpointKind
from dtls_emu.whatif.model.estate import Endpoint
from dtls_emu.whatif.model.view import parent_of


if TYPE_CHECKING:
    from dtls_emu.whatif.model.estate import Estate
    from dtls_emu.whatif.model.index import Index
    from dtls_emu.whatif.model.view import View


__all__ = ["COMPUTE_KINDS", "Pools", "build_compute"]

NIC: Final = "microsoft.network/networkinterfaces"
VM: Final = "microsoft.compute/virtualmachines"
SCALE_SET: Final = "microsoft.compute/virtualmachinescalesets"
CLUSTER: Final = "microsoft.containerservice/managedclusters"

COMPUTE_KINDS: Final = frozenset({NIC, VM, SCALE_SET, CLUSTER, f"{CLUSTER}/agentpools"})
"""Types that are read here."""

_PODS: Final = {
    "azure": EndpointKind.AKS_CNI,
    "kubenet": EndpointKind.AKS_KUBENET,
    "none": EndpointKind.AKS_BYOCNI,
}


@dataclass(slots=True)
class Pools:
    """Which endpoints are in which pool of a load balancer, by the pool's id; and whether by a secondary address."""

    members: dict[str, list[tuple[str, bool]]]
    by_interface: dict[str, str]

    def add(self, pool: str, endpoint: str, *, secondary: bool) -> None:
        """An endpoint is in a pool."""
        self.members.setdefault(pool, []).append((endpoint, secondary))


def build_compute(index: Index, estate: Estate) -> Pools:
    """Fill in what runs.

    Returns:
        What load balancers need to know of it.
    """
    pools = Pools({}, {})
    used: set[str] = set()
    for view in index.of(VM):
        interfaces = view.parts("networkProfile", "networkInterfaces")
        for number, part in enumerate(interfaces):
            used.add(index.canonical(part.reference("id")))
            _machine(view, part, number, len(interfaces), index, estate, pools)
        for number, part in enumerate(view.parts("networkProfile", "networkInterfaceConfigurations")):
            _configured(
                view, part, number, "VM", 1, view.text("hardwareProfile", "vmSize"), index, estate, pools
            )
    for view in index.of(NIC):
        attached = view.reference("virtualMachine")
        if view.id not in used and attached and index.find(attached) is None:
            index.doubt(view.name, f"its VM {attached.rpartition('/')[2]} is not in these files", view.place)
            _interface(view, view, None, view.name, index, estate, pools)
    for view in index.of(SCALE_SET):
        size, count = view.text("sku", "name"), view.number("sku", "capacity")
        base = ("virtualMachineProfile", "networkProfile", "networkInterfaceConfigurations")
        for number, part in enumerate(view.parts(*base)):
            _configured(view, part, number, "scale set", count, size, index, estate, pools)
    for view in index.of(CLUSTER):
        _cluster(view, index, estate)
    return pools


def _machine(
    vm: View, reference: View, number: int, count: int, index: Index, estate: Estate, pools: Pools
) -> None:
    interface = index.find(reference.reference("id"))
    size = vm.text("hardwareProfile", "vmSize")
    if interface is None:
        name = reference.reference("id").rpartition("/")[2] or "its interface"
        why = f"interface {name} is not in these files; name the output of `az network nic list`, too"
        index.doubt(vm.name, why, vm.place)
        return
    name = vm.name if count == 1 or number == 0 else f"{vm.name}/{interface.name}"
    _interface(vm, interface, size, name, index, estate, pools)


def _interface(
    owner: View, interface: View, size: str | None, name: str, index: Index, estate: Estate, pools: Pools
) -> None:
    configurations = interface.parts("ipConfigurations")
    if not configurations:
        return
    network, subnet = _place(configurations[0], index, estate)
    endpoint = Endpoint(
        f"{owner.id}#{interface.id.rpartition('/')[2]}",
        name,
        EndpointKind.VM,
        "VM",
        network,
        subnet,
        1,
        size,
        accelerated=interface.flag("enableAcceleratedNetworking"),
        address=_fixed(configurations[0]),
        tags=owner.tags(),
        certain=owner.certain and interface.certain,
        place=owner.place,
        security_group=interface.reference("networkSecurityGroup"),
        secondary=len(configurations) > 1,
    )
    estate.endpoints[endpoint.id] = endpoint
    pools.by_interface[interface.id] = endpoint.id
    _join_pools(configurations, endpoint.id, pools)


def _configured(
    owner: View,
    part: View,
    number: int,
    what: str,
    count: int | None,
    size: str | None,
    index: Index,
    estate: Estate,
    pools: Pools,
) -> None:
    """An interface that a VM or scale set describes itself."""
    configurations = part.parts("ipConfigurations")
    if not configurations:
        return
    network, subnet = _place(configurations[0], index, estate)
    identity = f"{owner.id}#{number}"
    estate.endpoints[identity] = Endpoint(
        identity,
        owner.name if number == 0 else f"{owner.name}/{part.symbol('name')}",
        EndpointKind.VM,
        what,
        network,
        subnet,
        count,
        size,
        accelerated=part.flag("enableAcceleratedNetworking"),
        tags=owner.tags(),
        certain=owner.certain,
        place=owner.place,
        security_group=part.reference("networkSecurityGroup"),
        secondary=len(configurations) > 1,
    )
    _join_pools(configurations, identity, pools)


def _join_pools(configurations: list[View], endpoint: str, pools: Pools) -> None:
    for number, configuration in enumerate(configurations):
        primary = configuration.flag("primary", default=number == 0)
        for pool in configuration.parts("loadBalancerBackendAddressPools"):
            pools.add(pool.reference("id"), endpoint, secondary=primary is False)


def _place(configuration: View, index: Index, estate: Estate) -> tuple[str, str]:
    head, subnet = parent_of(configuration.reference("subnet"), "subnets")
    network = index.network(head, estate)
    return ("", subnet) if network is None else (network.id, subnet)


def _fixed(configuration: View) -> str:
    address = configuration.raw("privateIPAddress")
    return address if isinstance(address, str) else ""


# ----------------------------------------------------------------------------------------------------- clusters


def _cluster(view: View, index: Index, estate: Estate) -> None:
    own = view.parts("agentPoolProfiles")
    apart = [
        each
        for each in index.of(f"{CLUSTER}/agentpools")
        if index.canonical(parent_of(each.id, "agentpools")[0]) == view.id
    ]
    plugin = (view.text("networkProfile", "networkPlugin") or "").lower()
    overlay = (view.text("networkProfile", "networkPluginMode") or "").lower() == "overlay"
    network = ""
    for pool in [*own, *apart]:
        found = _pool(view, pool, index, estate)
        if found is None:
            continue
        network = network or found.network
        pods = EndpointKind.AKS_OVERLAY if overlay else _PODS.get(plugin, EndpointKind.AKS_KUBENET)
        subnet = parent_of(pool.reference("podSubnetID"), "subnets")
        if subnet[0]:
            pods = EndpointKind.AKS_POD_SUBNET
        _pods(found, pods, subnet, index, estate)
    if view.flag("apiServerAccessProfile", "enableVnetIntegration"):
        head, name = parent_of(view.reference("apiServerAccessProfile", "subnetId"), "subnets")
        there = index.network(head, estate)
        sizes = {pool.text("vmSize") for pool in [*own, *apart]}
        identity = f"{view.id}#api-server"
        estate.endpoints[identity] = Endpoint(
            identity,
            view.name,
            EndpointKind.AKS_API_SERVER,
            "AKS API server",
            network if there is None else there.id,
            name,
            1,
            next(iter(sizes)) if len(sizes) == 1 else None,
            tags=view.tags(),
            certain=view.certain,
            place=view.place,
        )
    if not network:
        why = "it makes a network of its own, which is not in these files; encryption is for networks that you bring"
        index.doubt(view.name, why, view.place)


def _pool(cluster: View, pool: View, index: Index, estate: Estate) -> Endpoint | None:
    head, subnet = parent_of(pool.reference("vnetSubnetID"), "subnets")
    network = index.network(head, estate)
    if network is None:
        return None
    name = pool.symbol("name").rpartition("/")[2] or pool.name.rpartition("/")[2]
    identity = f"{cluster.id}#{name}"
    endpoint = Endpoint(
        identity,
        f"{cluster.name}/{name}",
        EndpointKind.VM,
        "AKS node",
        network.id,
        subnet,
        pool.number("count"),
        pool.text("vmSize"),
        accelerated=True,  # AKS turns it on wherever the size has it
        tags=cluster.tags(),
        certain=cluster.certain,
        place=pool.place,
    )
    estate.endpoints[identity] = endpoint
    return endpoint


def _pods(nodes: Endpoint, kind: EndpointKind, subnet: tuple[str, str], index: Index, estate: Estate) -> None:
    """The pods of a node pool, as one endpoint: how many there are is nothing that a template says."""
    there = index.network(subnet[0], estate)
    identity = f"{nodes.id}#pods"
    estate.endpoints[identity] = Endpoint(
        identity,
        f"pods of {nodes.name}",
        kind,
        "AKS pods",
        nodes.network if there is None else there.id,
        subnet[1] or nodes.subnet,
        None,
        nodes.size,
        accelerated=nodes.accelerated,
        tags=nodes.tags,
        certain=nodes.certain,
        place=nodes.place,
    )
