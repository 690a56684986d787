"""Every kind of resource is read into the model, however it is written; what cannot be made out is said."""

import json

import pytest

from dtls_emu.vocabulary import Enforcement
from dtls_emu.whatif.documents import read_documents
from dtls_emu.whatif.errors import ResourceFileError
from dtls_emu.whatif.model.build import build
from tests.whatif.conftest import GROUP, NETWORK, Lists


@pytest.fixture
def model(tmp_path):
    """The model of documents."""

    def model(*documents):
        names = []
        for number, document in enumerate(documents):
            path = tmp_path / f"file-{number}.json"
            path.write_text(json.dumps(document.items if isinstance(document, Lists) else document))
            names.append(str(path))
        return build(read_documents(names))

    return model


def endpoint(estate, name):
    (found,) = [each for each in estate.endpoints.values() if each.name == name]
    return found


def as_arm(item):
    """A flat item as ARM nests it."""
    outer = {"id", "name", "type", "location", "sku", "tags"}
    return {
        **{key: value for key, value in item.items() if key in outer},
        "properties": {key: value for key, value in item.items() if key not in outer},
    }


@pytest.mark.parametrize("form", ["list", "rest", "arm", "snapshot", "shown"])
def test_the_forms_of_a_file_come_to_the_same(lists, model, form):
    """What the CLI prints, the REST interface gives, ARM nests, `bicep snapshot` predicts: one network with a VM."""
    lists.network("net", "10.0.0.0/24", encryption={"enabled": True, "enforcement": "dropUnencrypted"})
    lists.vm("vm", "net", size="Standard_E4s_v5")
    items = lists.items
    documents = {
        "list": [items],
        "rest": [{"value": items}],
        "arm": [[as_arm(item) for item in items]],
        "snapshot": [{"predictedResources": [as_arm(item) for item in items], "diagnostics": []}],
        "shown": items,
    }[form]
    estate = model(*documents)
    (network,) = estate.networks.values()
    assert (network.name, network.encrypted, network.enforcement) == (
        "net",
        True,
        Enforcement.DROP_UNENCRYPTED,
    )
    vm = endpoint(estate, "vm")
    assert (vm.size, vm.accelerated, vm.network, vm.subnet) == (
        "Standard_E4s_v5",
        True,
        network.id,
        "default",
    )
    assert estate.doubts == []


def test_what_a_snapshot_could_not_know_is_unknown(lists, model):
    """An expression that is left in it."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("vm", "net", size="[reference('somewhere').size]")
    estate = model({"predictedResources": lists.items})
    assert endpoint(estate, "vm").size is None
    assert [(each.what, each.why, each.matters) for each in estate.doubts] == [
        ("reference('somewhere').size", "`bicep snapshot` could not know it", True)
    ]


def test_an_interface_that_is_not_there_is_named(lists, model):
    """With what would help; the VM is nowhere then."""
    lists.network("net", "10.0.0.0/24")
    lists.add(
        "Microsoft.Compute/virtualMachines",
        "vm",
        hardwareProfile={"vmSize": "Standard_D4s_v5"},
        networkProfile={"networkInterfaces": [{"id": "/subscriptions/s/x/networkInterfaces/lost"}]},
    )
    estate = model(lists)
    assert estate.endpoints == {}
    assert estate.doubts[0].why == (
        "interface lost is not in these files; name the output of `az network nic list`, too"
    )


def test_names_are_taken_in_any_case(lists, model):
    """Of keys, types and ids."""
    lists.network("net", "10.0.0.0/24")
    lists.vm("vm", "net")
    text = (
        json.dumps(lists.items).replace("ipConfigurations", "IPCONFIGURATIONS").replace(GROUP, GROUP.upper())
    )
    assert endpoint(model(json.loads(text)), "vm").subnet == "default"


SERVICES = [
    ("Microsoft.Network/privateEndpoints", {"subnet": 0}, "private-endpoint"),
    ("Microsoft.Network/privateLinkServices", {"ipConfigurations": [{"subnet": 0}]}, "private-link-service"),
    ("Microsoft.Network/applicationGateways", {"gatewayIPConfigurations": [{"subnet": 0}]}, "application-gateway"),
    ("Microsoft.Network/azureFirewalls", {"sku": {"tier": "Premium"}, "ipConfigurations": [{"subnet": 0}]}, "firewall-premium"),
    ("Microsoft.Network/azureFirewalls", {"ipConfigurations": [{"subnet": 0}]}, "firewall-standard"),
    ("Microsoft.Network/virtualNetworkGateways", {"gatewayType": "Vpn", "ipConfigurations": [{"subnet": 0}]}, "vpn-gateway"),
    ("Microsoft.Network/virtualNetworkGateways", {"gatewayType": "ExpressRoute", "ipConfigurations": [{"subnet": 0}]}, "expressroute-gateway"),
    ("Microsoft.Network/bastionHosts", {"ipConfigurations": [{"subnet": 0}]}, "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "expected"), SERVICES)
def test_what_azure_runs_is_an_endpoint(lists, model, kind, body, expected):
    """By its kind, in its subnet."""
    lists.network("net", "10.0.0.0/24")
    placed = json.loads(
        json.dumps(body).replace('"subnet": 0', f'"subnet": {json.dumps(lists.subnet("net"))}')
    )
    lists.add(kind, "service", **placed)
    found = endpoint(model(lists), "service")
    assert (str(found.kind), found.subnet) == (expected, "default")


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("Microsoft.PowerPlatform/vnetaccesslinks", "data-gateway"),
        ("Microsoft.ContainerInstance/containerGroups", "injected-container"),
        ("Microsoft.Sql/managedInstances", "paas"),
    ],
)
def test_a_delegated_subnet_is_where_the_service_is(lists, model, service, expected):
    """Its instances are not resources of the user's."""
    subnet = {"name": "given", "addressPrefix": "10.0.0.128/25", "delegations": [{"serviceName": service}]}
    lists.network("net", "10.0.0.0/24", subnet)
    (found,) = model(lists).endpoints.values()
    assert (str(found.kind), found.subnet) == (expected, "given")


