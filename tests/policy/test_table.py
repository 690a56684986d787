"""One test for each row of the decision table, and what holds for every combination of facts."""

from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.lab.profiles import PROFILES
from dtls_emu.lab.topology import Host, Network, Vm
from dtls_emu.policy import Condition, Endpoint, Flow, conditions_of, decide, decide_conditions, rows
from dtls_emu.vocabulary import DropReason, Enforcement, FirstPacket, FlowEncryption, Outcome, Verdict


ALLOW, DROP = Enforcement.ALLOW_UNENCRYPTED, Enforcement.DROP_UNENCRYPTED


def end(
    number,
    *,
    encrypted=True,
    enforcement=ALLOW,
    host=None,
    card=True,
    size=True,
    accelerated=True,
    restarted=True,
    ready=True,
    discovery=True,
    outcome=Outcome.AS_VM,
):
    """One end that can do everything, but for what a test takes from it."""
    where = f"host-{host or number}"
    vm = Vm(
        name=f"vm-{number}",
        host=where,
        network=f"network-{number}",
        addresses=(ip_address(f"10.{number}.0.4"),),
        mac=bytes((2, 0, 0, 0, 0, number)),
        size="any",
        size_capable=size,
        accelerated_networking=accelerated,
        restarted=restarted,
        flow_table_ready=ready,
        discovery=discovery,
        mtu=1500,
        outcome=outcome,
    )
    network = Network(vm.network, 5000 + number, (), encrypted, enforcement, frozenset())
    return Endpoint(vm, network, Host(where, f"192.0.2.{number}", "eastus", "auto", card))


def decided(flow, **knobs):
    """Row number, verdict, code and reason of a flow."""
    decision = decide(flow, replace(PROFILES["current"], **knobs))
    row = decision.row
    assert (decision.verdict, decision.code, decision.reason) == (row.verdict, row.code, row.reason)
    return row.number, row.verdict, row.code, row.reason


def test_row_1_without_a_private_route_the_flow_is_dropped():
    """No VM that can be reached, and not the internet."""
    flow = Flow(end(1), None)
    assert decided(flow) == (1, Verdict.DROP, FlowEncryption.NX, DropReason.NO_ROUTE)


def test_row_2_a_rule_that_denies_drops():
    """Whatever else holds of a flow that has a route."""
    denied = (2, Verdict.DROP, FlowEncryption.NX, DropReason.DENIED)
    assert decided(Flow(end(1), end(2), denied=True)) == denied
    assert decided(Flow(end(1, encrypted=False), None, internet=True, denied=True)) == denied
    assert decided(Flow(end(1), None, denied=True))[0] == 1


@pytest.mark.parametrize("enforcement", Enforcement)
def test_row_3_the_internet_is_clear_in_either_mode(enforcement):
    """Public addresses are neither encrypted nor dropped."""
    flow = Flow(end(1, enforcement=enforcement), None, internet=True)
    assert decided(flow) == (3, Verdict.CLEAR, FlowEncryption.NX, None)


def test_row_4_networks_without_encryption_talk_in_clear():
    """Encryption enabled in neither network; an enforcement without encryption means nothing."""
    flow = Flow(end(1, encrypted=False, enforcement=DROP), end(2, encrypted=False))
    assert decided(flow) == (4, Verdict.CLEAR, FlowEncryption.NX, None)


@pytest.mark.parametrize("enforcement", Enforcement)
@pytest.mark.parametrize("encrypted", [(True, False), (False, True)])
def test_row_5_one_encrypted_network_talks_in_clear_to_another(encrypted, enforcement):
    """In both directions and both enforcement modes."""
    source, destination = encrypted
    flow = Flow(
        end(1, encrypted=source, enforcement=enforcement),
        end(2, encrypted=destination, enforcement=enforcement),
    )
    assert decided(flow) == (5, Verdict.CLEAR, FlowEncryption.NX, None)


def test_row_5_a_profile_may_refuse_a_network_without_encryption():
    """Where the encrypted one drops unencrypted; the vendor does not say."""
    refused = (5, Verdict.DROP, FlowEncryption.NX_NOT_ACCEPTED, DropReason.NOT_ACCEPTED)
    plain = end(2, encrypted=False)
    for mixed in (Verdict.DROP, Verdict.CLEAR):
        knobs = {"plain_peer": Verdict.DROP, "mixed_enforcement": mixed}
        assert decided(Flow(end(1, enforcement=DROP), plain), **knobs) == refused
        assert decided(Flow(plain, end(1, enforcement=DROP)), **knobs) == refused
        assert decided(Flow(end(1), plain), **knobs)[:2] == (5, Verdict.CLEAR)


