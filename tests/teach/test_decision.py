"""For every flow that a lab can have: the row that decides is the policy's, and each row above it says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.lab import compile_lab, load_lab, shipped_labs
from dtls_emu.policy import decide, rows
from dtls_emu.policy.facts import Flow, endpoint_of
from dtls_emu.teach.blocks import Table, Verdict
from dtls_emu.teach.decision import explain_decision, why_not
from dtls_emu.vocabulary import EndpointKind, Enforcement, FirstPacket, FlowEncryption, Outcome
from dtls_emu.vocabulary import Verdict as Decided


TOPOLOGY = compile_lab(load_lab("two-vms"))
SOURCE, DESTINATION = (endpoint_of(TOPOLOGY, vm) for vm in TOPOLOGY.vms.values())

ends = st.builds(
    lambda end, vm, network, card: replace(
        end,
        vm=replace(end.vm, **vm),
        network=replace(end.network, **network),
        host=replace(end.host, smartnic_present=card),
    ),
    st.sampled_from([SOURCE, DESTINATION]),
    st.fixed_dictionaries(
        {
            name: st.booleans()
            for name in (
                "size_capable",
                "accelerated_networking",
                "restarted",
                "flow_table_ready",
                "discovery",
            )
        }
        | {"outcome": st.sampled_from([Outcome.AS_VM, Outcome.CLEAR, Outcome.FAILS])}
    ),
    st.fixed_dictionaries({"encrypted": st.booleans(), "enforcement": st.sampled_from(Enforcement)}),
    st.booleans(),
)
flows = st.builds(
    lambda source, destination, internet, **more: Flow(
        source, destination, internet=destination is None and internet, **more
    ),
    ends,
    st.none() | ends,
    st.booleans(),
    fragment=st.booleans(),
    tunnel_failed=st.booleans(),
    tunnel_building=st.booleans(),
    denied=st.booleans(),
)
passing = st.sampled_from([Decided.DROP, Decided.CLEAR])
profiles = st.builds(
    replace,
    st.just(TOPOLOGY.profile),
    fragments=passing,
    first_packet=st.sampled_from(FirstPacket),
    plain_peer=passing,
    same_host=passing,
    mixed_enforcement=passing,
    card_missing=passing,
    incapable_code=st.sampled_from([FlowEncryption.NX_FALLBACK, FlowEncryption.NX_HW_NOT_SUPPORTED]),
)


@given(flows, profiles)
def test_each_row_above_says_why_it_does_not_apply(flow, profile):
    """In words that are true of the flow: there is a reason whenever the row does not apply."""
    decided = decide(flow, profile).row
    for row in rows():
        if row is decided:
            break
        assert why_not(row, flow, profile), row.name


def test_what_is_said_of_an_endpoint_is_its_row_of_the_table_of_endpoints():
    """With title, basis and source."""
    lab = compile_lab(load_lab("endpoints"))
    document = explain_decision(lab, lab.vms["web"], lab.vms["gateway"].addresses[0])
    text = str(document.blocks)
    assert "ExpressRoute gateway, which is never encrypted" in text
    assert "Of ExpressRoute gateway that is documented by the vendor" in text
    assert lab.vms["gateway"].kind is EndpointKind.EXPRESSROUTE_GATEWAY


@pytest.mark.parametrize("lab", shipped_labs())
def test_what_is_explained_is_what_is_decided(lab):
    """For each pair of VMs of each lab, the marked row is the policy's."""
    topology = compile_lab(load_lab(lab))
    for source in topology.vms.values():
        for other in topology.vms.values():
            address = other.address(4)
            if other is source or address is None:
                continue
            document = explain_decision(topology, source, address)
            (table,) = [block for block in document.blocks if isinstance(block, Table)]
            (marked,) = table.marked
            assert marked == len(table.rows) - 1
            assert table.rows[marked][2] == "YES"
            assert {row[2] for row in table.rows[:marked]} <= {"no"}
            assert any(isinstance(block, Verdict) for block in document.blocks)
