"""What a flow log calls things: resource ids, the paths of blobs, lists of rules and the rules in them.

Names that only the cloud has are made up from the lab's, the same ones for the same lab: subscription, resource group,
security groups. The rules are the default ones of a network security group.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from dtls_emu.flow_logs.records import CATEGORY, UNSPECIFIED, VERSION, FlowRecords, Record
from dtls_emu.flow_logs.tuples import Side


if TYPE_CHECKING:
    from dtls_emu.lab.topology import Topology, Vm


__all__ = ["PLATFORM_RULE", "ZERO_GUID", "FlowLogNames", "blob_path", "mac_text", "record_time"]

CONTAINER: Final = "insights-logs-flowlogflowevent"
"""Of the storage account."""

PLATFORM_RULE: Final = "PlatformRule"
ZERO_GUID: Final = str(UUID(int=0))
"""Rule and list of traffic that the platform lets through by itself."""


def mac_text(mac: bytes) -> str:
    """As a log has it: 12 hexadecimal digits, in capitals."""
    return mac.hex().upper()


def record_time(when: int) -> str:
    """Milliseconds since 1970 as a record's ``time``: UTC with seven digits behind the point."""
    moment = datetime.fromtimestamp(when // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{when % 1000:03d}0000Z"


def blob_path(resource: str, mac: str, when: int) -> str:
    """Where a record is kept: one blob an interface and hour.

    Args:
        resource: id of the flow log, in capitals.
        mac: of the interface.
        when: milliseconds since 1970, of its flows.
    """
    moment = datetime.fromtimestamp(when // 1000, UTC)
    return (
        f"{CONTAINER}/flowLogResourceID={resource}/y={moment:%Y}/m={moment:%m}/d={moment:%d}/h={moment:%H}/m=00/"
        f"macAddress={mac}/PT1H.json"
    )


@dataclass(frozen=True, slots=True)
class FlowLogNames:
    """The names of one lab.

    Fields:
        topology: of the lab.
    """

    topology: Topology

    def record(self, vm: Vm, when: int, content: FlowRecords) -> Record:
        """A record of an interface.

        Args:
            vm: whose it is.
            when: the time at which it is written, in milliseconds since 1970.
            content: the tuples.
        """
        resource = self.resource(vm)
        return Record(
            time=record_time(when),
            version=VERSION,
            guid=str(uuid5(NAMESPACE_URL, resource)),
            mac=mac_text(vm.mac),
            category=CATEGORY,
            resource=resource,
            target=self._id("Microsoft.Network/virtualNetworks", vm.network),
            operation=CATEGORY,
            content=content,
        )

    def resource(self, vm: Vm) -> str:
        """Id of the flow log of a VM's virtual network."""
        region = self.topology.hosts[vm.host].region
        return (
            f"/SUBSCRIPTIONS/{self._subscription}/RESOURCEGROUPS/NETWORKWATCHERRG/PROVIDERS/MICROSOFT.NETWORK/"
            f"NETWORKWATCHERS/NETWORKWATCHER_{region}/FLOWLOGS/{vm.network}-FLOWLOG"
        ).upper()

    def acl(self, vm: Vm, side: Side, *, is_private: bool, is_denied: bool = False) -> tuple[str, str]:
        """Id of the list and name of the rule that let a flow of a VM pass, or denied it, where a lab has no rules."""
        is_inbound = side is Side.INBOUND
        if is_denied:
            rule = "DenyAllInBound" if is_inbound else "DenyAllOutBound"
        elif is_private:
            rule = "AllowVnetInBound" if is_inbound else "AllowVnetOutBound"
        elif is_inbound:
            return ZERO_GUID, PLATFORM_RULE
        else:
            rule = "AllowInternetOutBound"
        return self.acl_of(f"{vm.network}-nsg"), f"DefaultRule_{rule}"

    def acl_of(self, group: str) -> str:
        """Id of a security group; of the network manager whose administrator's rules stand before them, for ""."""
        if not group:
            return self._id("Microsoft.Network/networkManagers", "manager")
        return self._id("Microsoft.Network/networkSecurityGroups", group)

    def _id(self, kind: str, name: str) -> str:
        return (
            f"/subscriptions/{self._subscription}/resourceGroups/{self.topology.name}/providers/{kind}/{name}"
        )

    @property
    def _subscription(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"urn:dtls-emu:lab:{self.topology.name}"))


DENIED_BY_ENCRYPTION: Final = UNSPECIFIED, UNSPECIFIED
"""List and rule of what encryption has denied."""
