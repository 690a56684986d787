"""What is said to fit in a lab is what its cards let through."""

from __future__ import annotations

import pytest

from dtls_emu.assembly import build_cards
from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.teach.blocks import Table
from dtls_emu.teach.lab_mtu import explain_lab_mtu


@pytest.mark.parametrize("lab", shipped_labs())
def test_what_fits_is_what_the_card_enforces(lab):
    """For each pair of hosts, encrypted and in clear."""
    topology = compile_lab(load_lab(lab))
    table = next(block for block in explain_lab_mtu(topology).blocks if isinstance(block, Table))
    cards = build_cards(topology)
    for source, destination, how, link, fits, _, _ in table.rows:
        a, b = source.removeprefix("VMs of "), destination.removeprefix("VMs of ")
        assert int(link) == topology.link(a, b).mtu
        assert int(fits) == cards[a].inner_mtu(b, encrypted=how == "encrypted")
    assert table.rows
