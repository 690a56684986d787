"""What the vendor's documents of accelerated networking refuse, as of two years.

Source: "Create a virtual machine with Accelerated Networking", preview text of 2016-09-26; "Accelerated Networking
overview", text of 2022-02-15.
"""

from __future__ import annotations

import re
from typing import Final

from dtls_emu.vocabulary import AcceleratedNetworking


__all__ = ["refusal"]

_SIZES_2016: Final = frozenset({"Standard_D15_v2", "Standard_DS15_v2"})
_REGIONS_2016: Final = frozenset({"westcentralus", "westeurope"})

_LEAST: Final = 2
_LEAST_HYPER_THREADED: Final = 4

_HYPER_THREADED: Final = re.compile(
    r"Standard_([DE]\d+(-\d+)?[a-oq-z]*_v([3-9]|\d{2,})|F\d+s_v2|[LM]\d+\S*_v[23])"
)
"""D and E from v3 on but for Arm's (`p`), Fsv2, Ls and Ms: "sizes that support hyper-threading"."""

_NO_EFFECT: Final = re.compile(r"Standard_N[CV]\d+r?")
"""Listed, "but accelerated networking takes no effect": the first NC and NV."""


def refusal(rules: AcceleratedNetworking, size: str, region: str) -> str:
    """Why accelerated networking cannot be on for a VM, and what to write; empty when it can.

    Args:
        rules: of which document.
        size: Azure size name.
        region: of the VM's host.
    """
    if rules is AcceleratedNetworking.ANY:
        return ""
    if rules is AcceleratedNetworking.OF_2016:
        if size not in _SIZES_2016:
            return (
                f"in 2016 only {' and '.join(sorted(_SIZES_2016))} had it, and this is {size}; write one of those, or "
                "`accelerated_networking: false`"
            )
        if region not in _REGIONS_2016:
            return (
                f"in 2016 only {' and '.join(sorted(_REGIONS_2016))} had it, and its host is in {region}; write one "
                "of those regions, or `accelerated_networking: false`"
            )
        return ""
    found = re.match(r"[A-Za-z]+_[A-Za-z]+(\d+)", size)
    cores = int(found[1]) if found else 0
    is_hyper_threaded = _HYPER_THREADED.fullmatch(size) is not None
    least = _LEAST_HYPER_THREADED if is_hyper_threaded else _LEAST
    if found and cores < least:
        kind = "a hyper-threaded size" if is_hyper_threaded else "a size"
        return (
            f"{size} has {cores} vCPU{'s' * (cores != 1)}, and {kind} needs {least}; write a larger one, or "
            "`accelerated_networking: false`"
        )
    if _NO_EFFECT.fullmatch(size):
        return f"it takes no effect on {size}; write another size, or `accelerated_networking: false`"
    return ""
