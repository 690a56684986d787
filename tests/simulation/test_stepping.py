"""A simulation that is run step by step, looked at and changed in between."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest

from dtls_emu.capture.datagrams import Datagrams
from dtls_emu.errors import LabFileError, LocalProtocolError, RunError
from dtls_emu.events import AssociationOpened, CardRestarted, LabChanged, fan_out, observer_of
from dtls_emu.lab import shipped_labs
from dtls_emu.simulation import Simulation, simulate
from dtls_emu.vocabulary import DropReason, FirstPacket, FlowEncryption, Verdict
from dtls_emu.wire.packet import icmp_echo, udp_packet


PING = "name: ping, kind: ping, from: a, to: b, count: 4, interval: 10ms"
STREAM = "name: stream, kind: udp, from: a, to: b, count: 50"
A, B = ip_address("10.0.0.4"), ip_address("10.0.0.5")


@pytest.fixture
def quiet(make_lab):
    """A lab without traffic of its own."""
    return make_lab(PING).model_copy(update={"traffic": []})


def run_on(simulation):
    """Until it is over; how many steps that were."""
    steps = 0
    while simulation.step():
        steps += 1
    return steps


@pytest.mark.parametrize("name", shipped_labs())
def test_stepping_comes_to_what_simulate_does(name):
    """Event by event, or with stops in between, to the byte of the outcome."""
    whole = simulate(name).as_dict()
    with Simulation(name) as stepped:
        assert run_on(stepped) > 10
        assert stepped.outcome().as_dict() == whole
        assert not stepped.step()
    with Simulation(name) as stopped:
        for _ in range(7):
            stopped.step()
            stopped.run_until(stopped.now)
            json.dumps(stopped.snapshot())
        run_on(stopped)
        assert stopped.outcome().as_dict() == whole


def test_time_passes_up_to_where_one_wants_it(make_lab):
    """Events up to that time have happened, later ones not; also when nothing is left to do."""
    with Simulation(make_lab(PING)) as simulation:
        assert simulation.run_until(0.025) > 0
        assert simulation.now == 0.025
        assert simulation.snapshot()["items"]["ping"]["forward"]["offered"] == 3
        assert not simulation.has_ended
        run_on(simulation)
        simulation.run_until(1000.0)
        assert simulation.now == 1000.0
        assert simulation.outcome().items[0].delivered == 4


def test_a_run_that_is_not_over_has_no_outcome(make_lab):
    """Its packets may be anywhere."""
    with Simulation(make_lab(PING)) as simulation:
        simulation.run_until(0.001)
        with pytest.raises(LocalProtocolError, match="not over"):
            simulation.outcome()


def test_seed_and_first_packet_are_as_for_a_whole_run():
    """The options of a simulation are those of simulate."""
    options: dict[str, Any] = {"seed": 5, "first_packet": FirstPacket.DROP}
    with Simulation("two-vms", **options) as simulation:
        run_on(simulation)
        assert simulation.outcome().as_dict() == simulate("two-vms", **options).as_dict()


# ------------------------------------------------------------------------------------------------ injecting


def test_injected_packets_are_answered_and_accounted_for(quiet):
    """By the other VM, over the tunnel that they call for; the lab has no traffic of its own."""
    with Simulation(quiet) as simulation:
        assert run_on(simulation) == 0
        simulation.inject("a", icmp_echo(A, B, 7, 1, b"hello"))
        assert run_on(simulation) > 4
        there, back = simulation.injected
        assert (there.offered, there.delivered, back.offered, back.delivered) == (1, 1, 1, 1)
        simulation.inject("a", *(udp_packet(str(A), str(B), 1, 2, bytes(100)) for _ in range(5)))
        simulation.inject("b", udp_packet(str(A), str(B), 1, 2, b"this is not my address"))
        run_on(simulation)
        assert there.delivered == 6
        assert there.dropped == {DropReason.SPOOFED_SOURCE: 1}
        assert simulation.outcome().items == ()
        assert simulation.snapshot()["injected"]["forward"]["offered"] == 7


def test_who_does_not_exist_sends_nothing(quiet):
    """Named, and no packet is accounted for."""
    with Simulation(quiet) as simulation:
        with pytest.raises(LocalProtocolError, match="no VM is called nobody"):
            simulation.inject("nobody", b"")
        with pytest.raises(LocalProtocolError):
            simulation.inject("a")
        assert simulation.injected[0].offered == 0


# ------------------------------------------------------------------------------------------------- changing


def test_a_link_is_changed_while_packets_are_on_it(make_lab):
    """What was sent before arrives; from then on everything is lost, and then nothing again."""
    with Simulation(make_lab(STREAM)) as simulation:
        simulation.run_until(0.0105)
        simulation.set("h1->h2", "loss=100%")
        assert [link["loss"] for link in simulation.snapshot()["links"].values()] == [1.0, 0.0]
        simulation.run_until(0.0305)
        simulation.set("h1->h2", "loss=0")
        run_on(simulation)
        (item,) = simulation.outcome().items
        assert item.dropped == {DropReason.LOST: 20}
        assert item.delivered == 30


def test_a_link_that_was_never_used_is_as_the_changed_lab_says(make_lab):
    """Links are laid when something is sent."""
    with Simulation(
        make_lab(PING, "name: late, kind: ping, from: a, to: b, count: 2, start: 1s")
    ) as simulation:
        simulation.set("link_defaults", "delay=7ms")
        run_on(simulation)
        assert simulation.outcome()["late"].round_trips.first == 0.014


def test_encryption_is_switched_off_and_on(make_lab):
    """The flow is decided again, its packets go in clear, and then encrypted once more; the tunnel stays up."""
    datagrams = Datagrams()
    lab = make_lab(STREAM, overrides="restart_required: false")
    with Simulation(lab, observer=datagrams) as simulation:
        simulation.run_until(0.0205)
        simulation.set("prod", "encryption.enabled=false")
        simulation.run_until(0.0305)
        simulation.set("prod", "encryption.enabled=true")
        run_on(simulation)
        outcome = simulation.outcome()
        (item,) = outcome.items
        assert item.treated == {
            (Verdict.ENCRYPT, FlowEncryption.X): 40,
            (Verdict.CLEAR, FlowEncryption.NX): 10,
        }
        assert sum(payload[0] == 0x08 for payload in datagrams.payloads) == 10
        assert {tunnel.handshakes for tunnel in outcome.tunnels} == {1}


def test_a_vm_is_encrypted_once_it_was_stopped_and_started(make_lab):
    """After encryption was enabled, as the vendor requires; a stopped one sends and gets nothing."""
    with Simulation(make_lab(STREAM)) as simulation:
        simulation.run_until(0.0105)
        simulation.set("prod", "encryption.enabled=false")
        changes = simulation.set("prod", "encryption.enabled=true")
        assert changes[1:] != []
        assert all(change.value == {"restarted_since_encryption": False} for change in changes[1:])
        simulation.run_until(0.0205)
        for change in changes[1:]:
            simulation.set(str(change.path[1]), "state=stopped")
        simulation.run_until(0.0305)
        for change in changes[1:]:
            simulation.set(str(change.path[1]), "state=running")
        run_on(simulation)
        (item,) = simulation.outcome().items
        assert item.treated == {
            (Verdict.ENCRYPT, FlowEncryption.X): 30,
            (Verdict.CLEAR, FlowEncryption.NX_FALLBACK): 10,
            (Verdict.DROP, FlowEncryption.NX): 10,
        }
        assert item.dropped == {"no_route": 10}


@pytest.mark.parametrize(
    ("change", "back", "code"),
    [
        ("servicing=true", "servicing=false", FlowEncryption.NX_SW_NOT_READY),
        ("smartnic.present=false", "smartnic.present=true", FlowEncryption.NX_HW_NOT_SUPPORTED),
    ],
)
def test_a_host_is_serviced_and_its_card_removed_while_it_runs(make_lab, change, back, code):
    """Flows are decided again at their next packet, and their packets are counted on."""
    with Simulation(make_lab(STREAM)) as simulation:
        simulation.run_until(0.0205)
        simulation.set("h2", change)
        simulation.run_until(0.0305)
        simulation.set("h2", back)
        run_on(simulation)
        (item,) = simulation.outcome().items
        assert {code: count for (_, code), count in item.treated.items()} == {FlowEncryption.X: 40, code: 10}
        assert item.offered == 50


def test_changes_are_told_to_whoever_observes(make_lab):
    """Else a saved trace could not be understood."""
    events: list[Any] = []
    watching = fan_out([observer_of(events.append), Datagrams()])
    with Simulation(make_lab(STREAM), observer=watching) as simulation:
        simulation.run_until(0.02)
        (change,) = simulation.set("link_defaults", "loss=50%")
        assert change.path == ("link_defaults",)
    changed = [event for event in events if isinstance(event, LabChanged)]
    assert changed == [LabChanged(0.02, "", ("link_defaults",), '{"loss": "50%"}')]


@pytest.mark.parametrize(
    ("target", "words", "error", "message"),
    [
        ("nobody", ["loss=1%"], RunError, "nothing here is called `nobody`"),
        ("prod", ["loss"], RunError, "is no assignment"),
        ("h1-h2", ["loss=150%"], LabFileError, "loss"),
        ("a", ["address=10.0.0.77"], RunError, "cannot be changed while the lab runs: addresses of a"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_nothing_is(make_lab, target, words, error, message):
    """With the words of `dtls-emu set`; the run goes on as it was."""
    with Simulation(make_lab(PING)) as simulation:
        simulation.run_until(0.005)
        with pytest.raises(error, match=message):
            simulation.set(target, *words)
        run_on(simulation)
        assert simulation.outcome().as_dict() == simulate(make_lab(PING)).as_dict()


# ------------------------------------------------------------------------------------------------ snapshots


def test_a_snapshot_says_how_everything_stands(make_lab):
    """Clock, traffic, tunnels, flows with their counters, cards and links; in JSON's types."""
    with Simulation(make_lab(PING, STREAM)) as simulation:
        simulation.run_until(0.0151)
        snapshot = json.loads(json.dumps(simulation.snapshot()))
    assert snapshot["time"] == 0.0151
    assert snapshot["items"]["ping"]["forward"]["delivered"] == 2
    assert not snapshot["items"]["stream"]["done"]
    assert [(each["host"], each["state"]) for each in snapshot["tunnels"]] == [("h1", "up"), ("h2", "up")]
    flows = {(each["direction"], each["protocol"]): each for each in snapshot["flows"]["h1"]}
    assert flows["egress", 1]["packets"] == 2
    assert flows["egress", 17]["packets"] == snapshot["items"]["stream"]["forward"]["offered"] == 16
    assert flows["egress", 17]["verdict"] == "encrypt"
    assert flows["ingress", 1]["packets"] == 2
    assert set(snapshot["links"]) == {"h1->h2", "h2->h1"}
    counters = snapshot["links"]["h1->h2"]["counters"]
    assert counters["offered"] == counters["delivered"] + counters["in_flight"]
    assert snapshot["cards"]["h1"]["egress"]["encrypted"] == 18


