"""Modelled cards: what is published of them comes out of them, in order, at a line rate, and never as a measurement."""

from functools import partial
from random import Random

import pytest

from dtls_emu.errors import LabFileError
from dtls_emu.fabric.clock import VirtualClock
from dtls_emu.lab.card_models import CARD_MODELS
from dtls_emu.lab.loader import parse_lab
from dtls_emu.simulation import simulate
from dtls_emu.simulation.modelled import QUEUE, ModelledCard, service_time
from dtls_emu.testing.present import present


@pytest.mark.parametrize("name", CARD_MODELS)
def test_four_passes_are_as_late_as_is_published(name):
    """Mean, 99th and 99.9th percentile of a ping, within a tenth."""
    model, rng = CARD_MODELS[name], Random(7)
    pings = sorted(sum(service_time(model, rng.random()) for _ in range(4)) for _ in range(40_000))
    assert sum(pings) / len(pings) == pytest.approx(model.mean, rel=0.03)
    assert pings[len(pings) * 99 // 100] == pytest.approx(model.p99, rel=0.1)
    assert pings[len(pings) * 999 // 1000] == pytest.approx(model.p999, rel=0.15)


@pytest.mark.parametrize("name", CARD_MODELS)
def test_a_larger_share_never_takes_less(name):
    """And none takes no time."""
    times = [service_time(CARD_MODELS[name], number / 1000) for number in range(1001)]
    assert times == sorted(times)
    assert times[0] > 0


def test_the_line_takes_one_after_the_other():
    """1,000 bytes at 8 Mbit/s take a millisecond; the other direction has a line of its own."""
    clock = VirtualClock()
    card = ModelledCard(None, 8e6, "1", clock)
    done: list[tuple[str, float]] = []
    for leaving, name in ((True, "a"), (True, "b"), (False, "c")):
        assert card.submit(
            1, 1000, partial(lambda each: done.append((each, clock.now)), name), leaving=leaving
        )
    assert card.under_way == 3
    assert card.settled_at == pytest.approx(0.002)
    clock.run()
    assert [name for name, _ in done] == ["a", "c", "b"]
    assert [when for _, when in done] == pytest.approx([0.001, 0.001, 0.002])
    assert card.under_way == 0


def test_order_is_kept_and_the_queue_is_bounded():
    """A pass that takes long holds up those behind it; what does not fit is lost."""
    clock = VirtualClock()
    card = ModelledCard(CARD_MODELS["software-vswitch-2018"], 0.0, "1", clock)
    done: list[int] = []
    taken = [card.submit(1, 100, partial(done.append, each), leaving=True) for each in range(QUEUE + 5)]
    assert taken == [True] * QUEUE + [False] * 5
    clock.run()
    assert done == list(range(QUEUE))


LAB = """
virtual_networks: {net: {address_prefixes: [10.0.0.0/24], vni: 1, encryption: {enabled: %s}}}
hosts:
  host-1: {underlay: 192.0.2.1, smartnic: {%s}}
  host-2: {underlay: 192.0.2.2, smartnic: {%s}}
vms:
  vm-1: {host: host-1, virtual_network: net, address: 10.0.0.4}
  vm-2: {host: host-2, virtual_network: net, address: 10.0.0.5}
link_defaults: {delay: 0}
traffic:
  - {name: pings, kind: ping, from: vm-1, to: vm-2, count: 50, interval: 1ms}
"""


def run(card):
    return simulate(parse_lab(LAB % ("true", card, card), "modelled.yaml"))


def test_a_lab_says_what_its_cards_are_modelled_on():
    """Every ping is answered, as late as is published; the outcome says that the card is modelled, and from what."""
    outcomes = [run(card) for card in ("", "model: accelnet-2018", "model: software-vswitch-2018")]
    medians = [present(outcome.items[0].round_trips.median) for outcome in outcomes]
    assert medians[0] == 0.0
    assert 14e-6 < medians[1] < 18e-6
    assert 40e-6 < medians[2] < 54e-6
    assert {outcome.items[0].answered for outcome in outcomes} == {50}
    said = {tunnel.backend_reason for tunnel in outcomes[1].tunnels}
    assert all("modelled: accelnet-2018 (Firestone et al." in reason for reason in said)
    assert all("31 Gbit/s" in reason for reason in said)
    assert not any("modelled" in tunnel.backend_reason for tunnel in outcomes[0].tunnels)


def test_a_line_rate_slows_down_and_loses_nothing_that_fits_its_queue():
    """A ping of 100 bytes and what encryption adds, four passes at 1 Mbit/s."""
    item = run("line_rate: 1Mbit/s").items[0]
    assert item.answered == 50
    assert present(item.round_trips.median) > 4 * 100 * 8 / 1e6


def test_the_same_seed_gives_the_same_times():
    """Whatever is drawn is drawn from the lab's seed."""
    first, second = (run("model: accelnet-2018").items[0].round_trips for _ in range(2))
    assert first == second


def test_a_model_that_nobody_knows_is_refused():
    """With those that are known."""
    with pytest.raises(LabFileError, match="accelnet-2018, software-vswitch-2018"):
        run("model: accelnet")