def test_scale_sets_have_a_size_and_a_count(lists, model):
    """Their interfaces are in them."""
    lists.network("net", "10.0.0.0/24")
    nic = {
        "name": "nic",
        "enableAcceleratedNetworking": True,
        "ipConfigurations": [{"subnet": lists.subnet("net")}],
    }
    lists.add(
        "Microsoft.Compute/virtualMachineScaleSets",
        "set",
        sku={"name": "Standard_D2s_v5", "capacity": 7},
        virtualMachineProfile={"networkProfile": {"networkInterfaceConfigurations": [nic]}},
    )
    found = endpoint(model(lists), "set")
    assert (found.count, found.size, found.accelerated) == (7, "Standard_D2s_v5", True)


@pytest.mark.parametrize(
    ("profile", "pod_subnet", "expected"),
    [
        ({"networkPlugin": "azure"}, None, "aks-cni"),
        ({"networkPlugin": "azure", "networkPluginMode": "overlay"}, None, "aks-overlay"),
        ({"networkPlugin": "kubenet"}, None, "aks-kubenet"),
        ({"networkPlugin": "none"}, None, "aks-byocni"),
        ({"networkPlugin": "azure"}, "pods", "aks-pod-subnet"),
    ],
)
def test_pods_are_of_the_clusters_network_mode(lists, model, profile, pod_subnet, expected):
    """One kind of endpoint for each mode, beside the nodes."""
    lists.network("net", "10.0.0.0/16")
    pool = {"name": "one", "count": 3, "vmSize": "Standard_D4s_v5", "vnetSubnetId": lists.subnet("net")["id"]}
    if pod_subnet:
        pool["podSubnetId"] = lists.subnet("net", pod_subnet)["id"]
    lists.add(
        "Microsoft.ContainerService/managedClusters", "aks", networkProfile=profile, agentPoolProfiles=[pool]
    )
    estate = model(lists)
    assert str(endpoint(estate, "pods of aks/one").kind) == expected
    assert endpoint(estate, "aks/one").count == 3


