"""What a deployment gets from Azure: its subscription, resource group and region; and the ids made of them.

None of it is in a template. Ids are needed only to find what refers to what: so subscription and group have names
in braces, each the same wherever it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.whatif.template.values import Unknown, symbol_of


if TYPE_CHECKING:
    from dtls_emu.whatif.template.values import Place


__all__ = ["Context", "resource_id"]

_ID: Final = "{{{}}}"


@dataclass(frozen=True, slots=True)
class Context:
    """Where a deployment goes.

    Fields:
        subscription, group: names, or words in braces.
        location: of the resource group; None where nobody said.
        deployment: its name.
    """

    subscription: str = "{subscription}"
    group: str = "{resource-group}"
    location: str | None = None
    deployment: str = "deployment"

    @property
    def subscription_id(self) -> str:
        """The id of the subscription."""
        return f"/subscriptions/{self.subscription}"

    @property
    def group_id(self) -> str:
        """The id of the resource group."""
        return f"{self.subscription_id}/resourceGroups/{self.group}"

    def region(self, place: Place) -> Any:
        """Where the resource group is: unknown, but the same for all that ask."""
        return self.location or Unknown(_ID.format(f"location of {self.group}"), "", place)

    def functions(self, place: Place) -> dict[str, Any]:
        """What the functions without arguments give that describe a deployment."""
        deployed: dict[str, Any] = {"name": self.deployment, "location": self.region(place), "properties": {}}
        unknown = Unknown(_ID.format("account"), "", place)
        return {
            "subscription": {
                "id": self.subscription_id,
                "subscriptionId": self.subscription,
                "tenantId": "{tenant}",
                "displayName": self.subscription,
            },
            "resourcegroup": {
                "id": self.group_id,
                "name": self.group,
                "location": self.region(place),
                "type": "Microsoft.Resources/resourceGroups",
                "tags": {},
                "properties": {},
            },
            "tenant": {"tenantId": "{tenant}", "id": "/tenants/{tenant}", "displayName": "{tenant}"},
            "managementgroup": {
                "id": "/providers/Microsoft.Management/managementGroups/{management-group}",
                "name": "{management-group}",
            },
            "deployment": deployed,
            "environment": {
                "name": "AzureCloud",
                "resourceManager": "https://management.azure.com/",
                "suffixes": {
                    "storage": "core.windows.net",
                    "keyvaultDns": ".vault.azure.net",
                    "sqlServerHostname": ".database.windows.net",
                    "acrLoginServer": ".azurecr.io",
                },
                "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
            },
            "deployer": {"objectId": unknown, "tenantId": "{tenant}", "userPrincipalName": unknown},
        }


def resource_id(head: str, kind: Any, names: list[Any]) -> Any:
    """The id of a resource; unknown, but the same each time, where one of its names is.

    Args:
        head: the id of the group, subscription or resource that it is in; empty for the tenant.
        kind: its type, such as `Microsoft.Network/virtualNetworks/subnets`.
        names: of the resource that holds it, and its own; as many as the type has parts.
    """
    words = symbol_of(kind).strip("/").split("/")
    said = [part for name in names for part in symbol_of(name).split("/")]
    steps = [f"/{word}/{name}" for word, name in zip(words[1:], said, strict=False)]
    text = f"{head}/providers/{words[0]}{''.join(steps)}"
    unknown = next((each for each in (kind, *names) if isinstance(each, Unknown)), None)
    return text if unknown is None else unknown.of(text)