def test_keys_are_gone_once_it_is_closed(make_lab):
    """Also when the run was left in the middle."""
    with Simulation(make_lab(STREAM)) as simulation:
        simulation.run_until(0.02)
        cards = simulation.cloud.cards.values()
        assert any(list(tunnel.associations) for card in cards for tunnel in card.tunnels.values())
    assert not any(list(tunnel.associations) for card in cards for tunnel in card.tunnels.values())


# ------------------------------------------------------------------------------------------------ restarts


def restarts(events):
    return [event for event in events if isinstance(event, CardRestarted)]


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_a_card_starts_anew(make_lab, host):
    """Its peer hears a goodbye; the flow goes on through a tunnel of fresh keys; every packet is accounted for."""
    events: list[Any] = []
    with Simulation(make_lab(STREAM), observer=observer_of(events.append)) as simulation:
        simulation.run_until(0.0205)
        before = simulation.cloud.cards[host]
        simulation.restart(host)
        after = simulation.cloud.cards[host]
        assert after is not before
        assert after.engine.backend is before.engine.backend
        assert after.status()["egress"]["offered"] == 0
        run_on(simulation)
        outcome = simulation.outcome()
    (item,) = outcome.items
    assert item.forward.delivered > 40
    assert all(tunnel.state == "up" for tunnel in outcome.tunnels)
    opened = [event for event in events if isinstance(event, AssociationOpened) and event.host == host]
    assert len(opened) == 2
    assert len({event.association for event in opened}) == 2
    assert [(event.time, event.host) for event in restarts(events)] == [(0.0205, host)]


