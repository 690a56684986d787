"""The flow table against a dictionary."""

import random
import tracemalloc
from dataclasses import dataclass
from math import inf

import numpy as np

from dtls_emu.nic.flow_table import VM_FULL, FlowTable
from dtls_emu.nic.offload.state import SEND
from dtls_emu.testing.present import present
from dtls_emu.wire.inspect import KEY_WORDS


def key(number):
    """A key whose words differ as little as those of neighbouring flows do."""
    return np.array([[number, 0, 0xFFFF0A000004, 0, 0xFFFF0A000006, 4 << 8]], np.uint64)


@dataclass
class Flow:
    name: object


def insert(table, number, flow, now, seen=None):
    """Enter a flow; whether there was a place."""
    record = (1, 0, 0, 0, now if seen is None else seen, inf, 0, 0, 1500, SEND)
    return table.insert(key(number), 0, flow, record, now) >= 0


def test_what_was_inserted_is_found_and_nothing_else():
    """Through several doublings, with neighbouring keys."""
    table = FlowTable[Flow](limit=10_000)
    for number in range(5000):
        assert table.find(key(number), 0) is None
        assert insert(table, number, Flow(number), 0.0)
    assert len(table) == 5000
    assert all(present(table.find(key(number), 0)).name == number for number in range(5000))
    assert table.find(key(5000), 0) is None


def test_inserting_again_replaces():
    """A flow that is decided anew keeps its place."""
    table = FlowTable[Flow](limit=1)
    assert insert(table, 1, Flow("old"), 0.0)
    assert insert(table, 1, Flow("new"), 0.0)
    assert present(table.find(key(1), 0)).name == "new"
    assert len(table) == 1


def test_the_limit_refuses_new_flows_only():
    """Azure drops new connections over its limit; old ones go on."""
    table = FlowTable[Flow](limit=2)
    assert insert(table, 1, Flow(1), 0.0)
    assert insert(table, 2, Flow(2), 0.0)
    assert not insert(table, 3, Flow(3), 0.0)
    assert insert(table, 2, Flow(4), 0.0)


def test_a_full_table_lets_idle_flows_go_and_keeps_the_rest():
    """Those without a packet for four minutes, whichever they are; and it sweeps at most once a second."""
    for seed in range(20):
        rng = random.Random(seed)
        print(f"seed {seed}")
        numbers = rng.sample(range(1, 100_000), 1500)
        table = FlowTable[Flow](limit=len(numbers))
        idle = {number for number in numbers if rng.random() < 0.3}
        for number in numbers:
            assert insert(table, number, Flow(number), 100.0, seen=0.0 if number in idle else 100.0)
        assert not insert(table, 0, Flow(0), 239.5)
        assert not insert(table, 0, Flow(0), 240.0), "swept twice within a second"
        assert insert(table, 0, Flow(0), 241.0)
        assert {number for number in numbers if table.find(key(number), 0) is None} == idle
        assert {each.flow.name for each in table} == {0, *numbers} - idle


def test_each_word_of_a_key_counts():
    """Two keys that differ in one bit of any word are two flows."""
    table = FlowTable[Flow](limit=100)
    for word in range(KEY_WORDS):
        other = key(7)
        other[0, word] ^= np.uint64(1 << 40)
        assert table.find(other, 0) is None
        table.insert(other, 0, Flow(word), (1, 0, 0, 0, 0.0, inf, 0, 0, 0, SEND), 0.0)
    assert table.find(key(7), 0) is None
    assert len(table) == KEY_WORDS


def test_a_million_flows_take_less_than_a_gigabyte():
    """Of both tables of a card: half as many flows take no more than half as much, whatever the allocator does."""
    flow, count = Flow("shared"), 50_000
    tracemalloc.start()
    table = FlowTable[Flow](limit=count)
    for number in range(count):
        assert insert(table, number, flow, 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 2 * peak / count < 1_000


def test_a_vm_has_no_more_flows_than_it_may_and_others_are_not_kept_from_theirs():
    """Idle ones make room; a flow that is decided anew keeps its place, and what has no VM does not count."""

    def enter(number, vm, now):
        return table.insert(key(number), 0, Flow(number), (1, 0, 0, 0, now, inf, vm, 0, 1500, SEND), now)

    table = FlowTable[Flow](100, 3)
    assert [enter(number, 7, 0.0) for number in range(3)] == [0, 1, 2]
    assert enter(3, 7, 1.0) == VM_FULL
    assert enter(2, 7, 1.0) == 2
    assert enter(4, 8, 1.0) == 3
    assert all(enter(number, -1, 1.0) >= 0 for number in range(10, 20))
    assert enter(3, 7, 239.0) == VM_FULL
    assert enter(3, 7, 240.5) >= 0, "the first two were idle"
    assert enter(5, 7, 240.5) >= 0
    assert enter(6, 7, 240.5) == VM_FULL
    table.clear()
    assert enter(6, 7, 241.0) >= 0


def test_how_a_flow_stands_outlives_its_decisions_and_every_rebuild():
    """Counts of earlier decisions, misses and drops are added up, wherever the table moves the flow to."""
    table = FlowTable[Flow](limit=4000)
    for number in range(3000):
        insert(table, number, Flow("first"), float(number))
    table.records["packets"][7] = 5
    table.records["nbytes"][7] = 500
    record = (1, 0, 2, 50, 5000.0, inf, 0, 0, 1500, SEND)
    assert table.insert(key(7), 0, Flow("second"), record, 4000.0, missed=3) == 7
    table.count_dropped(7, 4)
    for number in range(3000, 3500):
        insert(table, number, Flow("first"), 4000.0)
    standing = table.standings(3500)[7]
    assert (standing.packets, standing.nbytes) == (7, 550)
    assert (standing.dropped, standing.exceptions, standing.decided, standing.hits) == (4, 4, 2, 7)
    assert (standing.began, standing.last_seen, standing.is_fast) == (7.0, 5000.0, True)
    assert standing.flow.name == "second"


def test_of_many_flows_those_stand_that_were_seen_last():
    """In the order in which they began; a bounded answer to however many."""
    table = FlowTable[Flow](limit=4000)
    for number in range(1000):
        insert(table, number, Flow(number), 0.0, seen=float(number * 7 % 1000))
    found = [standing.flow.name for standing in table.standings(10)]
    assert found == sorted(number for number in range(1000) if number * 7 % 1000 >= 990)
    assert table.standings(0) == []
