"""Quantities with units become SI numbers; what is ambiguous is refused with what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dtls_emu.lab.units import (
    ByteCount,
    Duration,
    Probability,
    Rate,
    parse_bytes,
    parse_duration,
    parse_probability,
    parse_rate,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5ms", 0.005),
        ("1.5 s", 1.5),
        ("20us", 20e-6),
        ("20\u00b5s", 20e-6),
        ("20\u03bcs", 20e-6),
        ("100ns", 1e-7),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("1e-3s", 0.001),
        ("7MS", 0.007),
        (0, 0.0),
        (0.0, 0.0),
    ],
)
def test_durations_are_seconds(text, seconds):
    """To the last bit: `5ms` is the float nearest to 0.005."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.1%", 0.001), ("100 %", 1.0), (0, 0.0)])
def test_shares_are_probabilities(text, share):
    """0 to 1."""
    assert parse_probability(text) == share


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1Gbit/s", 1e9),
        ("100 Mbit/s", 1e8),
        ("1.5kbit", 1500.0),
        ("10mbit/s", 1e7),
        ("9bit/s", 9.0),
        (0, 0.0),
    ],
)
def test_rates_are_bits_a_second(text, rate):
    """With the decimal prefixes of line rates."""
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "count"), [("10MB", 10_000_000), ("64KiB", 65_536), (1500, 1500), ("1.5kB", 1500), (0, 0)]
)
def test_sizes_are_bytes(text, count):
    """A plain number is bytes; prefixes say whether they are decimal."""
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (parse_duration, 5, "`5` has no unit; write a duration with its unit, such as 5ms"),
        (parse_duration, "5", "`5` is not a duration; write one such as 5ms (units: ns, us, ms, s, min, h)"),
        (
            parse_duration,
            "-5ms",
            "`-5ms` is not a duration; write one such as 5ms (units: ns, us, ms, s, min, h)",
        ),
        (
            parse_duration,
            "5 weeks",
            "`5 weeks` is not a duration; write one such as 5ms (units: ns, us, ms, s, min, h)",
        ),
        (parse_probability, 1, "`1` has no unit; write a share with its unit, such as 1%"),
        (parse_probability, 0.5, "`0.5` has no unit; write a share with its unit, such as 1%"),
        (parse_probability, "101%", "`101%` is more than 100%; write at most 100%"),
        (parse_duration, "1e20s", "`1e20s` is too much; write less, such as 5ms"),
        (parse_rate, 100, "`100` has no unit; write a rate with its unit, such as 100Mbit/s"),
        (parse_bytes, 1e6, "`1000000.0` is no whole number as it stands; write 1000000"),
        (parse_bytes, 1.5, "`1.5` has no unit; write a number of bytes with its unit, such as 10MB"),
        (parse_bytes, "1.5B", "`1.5B` is not a whole number of bytes; write one, such as 10MB"),
    ],
)
def test_ambiguity_is_refused_with_what_to_write(parse, value, message):
    """A number without a unit most of all: `loss: 1` could be 1 % or always."""
    with pytest.raises(ValueError) as caught:
        parse(value)
    assert str(caught.value) == message


@pytest.mark.parametrize("parse", [parse_duration, parse_probability, parse_rate, parse_bytes])
@pytest.mark.parametrize(
    "value", [True, None, [], {}, "", "%", "1e999s", "1" * 2_000_000 + "ms", float("nan"), -1, "1 %%", b"1s"]
)
def test_junk_is_refused(parse, value):
    """As a ValueError, which becomes a line of the report."""
    with pytest.raises(ValueError):
        parse(value)


def test_megabits_are_not_guessed_from_another_case():
    """`mb` could be megabytes or millibits; bytes take prefixes in any case only where one is meant."""
    assert parse_bytes("1mb") == 1_000_000
    with pytest.raises(ValueError):
        parse_rate("1mbps")


@pytest.mark.parametrize(("unit", "largest"), [(Duration, 1e6), (Probability, 1.0), (Rate, 1e12)])
@given(data=st.data())
def test_what_is_written_as_json_is_read_back(unit, largest, data):
    """A lab dumped to JSON is a lab file again, to the last bit."""
    adapter = TypeAdapter(unit)
    value = data.draw(
        st.floats(0, largest, allow_subnormal=False).filter(lambda number: number == 0 or number > 1e-50)
    )
    written = adapter.dump_python(value, mode="json")
    assert adapter.validate_python(written) == pytest.approx(value, rel=1e-15)


@given(st.integers(0, 2**50))
def test_bytes_are_written_as_a_plain_number(count):
    """Which is what a plain number means."""
    adapter = TypeAdapter(ByteCount)
    assert adapter.validate_python(adapter.dump_python(count, mode="json")) == count
