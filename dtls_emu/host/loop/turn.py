"""The loop of a host as a kernel: wait, read, let the card's fast path work, write and send. No Python in between.

It works on the same devices, sockets and epoll as :mod:`dtls_emu.host.loop.agent`, with the same kernels, and does for
packets of offloaded flows what that does. It returns when there is something that only the slow path can do: a packet
that is an exception, a timer, the control socket. Then nothing waits to be sent, and what was read is in the memory it
was read into.

One pass: each file that is readable has its turn, a bounded amount of work; what is still there is readable again.
An exception does not end the pass: the next call goes on with the fabric's turn, or, when the packet was a guest's,
with the files behind it. Packets of a turn leave together when they can.
"""

from __future__ import annotations

from typing import Final

from dtls_emu.fabric.syscalls import CLOCK_MONOTONIC, clock_gettime, epoll_wait, ppoll
from dtls_emu.fabric.udp_send import flush
from dtls_emu.host.loop.incoming import from_fabric
from dtls_emu.host.loop.outgoing import from_guest
from dtls_emu.host.loop.state import (
    ATTENTION,
    DEVICE,
    DONE,
    FABRIC,
    INTERRUPTED,
    MAX_EVENTS,
    NOTHING,
    OTHER,
    TIMERS,
    LoopState,
)
from dtls_emu.wire.memory import kernel


__all__ = ["run_loop"]

_POLLIN: Final = 1
_NANOSECONDS: Final = 1_000_000_000


@kernel
def run_loop(state: LoopState, now: float, until: float, forever: bool) -> int:
    """Work until there is something for the slow path.

    Args:
        state: of the loop.
        now: seconds, for one pass.
        until: when a timer is due, in seconds of the monotonic clock; for many passes.
        forever: pass after pass, and asleep when there is nothing to do; else one pass, without waiting.
    """
    loop = state.loop[0]
    while True:
        moment = _monotonic(state) if forever else now
        due = min(until, state.card.card[0].due)
        if loop.next >= loop.ready:
            ready = epoll_wait(loop.epoll, state.events.ctypes.data, MAX_EVENTS, 0)
            if ready < 0:
                return INTERRUPTED
            if ready == 0:
                if not forever:
                    return NOTHING
                if moment >= due:
                    return TIMERS
                if _sleep(state, due - moment) < 0:
                    return INTERRUPTED
                continue
            loop.ready = ready
            loop.next = 0
        while loop.next < loop.ready:
            file = state.events[loop.next].file
            loop.next += 1
            kind = state.files[file].kind if file < len(state.files) else OTHER
            code = DONE
            if kind == DEVICE:
                code = from_guest(state, state.files[file].guest, moment)
            elif kind == FABRIC:
                code = from_fabric(state, moment)
                if code != DONE:
                    loop.next -= 1  # its turn is not over
            else:
                loop.seen_other = 1
            flush(state.sender, state.paths, moment)
            if code != DONE:
                return code
        if loop.seen_other or state.sender[0].attention:
            return ATTENTION
        if not forever:
            return DONE
        if moment >= due:
            return TIMERS


@kernel
def _monotonic(state: LoopState) -> float:
    """Seconds of the monotonic clock, as Python's ``time.monotonic`` counts them."""
    clock_gettime(CLOCK_MONOTONIC, state.time.ctypes.data)
    time = state.time[0]
    return float(time.seconds + time.nanoseconds / _NANOSECONDS)


@kernel
def _sleep(state: LoopState, seconds: float) -> int:
    """Until a file is readable, or so many seconds. Not in epoll, which would round them up to milliseconds."""
    poll, time = state.poll[0], state.time[0]
    poll.file = state.loop[0].epoll
    poll.events = _POLLIN
    limit = 0
    if seconds < _NANOSECONDS:  # else there is no timer
        time.seconds = int(seconds)
        time.nanoseconds = int((seconds - int(seconds)) * _NANOSECONDS)
        limit = state.time.ctypes.data
    return int(ppoll(state.poll.ctypes.data, 1, limit, 0))