@pytest.mark.parametrize("enforcement", Enforcement)
@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_6_an_end_that_is_never_encrypted_talks_in_clear(which, enforcement):
    """Also on a host without a card, and on the other's host."""
    clear = end(3, outcome=Outcome.CLEAR, enforcement=enforcement, card=False, host=2)
    flow = replace(Flow(end(1), end(2)), **{which: clear})
    assert decided(flow) == (6, Verdict.CLEAR, FlowEncryption.NX, None)


@pytest.mark.parametrize("enforcement", Enforcement)
@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_7_an_end_that_is_not_supported_loses_connectivity(which, enforcement):
    """Without a flow-log code: none is documented."""
    flow = replace(Flow(end(1), end(2)), **{which: end(3, outcome=Outcome.FAILS, enforcement=enforcement)})
    assert decided(flow) == (7, Verdict.DROP, None, DropReason.UNSUPPORTED_END)


def test_rows_6_and_7_are_about_encrypted_networks():
    """Elsewhere these endpoints are like any other."""
    for outcome in (Outcome.CLEAR, Outcome.FAILS):
        assert decided(Flow(end(1, encrypted=False), end(2, encrypted=False, outcome=outcome)))[0] == 4
        assert decided(Flow(end(1), end(2, encrypted=False, outcome=outcome)))[0] == 5


def test_row_8_a_profile_may_refuse_what_is_on_one_host():
    """Under DropUnencrypted; the vendor does not say."""
    flow = Flow(end(1, enforcement=DROP, host=1), end(2, enforcement=DROP, host=1))
    refused = (8, Verdict.DROP, FlowEncryption.NX_NOT_ACCEPTED, DropReason.NOT_ACCEPTED)
    assert decided(flow, same_host=Verdict.DROP) == refused
    allowing = Flow(end(1, host=1), end(2, host=1))
    assert decided(allowing, same_host=Verdict.DROP)[:2] == (8, Verdict.CLEAR)


@pytest.mark.parametrize("enforcement", Enforcement)
def test_row_8_vms_of_one_host_talk_in_clear(enforcement):
    """By design, under DropUnencrypted too."""
    flow = Flow(end(1, enforcement=enforcement, host=1), end(2, enforcement=enforcement, host=1))
    assert decided(flow) == (8, Verdict.CLEAR, FlowEncryption.NX_LOCAL_DST, None)


@pytest.mark.parametrize("enforcement", Enforcement)
def test_row_9_a_fragment_is_dropped(enforcement):
    """Without a flow-log code: none is documented."""
    flow = Flow(end(1, enforcement=enforcement), end(2), fragment=True)
    assert decided(flow) == (9, Verdict.DROP, None, DropReason.FRAGMENT)


def test_row_9_a_profile_may_send_fragments_in_clear():
    """As the preview of 2023 did, where both networks allow unencrypted traffic."""
    flow = Flow(end(1), end(2), fragment=True)
    assert decided(flow, fragments=Verdict.CLEAR) == (9, Verdict.CLEAR, FlowEncryption.NX, None)
    strict = replace(flow, destination=end(2, enforcement=DROP))
    assert decided(strict, fragments=Verdict.CLEAR) == (9, Verdict.DROP, None, DropReason.FRAGMENT)


@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_10_a_flow_table_that_is_not_ready_drops(which):
    """At either end."""
    flow = replace(Flow(end(1), end(2)), **{which: end(3, ready=False)})
    assert decided(flow) == (10, Verdict.DROP, FlowEncryption.NX_SW_NOT_READY, DropReason.SW_NOT_READY)


@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_11_a_stack_without_discovery_drops(which):
    """At either end."""
    flow = replace(Flow(end(1), end(2)), **{which: end(3, discovery=False)})
    assert decided(flow) == (11, Verdict.DROP, FlowEncryption.NX_NOT_SUPPORTED, DropReason.NOT_SUPPORTED)


