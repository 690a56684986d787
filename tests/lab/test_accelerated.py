"""Where the vendor's texts of two years let accelerated networking be on."""

import pytest

from dtls_emu.lab.accelerated import refusal
from dtls_emu.vocabulary import AcceleratedNetworking


ANY, OF_2016, OF_2022 = AcceleratedNetworking


@pytest.mark.parametrize(
    ("rules", "size", "region", "why"),
    [
        (ANY, "Standard_A1_v2", "eastus", ""),
        (OF_2016, "Standard_D15_v2", "westeurope", ""),
        (OF_2016, "Standard_DS15_v2", "westcentralus", ""),
        (OF_2016, "Standard_DS15_v2", "eastus", "in 2016 only westcentralus and westeurope had it"),
        (
            OF_2016,
            "Standard_D4s_v5",
            "westeurope",
            "in 2016 only Standard_D15_v2 and Standard_DS15_v2 had it",
        ),
        (OF_2022, "Standard_D1_v2", "eastus", "has 1 vCPU, and a size needs 2"),
        (OF_2022, "Standard_D2_v2", "eastus", ""),
        (OF_2022, "Standard_F2s", "eastus", ""),
        (OF_2022, "Standard_D2s_v5", "eastus", "has 2 vCPUs, and a hyper-threaded size needs 4"),
        (OF_2022, "Standard_E2as_v4", "eastus", "a hyper-threaded size needs 4"),
        (OF_2022, "Standard_F2s_v2", "eastus", "a hyper-threaded size needs 4"),
        (OF_2022, "Standard_D2ps_v5", "eastus", ""),
        (OF_2022, "Standard_D4s_v5", "eastus", ""),
        (OF_2022, "Standard_NC6", "eastus", "takes no effect"),
        (OF_2022, "Standard_NV12", "eastus", "takes no effect"),
        (OF_2022, "my-own", "eastus", ""),
    ],
)
def test_what_the_vendor_refuses_is_refused(rules, size, region, why):
    """By size, number of vCPUs and region; and what is written instead is said."""
    said = refusal(rules, size, region)
    assert why in said
    assert bool(said) == bool(why)
    assert not said or "`accelerated_networking: false`" in said