def test_mirrors_balancers_hubs_and_groups(lists, model):
    """Each with what it joins."""
    first, second = (lists.network(name, f"10.{n}.0.0/24") for n, name in enumerate(("one", "two")))
    pool = f"{GROUP}/Microsoft.Network/loadBalancers/lb/backendAddressPools/all"
    nic = lists.vm("vm", "one", loadBalancerBackendAddressPools=[{"id": pool}])
    front = {"name": "front", "subnet": lists.subnet("one")}
    lists.add(
        "Microsoft.Network/loadBalancers",
        "lb",
        frontendIPConfigurations=[front],
        backendAddressPools=[{"name": "all"}],
    )
    tap = lists.add("Microsoft.Network/virtualNetworkTaps", "tap")
    lists.add(
        "Microsoft.Network/networkInterfaces/tapConfigurations", "vm-nic/t", virtualNetworkTap={"id": tap}
    )
    lists.add("Microsoft.Network/virtualHubs", "hub")
    for name, network in (("a", first), ("b", second)):
        lists.add(
            "Microsoft.Network/virtualHubs/hubVirtualNetworkConnections",
            f"hub/{name}",
            remoteVirtualNetwork={"id": network},
        )
    group = lists.add(
        "Microsoft.Network/networkManagers/networkGroups",
        "m/g",
        groupMembers=[{"vnetId": first}, {"vnetId": second}],
    )
    lists.add(
        "Microsoft.Network/networkManagers/connectivityConfigurations",
        "m/c",
        connectivityTopology="HubAndSpoke",
        hubs=[{"resourceId": first}],
        appliesToGroups=[
            {"networkGroupId": group, "groupConnectivity": "DirectlyConnected", "isGlobal": "True"}
        ],
    )
    estate = model(lists)
    (vm,) = estate.endpoints.values()
    assert [each.backends for each in estate.balancers.values()] == [(vm.id,)]
    assert [each.sources for each in estate.mirrors] == [(vm.id,)]
    assert [len(each.networks) for each in estate.hubs] == [2]
    assert [(len(each.networks), each.across_regions) for each in estate.groups] == [(2, True)]
    assert len(estate.peerings) == 2
    assert nic.lower().strip("/") in vm.id + nic.lower()


def test_files_without_a_network_are_refused(lists, model):
    """There is nothing to say about them."""
    lists.add("Microsoft.Network/publicIPAddresses", "ip")
    with pytest.raises(ResourceFileError, match="no virtual network in it"):
        model(lists)


def test_strange_values_are_no_reason_to_fail(lists, model):
    """Whatever stands where something else should: it is left out, or listed."""
    lists.network("net", "not a prefix", peculiar=[[[]]])
    lists.items[0]["subnets"] = [None, 3, {"name": 5, "properties": "x"}, {"addressPrefix": ["10.0.0.0/24"]}]
    lists.items[0]["virtualNetworkPeerings"] = {"a": 1}
    lists.items[0]["encryption"] = [True]
    lists.add(
        "Microsoft.Network/networkInterfaces",
        "nic",
        ipConfigurations="none",
        enableAcceleratedNetworking="maybe",
    )
    lists.add("Microsoft.Network/networkSecurityGroups", "nsg", securityRules=[{"priority": "many"}])
    lists.add(f"{NETWORK}/subnets", "net/s", addressPrefix=7)
    estate = model(lists)
    assert [network.prefixes for network in estate.networks.values()] == [()]
    assert any(each.why == "is no address prefix" for each in estate.doubts)


def test_names_cannot_steer_a_terminal(lists, model):
    """Whatever prints them; also the names in a message of what is wrong."""
    lists.network("net\x1b[31m", "10.0.0.0/24")
    lists.vm("vm\x07", "net\x1b[31m", size="Standard\x1b[2J")
    estate = model(lists)
    assert [each.name for each in estate.networks.values()] == ["net?[31m"]
    assert [(each.name, each.size) for each in estate.endpoints.values()] == [("vm?", "Standard?[2J")]
    template = {
        "$schema": "x/deploymentTemplate.json",
        "resources": [{"type": "A.B/c", "name": "[variables('\x1b')]"}],
        "variables": {"\x1b": "[variables('\x1b')]"},
    }
    with pytest.raises(ResourceFileError) as refused:
        model(template)
    assert str(refused.value).isprintable()


def test_a_lab_is_a_model_too():
    """VMs with what the lab says of them, endpoints of every kind."""
    estate = build(read_documents(["mixed-sizes", "endpoints"]))
    assert estate.endpoints["vms.allow-not-restarted"].restarted is False
    assert estate.endpoints["vms.drop-old"].size == "Standard_D2_v2"
    assert str(estate.endpoints["endpoints.resolver"].kind) == "dns-private-resolver"
    assert estate.networks["drop"].enforcement is Enforcement.DROP_UNENCRYPTED
