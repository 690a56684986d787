"""Looking a flow up: once a burst, in tables of two sizes."""

from math import inf
from typing import Any

import numpy as np
import pytest

from dtls_emu.nic.flow_table import FlowTable
from dtls_emu.nic.offload.state import SEND


@pytest.mark.parametrize("flows", [100, 100_000])
def test_find(benchmark, flows):
    """The entry of one key, in a table of so many."""
    table = FlowTable[Any](limit=1_000_000)
    keys = np.zeros((flows, 6), np.uint64)
    keys[:, 0] = np.arange(flows)
    for row in range(flows):
        table.insert(keys, row, object(), (1, 0, 0, 0, 0.0, inf, 0, 0, 0, SEND), 0.0)
    assert benchmark(table.find, keys, flows // 2) is not None
