"""What tests of `whatif` share: small resources, and questions asked in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dtls_emu.whatif
from dtls_emu.vocabulary import Enforcement
from dtls_emu.whatif.answer.answer import answer
from dtls_emu.whatif.answer.question import Question
from dtls_emu.whatif.documents import read_documents
from dtls_emu.whatif.model.build import build


EXAMPLES = Path(dtls_emu.whatif.__file__).parent / "examples"
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers"
NETWORK = "Microsoft.Network/virtualNetworks"


class Lists:
    """Resources as the Azure CLI prints them, made one by one."""

    def __init__(self):
        self.items = []

    def add(self, kind, name, **more):
        space, *steps = kind.split("/")
        parts = "/".join(f"{step}/{part}" for step, part in zip(steps, name.split("/"), strict=True))
        item = {"id": f"{GROUP}/{space}/{parts}", "name": name.rpartition("/")[2], "type": kind, **more}
        self.items.append(item)
        return item["id"]

    def network(self, name, prefix, *subnets, **more):
        return self.add(
            NETWORK,
            name,
            location="eastus",
            addressSpace={"addressPrefixes": [prefix]},
            subnets=[{"name": "default", "addressPrefix": prefix}, *subnets],
            **more,
        )

    def peer(self, one, other):
        for first, second in ((one, other), (other, one)):
            self.add(
                f"{NETWORK}/virtualNetworkPeerings",
                f"{first}/{second}",
                remoteVirtualNetwork={"id": f"{GROUP}/{NETWORK}/{second}"},
                allowVirtualNetworkAccess=True,
            )

    def subnet(self, network, name="default"):
        return {"id": f"{GROUP}/{NETWORK}/{network}/subnets/{name}"}

    def vm(self, name, network, size="Standard_D4s_v5", accelerated=True, subnet="default", **more):
        nic = self.add(
            "Microsoft.Network/networkInterfaces",
            f"{name}-nic",
            enableAcceleratedNetworking=accelerated,
            ipConfigurations=[
                {"name": "one", "primary": True, "subnet": self.subnet(network, subnet), **more}
            ],
        )
        self.add(
            "Microsoft.Compute/virtualMachines",
            name,
            hardwareProfile={"vmSize": size},
            networkProfile={"networkInterfaces": [{"id": nic}]},
        )
        return nic


@pytest.fixture
def lists():
    return Lists()


@pytest.fixture
def ask(tmp_path):
    """Ask about documents, lists of resources, or names of examples."""

    def ask(*sources, **question):
        names = []
        for number, source in enumerate(sources):
            if isinstance(source, str):
                here = EXAMPLES / source
                names.append(str(here) if here.suffix else source)
                continue
            path = tmp_path / f"file-{number}.json"
            path.write_text(json.dumps(source.items if isinstance(source, Lists) else source))
            names.append(str(path))
        if "enforcement" in question:
            question["enforcement"] = Enforcement(question["enforcement"])
        return answer(build(read_documents(names)), Question(**question))

    return ask


def totals(found):
    """Pairs by what becomes of them, without those of which there are none."""
    return {
        str(fate): count
        for fate in type(found.pairs.groups[0].ruling.fate)
        if (count := found.pairs.total(fate))
    }
