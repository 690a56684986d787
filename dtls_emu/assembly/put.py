"""What a PUT of a virtual network sets: the whole resource, so that what its body leaves out is off.

Source: hashicorp/terraform-provider-azurerm issue 22679: "vnet changes are done via a PUT - and the lack of the vnet
encryption parameters is viewed as a disable".
"""

from __future__ import annotations

from typing import Any, Final

from dtls_emu.errors import RunError


__all__ = ["values_of_put"]

_OFF: Final = {"enabled": False, "enforcement": "AllowUnencrypted"}


def values_of_put(body: Any) -> dict[str, Any]:
    """The body of a PUT of ``Microsoft.Network/virtualNetworks`` as what a lab's virtual network is set to.

    Args:
        body: as JSON has it; of its properties ``encryption`` and ``addressSpace`` count.

    Raises:
        RunError: it is no such body.
    """
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict):
        raise RunError('the body of a PUT has `properties`; write {"properties": {...}} as the API takes it')
    encryption = properties.get("encryption")
    if encryption is None:
        values: dict[str, Any] = {"encryption": dict(_OFF)}
    elif not isinstance(encryption, dict) or "enabled" not in encryption:
        raise RunError('`properties.encryption` needs `enabled`; write {"enabled": true}')
    else:
        unknown = sorted(encryption.keys() - _OFF.keys())
        if unknown:
            raise RunError(
                f"`properties.encryption` has no `{unknown[0]}`; it has `enabled` and `enforcement`"
            )
        values = {"encryption": _OFF | encryption}
    space = properties.get("addressSpace")
    if space is not None:
        prefixes = space.get("addressPrefixes") if isinstance(space, dict) else None
        if not isinstance(prefixes, list):
            raise RunError("`properties.addressSpace` needs a list `addressPrefixes`")
        values["address_prefixes"] = prefixes
    return values
