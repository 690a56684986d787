"""A VM has so many flows in each direction; what is beyond is dropped, and counted as that."""

import pytest

from dtls_emu.lab import Lab
from dtls_emu.simulation import simulate
from dtls_emu.vocabulary import DropReason


def lab(limit, *traffic):
    return Lab.model_validate(
        {
            "overrides": {"flows_per_vm": limit},
            "virtual_networks": {
                "n": {"address_prefixes": ["10.0.0.0/24"], "vni": 1, "encryption": {"enabled": True}}
            },
            "hosts": {f"h{number}": {"underlay": f"192.0.2.{number}"} for number in (1, 2, 3)},
            "vms": {
                name: {"host": f"h{number}", "virtual_network": "n", "address": f"10.0.0.{number + 3}"}
                for number, name in enumerate(("a", "b", "c"), 1)
            },
            "traffic": [
                {
                    "name": f"from-{source}",
                    "kind": "udp",
                    "from": source,
                    "to": "b",
                    "count": 60,
                    "flows": flows,
                }
                for source, flows in traffic
            ],
        }
    )


@pytest.mark.parametrize(("flows", "dropped"), [(4, {}), (6, {DropReason.FLOW_LIMIT: 20})])
def test_what_a_vm_sends_beyond_its_limit_is_dropped(flows, dropped):
    """The flows that came first go on."""
    outcome = simulate(lab(4, ("a", flows)))
    assert outcome["from-a"].dropped == dropped
    assert outcome["from-a"].delivered == 60 - sum(dropped.values())


def test_what_a_vm_gets_beyond_its_limit_is_dropped():
    """From two that are within theirs."""
    outcome = simulate(lab(4, ("a", 3), ("c", 3)))
    dropped = [outcome[name].dropped for name in ("from-a", "from-c")]
    assert sum(each.get(DropReason.FLOW_LIMIT, 0) for each in dropped) == 40
    assert sum(outcome[name].delivered for name in ("from-a", "from-c")) == 80
