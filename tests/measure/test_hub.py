"""The bench for numbers of tunnels and flows: every packet arrives, and what is counted is what there is."""

import pytest

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.hub import HUB, Hub, Stream
from dtls_emu.measure.scaling import open_flows, open_tunnels, use_flows, use_tunnels
from dtls_emu.wire.checksum import internet_checksum
from dtls_emu.wire.packet import udp_packet


PEERS = 3


@pytest.fixture(scope="module")
def hub():
    hub = Hub(PEERS)
    assert open_tunnels(hub, 1, PEERS).count == PEERS
    return hub


def test_a_stream_is_made_of_right_packets():
    """Addresses, ports and the checksum of IP, after each change."""
    stream = Stream(3, 100)
    for destination, port in ((1, 9), (300, 7)):
        burst = stream.address(HUB, destination, 50_000, port)
        made = udp_packet(
            "10.0.0.4", f"10.0.{destination // 256}.{4 + destination % 256}", 50_000, port, bytes(72)
        )
        for row in burst.rows():
            assert internet_checksum(row.tobytes()[:20]) == 0
            assert row.tobytes()[:26] == made[:26]


def test_every_tunnel_carries_packets_in_both_directions(hub):
    """And no flow is decided twice."""
    use_tunnels(hub, PEERS, size=200, bursts=2 * PEERS, singles=0)
    load = use_tunnels(hub, PEERS, size=200, bursts=2 * PEERS, singles=PEERS)
    assert load.packets == 2 * 2 * PEERS * 45
    assert (len(load.delays), load.decided) == (PEERS, 0)
    assert {len(hub.cards[number].tunnels) for number in hub.peers} == {1}
    assert len(hub.cards[HUB].tunnels) == PEERS


def test_as_many_flows_are_used_as_are_opened(hub):
    """Traffic in all of them finds each in the tables of both cards."""
    before = len(hub.cards[HUB].egress.flows)
    opened = open_flows(hub, 0, 50)
    assert opened.count == 50
    assert opened.hub_s > 0
    assert opened.peer_s > 0
    load = use_flows(hub, 50, size=200, bursts=50, singles=0)
    assert load.decided == 0
    assert len(hub.cards[HUB].egress.flows) == before + 50


def test_in_clear_there_are_no_tunnels():
    """The plain arm."""
    hub = Hub(1, encrypted=False)
    hub.connect(1)
    assert use_tunnels(hub, 1, size=200, bursts=1, singles=0).packets == 90
    assert hub.cards[HUB].egress.counters.encrypted == 0


def test_more_peers_than_addresses_are_refused():
    """In one line."""
    with pytest.raises(DtlsEmuError, match="1 to 65000 peers"):
        Hub(65_001)
