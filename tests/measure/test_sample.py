"""offered = delivered + dropped by reason, or the run fails loudly."""

from __future__ import annotations

import pytest

from dtls_emu.measure.sample import Accounting
from dtls_emu.simulation.accounts import AccountingError


def test_an_account_that_adds_up_passes():
    """Delivered and every reason together are what was offered -> raises nothing."""
    Accounting(10, 7, {"fragment": 2, "socket_buffer": 1}).check("trial")
    Accounting(10, 10).check("trial")


@pytest.mark.parametrize(
    "account",
    [
        Accounting(10, 9),
        Accounting(10, 11),
        Accounting(10, 9, {"fragment": 2}),
        Accounting(10, 11, {"socket_buffer": -1}),
        Accounting(-1, -1),
    ],
)
def test_one_packet_too_many_or_too_few_fails(account):
    """Missing packets, packets out of thin air, and negative counts that would hide either."""
    with pytest.raises(AccountingError, match="udp, 64 bytes, plain: offered"):
        account.check("udp, 64 bytes, plain")
