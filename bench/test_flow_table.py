"""Looking a flow up: once a burst, in tables of two sizes."""

import numpy as np
import pytest

from dtls_emu.nic.flow_table import FlowTable


class Flow:
    last_seen = 0.0
    packets = nbytes = 0


@pytest.mark.parametrize("flows", [100, 100_000])
def test_find(benchmark, flows):
    """The entry of one key, in a table of so many."""
    table = FlowTable[Flow](limit=1_000_000)
    keys = np.zeros((flows, 6), np.uint64)
    keys[:, 0] = np.arange(flows)
    for row in range(flows):
        table.insert(keys, row, Flow(), 0.0)
    assert benchmark(table.find, keys, flows // 2) is not None