@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_12_without_a_card_the_flow_is_clear(which):
    """Where both networks allow it, and the VM itself could be encrypted."""
    flow = replace(Flow(end(1), end(2)), **{which: end(3, card=False)})
    assert decided(flow) == (12, Verdict.CLEAR, FlowEncryption.NX_HW_NOT_SUPPORTED, None)


def test_row_12_a_profile_may_drop_for_want_of_a_card():
    """The code is documented, what becomes of the packet is not."""
    flow = Flow(end(1), end(2, card=False))
    refused = (12, Verdict.DROP, FlowEncryption.NX_HW_NOT_SUPPORTED, DropReason.HW_NOT_SUPPORTED)
    assert decided(flow, card_missing=Verdict.DROP) == refused


def test_row_13_a_profile_may_have_another_code():
    """Which one an incapable VM gets, is not documented."""
    code = FlowEncryption.NX_HW_NOT_SUPPORTED
    flow = Flow(end(1), end(2, size=False))
    assert decided(flow, incapable_code=code) == (13, Verdict.CLEAR, code, None)


@pytest.mark.parametrize("lack", [{"size": False}, {"accelerated": False}, {"restarted": False}])
@pytest.mark.parametrize("which", ["source", "destination"])
def test_row_13_an_incapable_vm_falls_back_to_clear(which, lack):
    """Size, accelerated networking or restart, at either end, where both networks allow it."""
    flow = replace(Flow(end(1), end(2)), **{which: end(3, **lack)})
    assert decided(flow) == (13, Verdict.CLEAR, FlowEncryption.NX_FALLBACK, None)


def test_row_13_takes_an_incapable_size_on_a_host_without_a_card():
    """Row 12 is about VMs that could be encrypted but for the card."""
    flow = Flow(end(1), end(2, size=False, card=False))
    assert decided(flow)[0] == 13


def test_row_14_a_failed_tunnel_falls_back_to_clear():
    """Where both networks allow it."""
    flow = Flow(end(1), end(2), tunnel_failed=True)
    assert decided(flow) == (14, Verdict.CLEAR, FlowEncryption.NX_FALLBACK, None)


@pytest.mark.parametrize("first_packet", FirstPacket)
def test_row_14_packets_that_do_not_wait_for_their_tunnel_fall_back_to_clear(first_packet):
    """Where both networks allow it, and the profile says so; all others are of a flow to be encrypted."""
    flow = Flow(end(1), end(2), tunnel_building=True)
    fallback = (14, Verdict.CLEAR, FlowEncryption.NX_FALLBACK, None)
    encrypted = (16, Verdict.ENCRYPT, FlowEncryption.X, None)
    in_clear = first_packet is FirstPacket.CLEAR
    assert decided(flow, first_packet=first_packet) == (fallback if in_clear else encrypted)
    strict = replace(flow, destination=end(2, enforcement=DROP))
    assert decided(strict, first_packet=first_packet) == encrypted


@pytest.mark.parametrize(
    "lack", [{"card": False}, {"size": False}, {"accelerated": False}, {"restarted": False}, {}]
)
@pytest.mark.parametrize("modes", [(DROP, DROP), (DROP, ALLOW), (ALLOW, DROP)])
def test_row_15_what_cannot_be_encrypted_is_dropped(modes, lack):
    """For each cause of rows 12 to 14, when either network has DropUnencrypted."""
    flow = Flow(end(1, enforcement=modes[0]), end(2, enforcement=modes[1], **lack), tunnel_failed=not lack)
    assert decided(flow) == (15, Verdict.DROP, FlowEncryption.NX_NOT_ACCEPTED, DropReason.NOT_ACCEPTED)


@pytest.mark.parametrize(("modes", "row"), [((DROP, ALLOW), 13), ((ALLOW, DROP), 13), ((DROP, DROP), 15)])
def test_row_15_a_profile_may_ask_for_both_networks_to_drop(modes, row):
    """NX_NOT_ACCEPTED is documented for a policy at both ends; what one end does is not."""
    flow = Flow(end(1, enforcement=modes[0]), end(2, enforcement=modes[1], size=False))
    assert decided(flow, mixed_enforcement=Verdict.CLEAR)[0] == row


@pytest.mark.parametrize("modes", [(ALLOW, ALLOW), (DROP, DROP), (DROP, ALLOW), (ALLOW, DROP)])
def test_row_16_capable_ends_are_encrypted(modes):
    """Whatever the enforcement."""
    flow = Flow(end(1, enforcement=modes[0]), end(2, enforcement=modes[1]))
    assert decided(flow) == (16, Verdict.ENCRYPT, FlowEncryption.X, None)


