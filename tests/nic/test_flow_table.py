"""The flow table against a dictionary."""

import random

import numpy as np

from dtls_emu.nic.flow_table import FlowTable
from dtls_emu.wire.inspect import KEY_WORDS


def key(number):
    """A key whose words differ as little as those of neighbouring flows do."""
    return np.array([[number, 0, 0xFFFF0A000004, 0, 0xFFFF0A000006, 4 << 8]], np.uint64)


def test_what_was_inserted_is_found_and_nothing_else():
    """Through several doublings, with neighbouring keys."""
    table = FlowTable(limit=10_000)
    for number in range(5000):
        assert table.find(key(number), 0) is None
        assert table.insert(key(number), 0, number)
    assert len(table) == 5000
    assert all(table.find(key(number), 0) == number for number in range(5000))
    assert table.find(key(5000), 0) is None


def test_inserting_again_replaces():
    """A flow that is decided anew keeps its place."""
    table = FlowTable(limit=1)
    assert table.insert(key(1), 0, "old")
    assert table.insert(key(1), 0, "new")
    assert table.find(key(1), 0) == "new"
    assert len(table) == 1


def test_the_limit_refuses_new_flows_only():
    """Azure drops new connections over its limit; old ones go on."""
    table = FlowTable(limit=2)
    assert table.insert(key(1), 0, 1)
    assert table.insert(key(2), 0, 2)
    assert not table.insert(key(3), 0, 3)
    assert table.insert(key(2), 0, 4)


def test_eviction_keeps_the_rest_findable():
    """Any subset may go."""
    for seed in range(20):
        rng = random.Random(seed)
        print(f"seed {seed}")
        table = FlowTable(limit=10_000)
        numbers = rng.sample(range(100_000), 2000)
        for number in numbers:
            table.insert(key(number), 0, number)
        gone = set(rng.sample(numbers, rng.randrange(2000)))
        assert table.evict_idle(gone.__contains__) == len(gone)
        assert {number for number in numbers if table.find(key(number), 0) is None} == gone
        assert sorted(table) == sorted(set(numbers) - gone)
    table.clear()
    assert len(table) == 0
    assert table.find(key(numbers[0]), 0) is None


def test_each_word_of_a_key_counts():
    """Two keys that differ in one bit of any word are two flows."""
    table = FlowTable(limit=100)
    for word in range(KEY_WORDS):
        other = key(7)
        other[0, word] ^= np.uint64(1 << 40)
        assert table.find(other, 0) is None
        table.insert(other, 0, word)
    assert table.find(key(7), 0) is None
    assert len(table) == KEY_WORDS
