"""How long `whatif` takes for the largest network that Azure joins in one mesh, and how much memory.

    .venv/bin/python bench/whatif_scale.py [--networks 5000] [--endpoints 20000]

The network is written as the lists that the Azure CLI prints: virtual networks, interfaces and VMs, and a network
manager with one connected group. Every tenth VM is of a size that cannot be encrypted, every twentieth has no
accelerated networking. Then the command itself runs, as a process of its own; its time and its peak of memory
include the start of Python and the reading of the files.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers"
LIMIT_SECONDS = 5.0
LIMIT_BYTES = 1 << 30


def network_id(number: int) -> str:
    return f"{GROUP}/Microsoft.Network/virtualNetworks/net-{number}"


def write_files(folder: Path, networks: int, endpoints: int) -> list[Path]:
    """The lists, as files; each entry has what the CLI prints of it and `whatif` reads."""
    vnets = [
        {
            "id": network_id(number),
            "name": f"net-{number}",
            "type": "Microsoft.Network/virtualNetworks",
            "location": "eastus",
            "addressSpace": {"addressPrefixes": [f"10.{number >> 5 & 255}.{(number & 31) * 8}.0/21"]},
            "encryption": {"enabled": False, "enforcement": "AllowUnencrypted"},
            "subnets": [
                {"name": "default", "addressPrefix": f"10.{number >> 5 & 255}.{(number & 31) * 8}.0/24"}
            ],
            "virtualNetworkPeerings": [],
        }
        for number in range(networks)
    ]
    nics, vms = [], []
    for number in range(endpoints):
        nic = f"{GROUP}/Microsoft.Network/networkInterfaces/nic-{number}"
        subnet = f"{network_id(number % networks)}/subnets/default"
        nics.append(
            {
                "id": nic,
                "name": f"nic-{number}",
                "type": "Microsoft.Network/networkInterfaces",
                "enableAcceleratedNetworking": number % 20 != 0,
                "ipConfigurations": [{"name": "one", "primary": True, "subnet": {"id": subnet}}],
            }
        )
        vms.append(
            {
                "id": f"{GROUP}/Microsoft.Compute/virtualMachines/vm-{number}",
                "name": f"vm-{number}",
                "type": "Microsoft.Compute/virtualMachines",
                "hardwareProfile": {"vmSize": "Standard_B2s" if number % 10 == 3 else "Standard_D4s_v5"},
                "networkProfile": {"networkInterfaces": [{"id": nic}]},
            }
        )
    manager = f"{GROUP}/Microsoft.Network/networkManagers/manager"
    members = [
        {
            "id": f"{manager}/networkGroups/all/staticMembers/m-{number}",
            "name": f"m-{number}",
            "type": "Microsoft.Network/networkManagers/networkGroups/staticMembers",
            "resourceId": network_id(number),
        }
        for number in range(networks)
    ]
    mesh = [
        {
            "id": f"{manager}/connectivityConfigurations/mesh",
            "name": "mesh",
            "type": "Microsoft.Network/networkManagers/connectivityConfigurations",
            "connectivityTopology": "Mesh",
            "isGlobal": "True",
            "appliesToGroups": [{"networkGroupId": f"{manager}/networkGroups/all"}],
        }
    ]
    files = []
    for name, items in (("vnets", vnets), ("nics", nics), ("vms", vms), ("manager", members + mesh)):
        files.append(folder / f"{name}.json")
        files[-1].write_text(json.dumps(items))
    return files


def main() -> int:
    """Measure once; exit 1 when it took more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=5000)
    parser.add_argument("--endpoints", type=int, default=20_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), given.networks, given.endpoints)
        size = sum(file.stat().st_size for file in files)
        page = Path(folder) / "page.html"
        command = [
            sys.executable,
            "-m",
            "dtls_emu",
            "whatif",
            *map(str, files),
            "--html",
            str(page),
            "--json",
        ]
        before = time.perf_counter()
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        seconds = time.perf_counter() - before
    if done.returncode:
        print(done.stderr)
        return done.returncode
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak, processor = used.ru_maxrss * 1024, used.ru_utime + used.ru_stime
    totals = json.loads(done.stdout)["totals"]
    print(f"{given.networks} networks in one mesh, {given.endpoints} endpoints, {size / 1e6:.1f} MB of lists")
    print(
        f"{seconds:.2f} s, {processor:.2f} s of them on a processor; {peak / 2**20:.0f} MiB; pairs: {totals}"
    )
    return int(seconds > LIMIT_SECONDS or peak > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