ENDS = st.builds(
    end,
    st.integers(1, 2),
    encrypted=st.booleans(),
    enforcement=st.sampled_from(Enforcement),
    host=st.integers(1, 2),
    card=st.booleans(),
    size=st.booleans(),
    accelerated=st.booleans(),
    restarted=st.booleans(),
    ready=st.booleans(),
    discovery=st.booleans(),
    outcome=st.sampled_from([Outcome.AS_VM, Outcome.CLEAR, Outcome.FAILS]),
)
FLOWS = st.one_of(
    st.builds(Flow, ENDS, st.none(), st.booleans(), st.booleans(), st.just(value=False)),
    st.builds(Flow, ENDS, ENDS, st.just(value=False), st.booleans(), st.booleans(), st.booleans()),
)
PASSING = st.sampled_from([Verdict.DROP, Verdict.CLEAR])
PROFILE_CHOICES = st.builds(
    replace,
    st.just(PROFILES["current"]),
    fragments=PASSING,
    first_packet=st.sampled_from(FirstPacket),
    card_missing=PASSING,
    plain_peer=PASSING,
    same_host=PASSING,
)


@given(FLOWS, PROFILE_CHOICES)
def test_every_flow_is_decided_by_the_first_row_that_applies(flow, profile):
    """There is always one, and the decision is that row's."""
    applying = [row for row in rows() if row.applies(conditions_of(flow, profile))]
    decision = decide(flow, profile)
    assert applying
    assert decision.row is applying[0]
    assert (decision.verdict is Verdict.DROP) == (decision.reason is not None)


def test_every_combination_of_conditions_has_exactly_one_verdict():
    """All eight million of them: whatever holds, the last row at least applies, and no row is in vain."""
    conditions = np.arange(1 << len(Condition), dtype=np.int32)
    undecided = np.ones(len(conditions), bool)
    for row in rows():
        needs, lacks, any_of = int(row.needs), int(row.lacks), int(row.any_of)
        applies = (conditions & needs == needs) & (conditions & lacks == 0)
        if any_of:
            applies &= conditions & any_of != 0
        taken = undecided & applies
        assert taken.any(), row.name
        for sample in conditions[taken][:: max(1, taken.sum() // 50)].tolist():
            assert decide_conditions(sample).row is row
        undecided &= ~applies
    assert not undecided.any()


@given(FLOWS, PROFILE_CHOICES)
def test_drop_unencrypted_lets_nothing_in_clear_onto_the_fabric(flow, profile):
    """Between two encrypted networks, when either drops; on one host nothing reaches the fabric."""
    if flow.destination is None or not all(each.network.encrypted for each in flow.ends):
        return
    if any(each.vm.outcome is Outcome.CLEAR for each in flow.ends):
        return  # reachable, never encrypted: a gateway, a private endpoint
    if any(each.drops_unencrypted for each in flow.ends) and decide(flow, profile).verdict is Verdict.CLEAR:
        assert flow.source.host.name == flow.destination.host.name


@given(FLOWS, PROFILE_CHOICES)
def test_only_whole_packets_between_capable_ends_are_encrypted(flow, profile):
    """Never a fragment, never an end without card, and both networks have encryption enabled."""
    if decide(flow, profile).verdict is Verdict.ENCRYPT:
        assert not flow.fragment
        assert not flow.tunnel_failed
        assert len(flow.ends) == 2
        assert all(each.vm.outcome is Outcome.AS_VM for each in flow.ends)
        assert all(
            each.network.encrypted and each.can_encrypt and each.host.smartnic_present for each in flow.ends
        )


def test_rows_can_be_read_as_a_table():
    """Numbers go up, words are there, and only a row that drops has a reason."""
    table = rows()
    numbers = [row.number for row in table]
    assert set(numbers) == set(range(1, 17))
    assert numbers == [1, 2, 3, 4, 5, 5, 6, 6, 7, 8, 8, 9, 9, 10, 11, 12, 12, 13, 13, 14, 14, 15, 16]
    assert len({row.name for row in table}) == len(table)
    assert all(row.condition and row.source and row.basis for row in table)
    assert all((row.reason is not None) == (row.verdict is Verdict.DROP) for row in table)
