"""How many packets are expected: numbers, ranges, all."""

import pytest
from pydantic import TypeAdapter, ValidationError

from dtls_emu.lab.expectation import Amount, AmountField


ADAPTER = TypeAdapter(AmountField)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        (10, Amount(10, 10)),
        (0, Amount(0, 0)),
        ("8..10", Amount(8, 10)),
        ("8..", Amount(8, None)),
        ("all", Amount(everything=True)),
    ],
)
def test_amounts_are_read_and_written(written, amount):
    """As they stand in the lab file."""
    assert ADAPTER.validate_python(written) == amount
    assert ADAPTER.dump_python(amount, mode="json") == written
    assert str(amount) == str(written)


@pytest.mark.parametrize(
    "written", [-1, True, None, 1.5, "10..8", "8..9..10", "..", "some", "8.5..9", [], {}]
)
def test_junk_is_no_amount(written):
    """Nor is a range upside down."""
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(written)


@pytest.mark.parametrize(
    ("written", "actual", "offered", "holds"),
    [
        (10, 10, 20, True),
        (10, 9, 20, False),
        ("8..10", 8, 20, True),
        ("8..10", 10, 20, True),
        ("8..10", 11, 20, False),
        ("8..", 10**9, 0, True),
        ("8..", 7, 20, False),
        ("all", 20, 20, True),
        ("all", 19, 20, False),
        ("all", 21, 20, False),
    ],
)
def test_an_amount_holds_or_not(written, actual, offered, holds):
    """`all` is compared with what was offered."""
    assert ADAPTER.validate_python(written).holds(actual, offered) == holds
