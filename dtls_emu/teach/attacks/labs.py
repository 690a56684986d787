"""Labs with other settings: what makes an attack work, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtls_emu.vocabulary import Enforcement, Verdict


if TYPE_CHECKING:
    from collections.abc import Callable

    from dtls_emu.lab.schema import Lab


__all__ = [
    "allows_unencrypted",
    "drop_unencrypted",
    "encrypts",
    "pass_fragments",
    "protects",
    "remember_more",
    "with_enforcement",
    "with_null_backend",
    "without_encryption",
]


def encrypts(lab: Lab) -> bool:
    """Whether any network of a lab is encrypted."""
    return any(network.encryption.enabled for network in lab.virtual_networks.values())


def protects(lab: Lab) -> bool:
    """Whether its tunnels protect anything: encrypted, and by no backend without a cipher."""
    return encrypts(lab) and all(host.smartnic.backend != "null" for host in lab.hosts.values())


def allows_unencrypted(lab: Lab) -> bool:
    """Whether an encrypted network of it lets packets go in clear that cannot be encrypted."""
    return any(
        network.encryption.enabled and network.encryption.enforcement is Enforcement.ALLOW_UNENCRYPTED
        for network in lab.virtual_networks.values()
    )


def without_encryption(lab: Lab) -> Lab:
    """The lab with encryption off everywhere."""
    return _with_networks(lab, enabled=False)


def with_enforcement(enforcement: Enforcement) -> Callable[[Lab], Lab]:
    """The lab with this enforcement everywhere."""
    return lambda lab: _with_networks(lab, enforcement=enforcement)


drop_unencrypted = with_enforcement(Enforcement.DROP_UNENCRYPTED)


def with_null_backend(lab: Lab) -> Lab:
    """The lab with the backend that has no cipher, on every host."""
    hosts = {
        name: host.model_copy(update={"smartnic": host.smartnic.model_copy(update={"backend": "null"})})
        for name, host in lab.hosts.items()
    }
    return lab.model_copy(update={"hosts": hosts})


def pass_fragments(lab: Lab) -> Lab:
    """The lab with fragments in clear, as in the preview of 2023."""
    overrides = lab.overrides.model_copy(update={"fragments": Verdict.CLEAR})
    return with_enforcement(Enforcement.ALLOW_UNENCRYPTED)(lab.model_copy(update={"overrides": overrides}))


def remember_more(lab: Lab) -> Lab:
    """The lab with the largest replay window."""
    return lab.model_copy(update={"overrides": lab.overrides.model_copy(update={"replay_window": 65_536})})


def _with_networks(lab: Lab, **settings: object) -> Lab:
    networks = {
        name: network.model_copy(update={"encryption": network.encryption.model_copy(update=settings)})
        for name, network in lab.virtual_networks.items()
    }
    return lab.model_copy(update={"virtual_networks": networks})
