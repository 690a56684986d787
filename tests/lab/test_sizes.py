"""The size catalogue of profile `current`."""

import re

import pytest

from dtls_emu.lab.sizes import CURRENT_SIZES, SIZE_NAME, size_row, supports_encryption


CAPABLE = """
Standard_D2_v5 Standard_D4s_v5 Standard_D96ads_v5 Standard_D4ls_v5 Standard_D8pls_v6 Standard_D2ds_v6
Standard_E4s_v5 Standard_E64-16s_v5 Standard_E96ias_v6 Standard_E8bds_v5 Standard_D4s_v7 Standard_E4s_v10
Standard_D4_v4 Standard_D4s_v4 Standard_D4d_v4 Standard_D4ds_v4 Standard_D4a_v4 Standard_D4as_v4
Standard_E80is_v4 Standard_E4as_v4
Standard_M208ms_v2 Standard_M32dms_v2 Standard_M12s_v3 Standard_M96ds_1_v3 Standard_M176s_3_v3
Standard_L8s_v3 Standard_F2als_v6 Standard_F4ams_v6 Standard_F8as_v6
Standard_NC40ads_H100_v5 Standard_NC80adis_H100_v5 Standard_ND128isr_NDR_GB200_v6 Standard_ND128isr_GB300_v6
"""

INCAPABLE = """
Basic_A1 Standard_A2_v2 Standard_A4m_v2 Standard_B2s Standard_B2ms Standard_B4as_v2 Standard_D2 Standard_DS3
Standard_D2_v2 Standard_DS15_v2 Standard_DS13-4_v2 Standard_D4_v3 Standard_D4s_v3 Standard_E4s_v3
Standard_F4s_v2 Standard_L8s_v2 Standard_M416s_6_v3 Standard_M832ixs_16_v3
Standard_DC4as_v5 Standard_EC8ads_v5 Standard_DC2s_v3 Standard_NCC40ads_H100_v5
Standard_NC24ads_A100_v4 Standard_HB120rs_v3 Standard_X1 Standard_D4s_v5x
"""


@pytest.mark.parametrize("size", CAPABLE.split())
def test_listed_families_can_encrypt(size):
    """D and E from v5 on, and the families that the document lists."""
    assert supports_encryption(size)


@pytest.mark.parametrize("size", INCAPABLE.split())
def test_everything_else_cannot(size):
    """Old, burstable and confidential families, and whatever nobody lists."""
    assert not supports_encryption(size)


def test_a_size_that_nobody_lists_has_no_row():
    """So that a report can tell "named as incapable" from "not named"."""
    assert size_row("Standard_F4s_v2") is None
    burstable = size_row("Standard_B2s")
    assert burstable is not None
    assert (burstable.families, burstable.capable) == ("B", False)


@pytest.mark.parametrize("row", CURRENT_SIZES, ids=lambda row: row.families)
def test_every_row_is_needed(row):
    """Some size of this file's lists is decided by it."""
    assert any(size_row(size) is row for size in (CAPABLE + INCAPABLE).split())


@pytest.mark.parametrize("size", (CAPABLE + INCAPABLE).split())
def test_names_are_azure_names(size):
    """The pattern that a lab file is checked with lets every one pass."""
    assert re.fullmatch(SIZE_NAME, size)
