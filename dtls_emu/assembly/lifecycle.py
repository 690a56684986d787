"""What follows from a change, as in the cloud: enabling encryption asks for a restart of the VMs, starting one is a restart.

Source: "What is Azure Virtual Network encryption?", requirements: start/stop of existing VMs is required after enabling
encryption; "Accelerated Networking overview", 2022: it can be enabled only while the VM is stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dtls_emu.errors import RunError
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.vocabulary import AcceleratedNetworking


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["consequences"]

Path = tuple[str | int, ...]

_TRUE = (True, "yes", "on")


def consequences(
    document: Mapping[str, Any], section: str, name: str, values: Mapping[str, Any]
) -> list[tuple[Path, dict[str, Any]]]:
    """Further changes that one brings with it: paths, and what is merged there.

    Args:
        document: the lab as it is.
        section, name: of the entry that is changed.
        values: what is merged into it.

    Raises:
        RunError: the vendor would refuse it.
    """
    entry = document[section][name] or {}
    if section == "virtual_networks":
        return _of_encryption(document, name, entry, values.get("encryption"))
    if section != "vms":
        return []
    is_running = entry.get("state", "running") == "running"
    if (
        "accelerated_networking" in values
        and is_running
        and values.get("state") != "stopped"
        and str(_knob(document, "accelerated_networking")) == AcceleratedNetworking.OF_2022
    ):
        raise RunError(
            f"{name} is running, and accelerated networking is changed only while a VM is stopped; write state=stopped, "
            "too, and start it again"
        )
    if values.get("state") == "running" and not is_running and "restarted_since_encryption" not in values:
        return [(("vms", name), {"restarted_since_encryption": True})]
    return []


def _of_encryption(
    document: Mapping[str, Any], name: str, entry: Mapping[str, Any], encryption: Any
) -> list[tuple[Path, dict[str, Any]]]:
    was_enabled = (entry.get("encryption") or {}).get("enabled") in _TRUE
    is_enabled = isinstance(encryption, dict) and encryption.get("enabled") in _TRUE
    if was_enabled or not is_enabled or _knob(document, "restart_required") not in _TRUE:
        return []
    return [
        (("vms", vm), {"restarted_since_encryption": False})
        for vm, each in document["vms"].items()
        if each["virtual_network"] == name and each.get("state", "running") == "running"
    ]


def _knob(document: Mapping[str, Any], knob: str) -> Any:
    value = (document.get("overrides") or {}).get(knob)
    return getattr(PROFILES[document.get("profile", "current")], knob) if value is None else value
