"""Calls that failed are counted by their error, and what was dropped with them by its reason."""

from __future__ import annotations

import errno

import numpy as np

from dtls_emu.fabric.failures import FAILURES, count_failure, drops_by_reason, errors_by_name


def test_calls_are_told_by_the_name_of_their_error():
    """Of all tables together; a number that has no name is unknown."""
    tables = np.zeros(2, FAILURES)
    for table, error in ((0, errno.EIO), (0, errno.EIO), (1, errno.EIO), (1, errno.ENOBUFS), (1, 255)):
        count_failure(tables[table], error, 0)
    assert errors_by_name(tables) == {"EIO": 3, "ENOBUFS": 1, "unknown": 1}


def test_drops_are_added_up_by_reason():
    """Calls that dropped nothing have none."""
    table = np.zeros(1, FAILURES)[0]
    for error, items in ((errno.EIO, 5), (errno.EIO, 2), (errno.EINVAL, 1), (errno.EAGAIN, 0)):
        count_failure(table, error, items)
    assert drops_by_reason(table, lambda error: "down" if error == errno.EIO else "refused") == {
        "down": 7,
        "refused": 1,
    }


def test_a_number_that_no_kernel_gives_stays_inside_the_table():
    """Whatever the C library says."""
    table = np.zeros(1, FAILURES)[0]
    count_failure(table, 5000, 1)
    assert table.sum() == 2
