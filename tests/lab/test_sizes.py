"""The size catalogue of profile `current`."""

import pytest

from dtls_emu.lab.sizes import CURRENT_SIZES, canonical_size, nearest_sizes, size_row, supports_encryption


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
Standard_NC24ads_A100_v4 Standard_HB120rs_v3
Standard_B1ls Standard_B2ts_v2 Standard_B2pts_v2 Standard_D2_v2_Promo Standard_E64is_v3 Standard_DC2as_CC_v5
Standard_DC2es_v5 Standard_M64 Standard_M64ls Standard_M8-2ms Standard_M896ixds_32_v3 Standard_M16bds_v3
Standard_L8as_v3 Standard_L8aos_v4 Standard_L80is_v4 Standard_F4 Standard_F8s Standard_F4ads_v7 Standard_FX4mds
Standard_FX4ms_v2 Standard_G4 Standard_GS4-8 Standard_H16mr Standard_HC44-16rs Standard_HX176-24rs Standard_NC6
Standard_NC24rs_v3 Standard_NC4as_T4_v3 Standard_ND96amsr_A100_v4 Standard_ND96isr_MI300X_v5 Standard_NV12s_v3
Standard_NG8ads_V620_v1 Standard_NV36adms_A10_v5 Standard_NP10s
"""

UNKNOWN = """
Standard_D4_s_v5 Standard_D4s Standard_D4sv5 Standard_D4sd_v5 Standard_D4ss_v5 Standard_D4s_v5x Standard_Ds4_v5
Standard_X1 Standard_D_v5 Standard_D4s_5 D4s_v5 Basic_D4s_v5 Standard_B2 Standard_L8_v3 Standard_E4sa_v5 Standard_
"""


@pytest.mark.parametrize("size", CAPABLE.split())
def test_listed_families_can_encrypt(size):
    """D and E from v5 on, and the families that the document lists."""
    assert supports_encryption(size)


@pytest.mark.parametrize("size", INCAPABLE.split())
def test_everything_else_cannot(size):
    """Old, burstable and confidential families, and all that the document does not list."""
    assert not supports_encryption(size)


@pytest.mark.parametrize("name", UNKNOWN.split())
def test_a_name_that_is_nearly_a_size_is_none(name):
    """It would be decided as a size that cannot encrypt, and nobody would know why."""
    assert size_row(canonical_size(name)) is None
    assert not supports_encryption(name)


@pytest.mark.parametrize("row", CURRENT_SIZES, ids=lambda row: row.families)
def test_every_row_is_needed(row):
    """Some size of this file's lists is decided by it."""
    assert any(size_row(size) is row for size in (CAPABLE + INCAPABLE).split())


@pytest.mark.parametrize("size", (CAPABLE + INCAPABLE).split())
def test_names_are_taken_in_any_case_and_written_as_azure_does(size):
    """As ARM takes them."""
    assert {canonical_size(name) for name in (size, size.lower(), size.upper(), size.swapcase())} == {size}


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("Standard_D4_s_v5", ("Standard_D4s_v5",)),
        ("D4s_v5", ("Standard_D4s_v5",)),
        ("Standrad_D8s_v5", ("Standard_D8s_v5",)),
        ("Standard_B2-ms", ("Standard_B2ms",)),
        ("Standard_D4sd_v5", ("Standard_D4s_v5", "Standard_D4d_v5", "Standard_D4ps_v5")),
        ("Standard_X1", ()),
        ("", ()),
        ("_" * 10_000, ()),
    ],
)
def test_the_nearest_sizes_have_as_many_cores(wrong, near):
    """One alone where only separators differ; each is a size."""
    assert nearest_sizes(wrong) == near
    assert all(size_row(size) for size in near)
