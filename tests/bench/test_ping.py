"""What is read from ping's lines."""

import pytest

from side_by_side.errors import PeerError
from side_by_side.ping import parse_ping


HEAD = "PING 198.18.0.2 (198.18.0.2) 56(84) bytes of data.\n"
LINE = "64 bytes from 198.18.0.2: icmp_seq={} ttl=64 time={} ms{}\n"
TAIL = (
    "\n--- 198.18.0.2 ping statistics ---\n{} packets transmitted, {} received, 0% packet loss, time 20ms\n"
)


def _text(times, *, sent, extra=""):
    lines = [LINE.format(number, time, "") for number, time in enumerate(times, 1)]
    return HEAD + "".join(lines) + extra + TAIL.format(sent, len(times))


def test_percentiles_are_of_every_ping():
    """Milliseconds in, microseconds out."""
    times = parse_ping(_text([f"0.{number:03d}" for number in range(1, 102)], sent=101))
    assert (times.p50_us, times.p99_us, times.lost) == pytest.approx((51.0, 100.0, 0))


def test_times_of_a_millisecond_and_more_have_fewer_decimals():
    """Ping shows three significant digits: 0.345, 3.45, 34.5, 345."""
    assert parse_ping(_text(["3.45", "345", "34.5"], sent=3)).p50_us == pytest.approx(34_500)


def test_what_was_sent_and_not_answered_is_lost():
    """The line of totals says how many were sent."""
    assert parse_ping(_text(["0.1", "0.1"], sent=5)).lost == 3


def test_a_duplicate_is_not_a_second_answer():
    """It would hide a loss."""
    duplicate = LINE.format(1, "9.99", " (DUP!)")
    times = parse_ping(_text(["0.1", "0.1"], sent=3, extra=duplicate))
    assert (times.lost, times.p99_us) == pytest.approx((1, 100.0))


@pytest.mark.parametrize("text", ["", HEAD + TAIL.format(5, 0)])
def test_no_answer_is_an_error(text):
    """Not a time of zero."""
    with pytest.raises(PeerError, match="no answer"):
        parse_ping(text)
