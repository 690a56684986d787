"""The replay window against a plain set."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtls_emu.errors import LocalProtocolError
from dtls_emu.wire.protocol import MAX_SEQUENCE, RowStatus
from dtls_emu.wire.replay import MIN_WINDOW, ReplayWindow


class Model:
    """RFC 6347 4.1.2.6 as one would write it for a reader: every number ever taken."""

    def __init__(self, size):
        self.size = size
        self.taken = set()

    def check(self, seq):
        if seq <= max(self.taken, default=-1) - self.size:
            return RowStatus.LATE
        return RowStatus.REPLAYED if seq in self.taken else RowStatus.OK

    def update(self, seq):
        accepted = self.check(seq) is RowStatus.OK
        if accepted:
            self.taken.add(seq)
        return accepted


def numbers(size):
    """Mostly close to each other, around the places where words and the ring wrap, sometimes far."""
    near = st.integers(0, 3 * size)
    far = st.integers(0, MAX_SEQUENCE)
    top = st.integers(MAX_SEQUENCE - 2 * size, MAX_SEQUENCE)
    return st.lists(near | near | far | top, max_size=60)


@settings(deadline=None)  # the first call compiles
@given(data=st.data(), size=st.sampled_from([64, 128, 192, 1024, 4096]))
def test_window_is_the_model(data, size):
    """Each check, each update and the highest number, for any order of numbers, at every size."""
    window, model = ReplayWindow(size), Model(size)
    for seq in data.draw(numbers(size)):
        before = window.state.copy()
        assert window.check(seq) == model.check(seq)
        assert (window.state == before).all(), "a check moved the window"
        assert window.update(seq) == model.update(seq)
        assert window.highest == max(model.taken)


@pytest.mark.parametrize("size", [64, 192, 1024])
def test_edges_of_the_window(size):
    """The oldest number of the window is taken once, the one before it is late."""
    window = ReplayWindow(size)
    assert window.update(10_000)
    assert window.check(10_000 - size) is RowStatus.LATE
    assert window.check(10_000 - size + 1) is RowStatus.OK
    assert window.update(10_000 - size + 1)
    assert window.check(10_000 - size + 1) is RowStatus.REPLAYED
    assert not window.update(10_000 - size)


def test_number_zero_is_a_number_like_any_other():
    """A first record may have number 0; it is not taken for 'seen' nor for 'nothing seen'."""
    window = ReplayWindow()
    assert window.highest == -1
    assert window.check(0) is RowStatus.OK
    assert window.update(0)
    assert window.highest == 0
    assert window.check(0) is RowStatus.REPLAYED


def test_each_number_of_a_long_stream_is_taken_exactly_once():
    """Over many turns of the ring no old bit is taken for a new one."""
    window = ReplayWindow(64)
    for seq in range(10_000):
        assert window.update(seq)
        assert not window.update(seq)


@pytest.mark.parametrize("jump", [63, 64, 65, 127, 128, 129, 1_000_000, MAX_SEQUENCE - 200])
def test_a_jump_forgets_what_it_leaves_behind_and_nothing_else(jump):
    """After a jump every number of the window but the new one is free, unless it was taken before."""
    window = ReplayWindow(128)
    taken = set(range(0, 130, 3)) | {jump + 129}
    for seq in sorted(taken):
        window.update(seq)
    for seq in range(jump + 2, jump + 129):
        expected = RowStatus.REPLAYED if seq in taken else RowStatus.OK
        assert window.check(seq) is expected, seq


@pytest.mark.parametrize("size", [0, 63, 65, -64, MIN_WINDOW - 1])
def test_sizes_that_are_no_window_are_refused(size):
    """Multiples of 64, at least the RFC's preferred minimum."""
    with pytest.raises(LocalProtocolError, match="multiple of 64"):
        ReplayWindow(size)
