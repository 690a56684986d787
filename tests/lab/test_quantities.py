"""Quantities are written in the units of the lab file, and read again as what they were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtls_emu.lab.quantities import format_duration, format_probability, format_rate
from dtls_emu.lab.units import parse_duration, parse_probability, parse_rate


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (format_duration, 5e-05, "50us"),
        (format_duration, 0.0025, "2.5ms"),
        (format_duration, 4.5, "4.5s"),
        (format_duration, 90.0, "90s"),
        (format_duration, 660.0, "11min"),
        (format_duration, 86_400.0, "24h"),
        (format_duration, 5e-10, "0.5ns"),
        (format_duration, 0.0, "0s"),
        (format_probability, 0.01, "1%"),
        (format_probability, 1.0, "100%"),
        (format_probability, 5e-05, "0.005%"),
        (format_probability, 0.0, "0%"),
        (format_rate, 9600.0, "9.6kbit/s"),
        (format_rate, 2e8, "200Mbit/s"),
        (format_rate, 0.5, "0.5bit/s"),
        (format_rate, 0.0, "0bit/s"),
    ],
)
def test_quantities_are_written_as_people_write_them(write, value, text):
    """In the units of the lab file, and no power of ten."""
    assert write(value) == text


@given(st.just(0.0) | st.floats(1e-20, 1e9), st.just(0.0) | st.floats(1e-20, 1))
def test_what_is_written_is_read_as_the_same(number, share):
    """To the last bit, however odd; what would take more digits than the reader takes is no quantity of a lab."""
    assert parse_duration(format_duration(number)) == number
    assert parse_rate(format_rate(number)) == number
    assert parse_probability(format_probability(share)) == share
