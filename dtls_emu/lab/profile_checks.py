"""What a lab's profile refuses: enforcement without its subscription feature, accelerated networking of another year."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from dtls_emu.lab.accelerated import refusal
from dtls_emu.lab.problems import Problem
from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.schema import DROP_FEATURE
from dtls_emu.vocabulary import AcceleratedNetworking, Enforcement


if TYPE_CHECKING:
    from collections.abc import Iterator

    from dtls_emu.lab.profiles import Profile
    from dtls_emu.lab.schema import Lab


__all__ = ["assumptions", "check_profile", "profile_of"]


def profile_of(lab: Lab) -> Profile:
    """The lab's profile, with its overrides."""
    return replace(PROFILES[lab.profile], **lab.overrides.model_dump(exclude_none=True))


def check_profile(lab: Lab) -> Iterator[Problem]:
    """What the vendor would refuse."""
    profile = profile_of(lab)
    if lab.subscription_features is not None and profile.drop_needs_feature:
        registered = {name.lower() for name in lab.subscription_features}
        if DROP_FEATURE.lower() not in registered:
            for name in _dropping(lab):
                yield Problem(
                    ("virtual_networks", name, "encryption", "enforcement"),
                    f"this subscription does not have the feature {DROP_FEATURE}; write it under "
                    "`subscription_features`, or AllowUnencrypted here",
                )
    rules = profile.accelerated_networking
    if rules is AcceleratedNetworking.ANY:
        return
    for name, vm in lab.vms.items():
        host = lab.hosts.get(vm.host)
        if not vm.accelerated_networking or host is None:
            continue
        why = refusal(rules, vm.size if isinstance(vm.size, str) else vm.size.name, host.region)
        if why:
            yield Problem(("vms", name, "accelerated_networking"), f"cannot be on: {why}")


def assumptions(lab: Lab) -> list[str]:
    """What is taken for granted of a lab, in sentences."""
    names = _dropping(lab) if lab.subscription_features is None else []
    if not names or not profile_of(lab).drop_needs_feature:
        return []
    told = (
        f"DropUnencrypted of {', '.join(names)}: the subscription is taken to have the feature {DROP_FEATURE}; profile "
        f"{lab.profile} asks for it, and `subscription_features` would say"
    )
    return [told]


def _dropping(lab: Lab) -> list[str]:
    return [
        name
        for name, network in lab.virtual_networks.items()
        if network.encryption.enabled and network.encryption.enforcement is Enforcement.DROP_UNENCRYPTED
    ]
