"""Whatever was on the wire once comes again: in order, reversed, shuffled, across a rekey and a restart."""

import random

import pytest

from dtls_emu.tunnel.states import TunnelState
from dtls_emu.vocabulary import DropReason


ORDERS = {
    "in order": lambda records: records,
    "reversed": lambda records: records[::-1],
    "shuffled": lambda records: random.Random(1).sample(records, len(records)),
}
REFUSALS = {DropReason.REPLAYED, DropReason.LATE, DropReason.AUTH_FAILED, DropReason.NO_ASSOCIATION}
"""What becomes of a protected record that comes again, whatever association is there to judge it."""

in_every_order = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)


def replay(target, records, receiver="beta"):
    """Send recorded datagrams again; returns how many packets came out, which must be none."""
    before = len(target.received[receiver])
    for local, remote, datagram in records:
        target.inject(receiver, local, remote, datagram)
    return len(target.received[receiver]) - before


@in_every_order
@pytest.mark.parametrize(
    "backend", ["cryptography", "openssl", pytest.param("ipsec-mb", marks=pytest.mark.ipsec_mb)]
)
def test_a_whole_session_again_delivers_nothing(make_target, order, backend):
    """Handshake, data and probes, to both ends of the live tunnel, twice over; the tunnel goes on."""
    target = make_target(backend=backend).up()
    target.chat(300)
    for _ in range(2):
        for sender, receiver in (("alpha", "beta"), ("beta", "alpha")):
            assert replay(target, order(target.recorded(sender)), receiver) == 0
            target.chat(3)
    dropped = target.dropped["beta"]
    assert dropped[DropReason.REPLAYED] + dropped[DropReason.LATE] >= 2 * 300
    target.run(until=60)
    target.chat(3)


@in_every_order
def test_a_session_again_after_its_end_delivers_nothing(make_target, order):
    """Closed by both ends: nobody has its keys any more, and a recorded handshake makes no new ones."""
    target = make_target().up()
    target.chat(100)
    recorded = target.recorded("alpha")
    target.close("alpha")
    target.run(until=target.now + 5)
    assert replay(target, order(recorded)) == 0
    target.run(until=60)
    assert list(target.server.associations) == []
    assert target.server.handshakes == 1


@in_every_order
def test_records_from_before_a_rekey_deliver_nothing(make_target, order):
    """On their own ports while the old association drains and afterwards, and on the ports of the new one."""
    target = make_target().up()
    target.chat(100)
    recorded = target.recorded("alpha")
    assert target.rekey("alpha")
    target.run(until=target.now + 1)
    target.chat(100)
    ports = target.server.active.ends
    for moved in (recorded, [(*ports, datagram) for _, _, datagram in recorded]):
        assert replay(target, order(moved)) == 0
    assert len(list(target.server.associations)) == 2
    target.run(until=target.now + 30)
    assert len(list(target.server.associations)) == 1
    assert replay(target, order(recorded)) == 0
    target.chat(3)


@in_every_order
@pytest.mark.parametrize("restarted", ["alpha", "beta"])
def test_records_from_before_a_restart_deliver_nothing(make_target, order, restarted):
    """To an end that has lost its memory, and again when it has new keys on the same ports."""
    target = make_target().up()
    target.chat(100)
    recorded = {name: target.recorded(name) for name in ("alpha", "beta")}
    target.restart(restarted)
    for sender, receiver in (("alpha", "beta"), ("beta", "alpha")):
        assert replay(target, order(recorded[sender]), receiver) == 0
    target.run(until=target.now + 20)
    target.connect("alpha")
    if restarted == "beta":
        target.send("alpha", target.packet())  # alpha still has its keys; the silence tells it of the restart
    target.run(until=target.now + 40)
    assert (target.client.state, target.server.state) == (TunnelState.UP, TunnelState.UP)
    target.chat(3)
    for sender, receiver in (("alpha", "beta"), ("beta", "alpha")):
        target.dropped[receiver].clear()
        assert replay(target, order(recorded[sender]), receiver) == 0
        assert target.dropped[receiver].keys() & REFUSALS
    target.run(until=target.now + 60)
    target.chat(3)


@pytest.mark.parametrize("seed", range(5))
def test_a_network_that_repeats_everything_delivers_everything_once(make_target, seed):
    """Every datagram of a session with a rekey arrives two to four times, up to 50 ms apart."""
    print(f"seed {seed}")
    rng = random.Random(seed)

    def fate(_who, _number, data):
        return [(0.001 + rng.random() * 0.05, data) for _ in range(rng.randint(2, 4))]

    target = make_target(fate=fate).up()
    for round_ in range(200):
        target.send("alpha", target.packet())
        target.send("beta", target.packet())
        if round_ == 100:
            target.rekey("alpha")
        target.run(until=target.now + 0.003)
    target.run(until=target.now + 1)
    assert target.client.handshakes == 2
    for name, other in (("alpha", "beta"), ("beta", "alpha")):
        assert sorted(target.received[other]) == sorted(target.sent[name])


def test_a_datagram_to_its_own_sender_delivers_nothing(make_target):
    """Reflected, with the ports turned round: the two directions have keys of their own."""
    target = make_target().up()
    target.chat(50)
    for name in ("alpha", "beta"):
        reflected = [(remote, local, datagram) for local, remote, datagram in target.recorded(name)]
        assert replay(target, reflected, name) == 0
    target.run(until=60)
    target.chat(3)