def test_a_card_takes_its_waiting_packets_with_it(make_lab):
    """While a tunnel is being built: they are dropped, and counted as such."""
    with Simulation(make_lab(PING)) as simulation:
        simulation.run_until(0.0001)
        assert simulation.cloud.waiting
        simulation.restart("h1")
        assert not simulation.cloud.waiting
        run_on(simulation)
        (item,) = simulation.outcome().items
    assert item.forward.dropped[DropReason.TUNNEL_DOWN] == 1
    assert item.forward.delivered == item.forward.offered - 1


def test_a_card_starts_with_another_backend(make_lab):
    """Which the lab has from then on; one without a cipher is told as such."""
    events: list[Any] = []
    with Simulation(make_lab(STREAM), observer=observer_of(events.append)) as simulation:
        simulation.run_until(0.0205)
        simulation.restart("h1", backend="cryptography")
        simulation.restart("h2", backend="null")
        assert [card.engine.backend.name for card in simulation.cloud.cards.values()] == [
            "cryptography",
            "null",
        ]
        simulation.set("h1-h2", "delay=1ms")
        assert simulation.cloud.topology.hosts["h2"].backend == "null"
    assert [(event.backend, event.protects) for event in restarts(events)] == [
        ("cryptography", True),
        ("null", False),
    ]


def test_a_restart_that_cannot_be_is_refused(make_lab):
    """No such host, no such backend: and the card that is there goes on."""
    with Simulation(make_lab(PING)) as simulation:
        before = simulation.cloud.cards["h1"]
        with pytest.raises(LocalProtocolError, match="no host is called h9"):
            simulation.restart("h9")
        with pytest.raises(LabFileError, match="no backend"):
            simulation.restart("h1", backend="rot13")
        assert simulation.cloud.cards["h1"] is before


def test_the_keys_of_a_broker_go_to_the_card_that_is_there(make_lab):
    """Not to the one that asked for them, and was started anew meanwhile."""
    with Simulation(make_lab(STREAM, overrides="keying: broker")) as simulation:
        simulation.run_until(0.0001)
        simulation.restart("h1")
        run_on(simulation)
        (item,) = simulation.outcome().items
    assert item.forward.delivered >= item.forward.offered - 1
