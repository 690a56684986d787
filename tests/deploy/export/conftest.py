"""Labs, and what their hosts are handed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dtls_emu.assembly.cards import issue_credentials
from dtls_emu.deploy.export import hand_out
from dtls_emu.lab import Lab, compile_lab, load_lab, shipped_labs


SIMULATED_ONLY = "broker"


@pytest.fixture(scope="package", params=[name for name in shipped_labs() if name != SIMULATED_ONLY])
def lab(request):
    """Each shipped lab that containers can be made of."""
    return load_lab(request.param)


@pytest.fixture(scope="package")
def handed():
    """What the hosts of a lab are handed, by a fresh certificate authority."""

    def handed(lab):
        return hand_out(lab, issue_credentials(compile_lab(lab), datetime.now(UTC)))

    return handed


@pytest.fixture(scope="package")
def handouts(lab, handed):
    """What the hosts of a shipped lab are handed."""
    return handed(lab)


@pytest.fixture(scope="package")
def small_lab():
    """Makes a lab of a few hosts."""

    def small_lab(name="small", hosts=2, vms=None, underlay="192.0.2.{}", host="host"):
        """A lab with so many hosts, and VMs on them in turn."""
        return Lab.model_validate(
            {
                "name": name,
                "virtual_networks": {"net": {"address_prefixes": ["10.0.0.0/24"], "vni": 1}},
                "hosts": {
                    f"{host}-{number}": {"underlay": underlay.format(number + 1)} for number in range(hosts)
                },
                "vms": {
                    f"vm-{number}": {
                        "host": f"{host}-{number % hosts}",
                        "virtual_network": "net",
                        "address": f"10.0.0.{number + 4}",
                    }
                    for number in range(vms or hosts)
                },
            }
        )

    return small_lab
