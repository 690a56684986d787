"""Records are what they say: nothing unknown is read, nothing is changed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dtls_emu.measure.records.base import Conditions


def test_a_record_is_fixed_and_knows_its_fields():
    """A typo in a file is no silent default."""
    quiet = {"stolen_share": 0.0, "pressure_share": None, "involuntary_switches": 0, "spoilt": False}
    record = Conditions.model_validate(quiet)
    with pytest.raises(ValidationError, match="frozen"):
        record.spoilt = True
    with pytest.raises(ValidationError, match="surprise"):
        Conditions.model_validate(quiet | {"surprise": 1})
