"""What is read from iperf3's JSON. The documents are cut from real ones of iperf3 3.12."""

import pytest

from side_by_side.errors import PeerError
from side_by_side.iperf import Datagrams, parse_datagrams, parse_stream


TCP = {
    "end": {
        "sum_sent": {"seconds": 1.000099, "bytes": 2267676672, "retransmits": 7, "sender": True},
        "sum_received": {"seconds": 1.003882, "bytes": 2173237416, "sender": True},
    }
}
UDP = {
    "end": {
        "sum_sent": {"seconds": 1.000137, "bytes": 7224840, "lost_packets": 0, "packets": 200690},
        "sum_received": {"seconds": 1.000185, "bytes": 3533688, "lost_packets": 102532, "packets": 200690},
    }
}


def test_the_receivers_bytes_count():
    """What the sender wrote may still be in a queue."""
    stream = parse_stream(TCP, 0.5)
    assert (stream.octets, stream.seconds, stream.retransmits, stream.cpu_s) == (2173237416, 1.003882, 7, 0.5)


def test_a_transfer_of_nothing_is_no_result():
    """A rate of 0 would make a ratio infinite."""
    document = {"end": {"sum_sent": {}, "sum_received": {"bytes": 0, "seconds": 1.0}}}
    with pytest.raises(PeerError, match="no byte arrived"):
        parse_stream(document)


def test_received_packets_are_those_sent_less_those_lost():
    """`packets` of `sum_received` is what was sent, whatever its name says."""
    datagrams = parse_datagrams(UDP)
    assert (datagrams.sent, datagrams.received) == (200690, 98158)
    # The document's own byte count agrees, at 36 bytes a packet.
    assert datagrams.received * 36 == UDP["end"]["sum_received"]["bytes"]


def test_rates_and_loss_are_of_the_senders_time():
    """Both rates have the same denominator, so their ratio is the loss."""
    datagrams = Datagrams(sent=1000, received=900, seconds=2.0)
    assert (datagrams.sent_per_s, datagrams.received_per_s) == (500.0, 450.0)
    assert datagrams.loss == pytest.approx(0.1)


def test_sending_nothing_is_total_loss():
    """Never taken for a rate without loss."""
    assert Datagrams(sent=0, received=0, seconds=1.0).loss == 1.0
