"""Flows of a mixed burst, found and taken out."""

import random

import numpy as np

from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.grouping import gather, group_rows
from dtls_emu.wire.inspect import KEY_WORDS


def test_any_mixture_is_taken_apart_and_nothing_is_lost():
    """Against a dictionary: same flows, in order of appearance, each with its rows in order."""
    for seed in range(300):
        rng = random.Random(seed)
        print(f"seed {seed}")
        count = rng.randint(1, MAX_ROWS)
        flows = [rng.randrange(rng.randint(1, 8)) for _ in range(count)]
        packets = [bytes([flow, row]) * 20 for row, flow in enumerate(flows)]
        packets[-1] = packets[-1][: rng.randint(1, 40)]
        burst = Burst.from_packets(packets, headroom=rng.choice((0, 9)), tailroom=rng.choice((0, 5)), mark=3)
        keys = np.zeros((MAX_ROWS, KEY_WORDS), np.uint64)
        classes = np.zeros(MAX_ROWS, np.uint8)
        for row, flow in enumerate(flows):
            keys[row, flow % KEY_WORDS] = flow
            classes[row] = flow & 1
        groups, heads = np.zeros(MAX_ROWS, np.uint8), np.zeros(MAX_ROWS, np.int64)
        sizes = np.zeros(MAX_ROWS, np.int64)
        found = group_rows(keys, classes, count, groups, heads, sizes)
        expected: dict[int, list[bytes]] = {}
        for packet, flow in zip(packets, flows, strict=True):
            expected.setdefault(flow, []).append(packet)
        assert found == len(expected)
        for group, (flow, rows) in enumerate(expected.items()):
            assert flows[heads[group]] == flow
            assert sizes[group] == len(rows)
            part = gather(burst, groups, group, len(rows), np.empty(len(rows) * burst.size, np.uint8))
            assert [row.tobytes() for row in part.rows()] == rows
            assert part.mark == 3
