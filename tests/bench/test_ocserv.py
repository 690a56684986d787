"""When ocserv is not the DTLS 1.2 AES-256-GCM tunnel that should be compared."""

import pytest

from side_by_side.ocserv import degradation
from side_by_side.underlay import PINGS, Sight


GCM_256 = "(DTLS1.2)-(PSK)-(AES-256-GCM)"
ALL = 2 * PINGS


def test_dtls_with_the_wanted_suite_is_not_degraded():
    """All packets in DTLS 1.2 records, none in clear."""
    assert not degradation(GCM_256, Sight({"UDP": ALL}, clear=0, dtls=ALL))


@pytest.mark.parametrize(
    "suite", ["(DTLS1.2)-(PSK)-(AES-128-GCM)", "(DTLS1.0)-(PSK)-(AES-256-CBC)-(SHA1)", "TLS over TCP"]
)
def test_another_suite_is(suite):
    """Whatever the wire looks like."""
    assert suite in degradation(suite, Sight({"UDP": ALL}, clear=0, dtls=ALL))


def test_data_over_tcp_is_whatever_the_log_says():
    """A client that set up DTLS may still have gone back to TLS."""
    flaw = degradation(GCM_256, Sight({"TCP": ALL}, clear=0, dtls=0))
    assert flaw == f"only 0 of {ALL} packets went in DTLS 1.2 records ({ALL} by TCP)"


def test_data_in_clear_is():
    """Before anything else is asked."""
    assert "in clear" in degradation(GCM_256, Sight({"UDP": ALL}, clear=3, dtls=ALL))
