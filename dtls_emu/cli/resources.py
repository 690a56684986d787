"""``dtls-emu resources``: what the control plane shows of a lab's encryption."""

from __future__ import annotations

from typing import Annotated

import typer

from dtls_emu.cli.output import JsonOption, print_json, print_table


__all__ = ["resources"]


def resources(
    lab: Annotated[str, typer.Argument(help="A lab file, or the name of a shipped lab.")],
    as_json: JsonOption = False,
) -> None:
    """Show networks, peerings and NICs as the cloud's API does, with what it says of encryption.

    That is configuration: whether a flow is encrypted, `explain decision` says, and flow logs do. The JSON is in the shape
    of the API; its virtual networks can be changed and given to `dtls-emu set NETWORK --put FILE`.
    """
    from dtls_emu.lab import compile_lab, load_lab
    from dtls_emu.lab.control_plane import resources as shown

    found = shown(compile_lab(load_lab(lab)))
    if as_json:
        print_json(found)
        return
    networks = [each["properties"] | {"name": each["name"]} for each in found if "location" in each]
    print_table(
        "Virtual networks",
        ["name", "encryption.enabled", "enforcement"],
        [
            [each["name"], str(each["encryption"]["enabled"]), each["encryption"]["enforcement"]]
            for each in networks
        ],
    )
    peerings = [
        (each["name"], peering["properties"])
        for each in networks
        for peering in each["virtualNetworkPeerings"]
    ]
    if peerings:
        print_table(
            "Peerings (remoteVirtualNetworkEncryption)",
            ["network", "peered with", "enabled", "enforcement"],
            [
                [
                    name,
                    peering["remoteVirtualNetwork"]["id"].rpartition("/")[2],
                    str(peering["remoteVirtualNetworkEncryption"]["enabled"]),
                    peering["remoteVirtualNetworkEncryption"]["enforcement"],
                ]
                for name, peering in peerings
            ],
        )
    print_table(
        "Network interfaces",
        ["name", "enableAcceleratedNetworking", "vnetEncryptionSupported"],
        [
            [
                each["name"],
                str(each["properties"]["enableAcceleratedNetworking"]),
                str(each["properties"]["vnetEncryptionSupported"]),
            ]
            for each in found
            if "location" not in each
        ],
    )
