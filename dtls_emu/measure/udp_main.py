"""The program that is one end of the UDP path: ``python -m dtls_emu.measure.udp_main PIPE MEMORY``.

Both are numbers of open files that it inherits. It is a program of its own, not a forked or spawned copy of whoever
measures: so a benchmark may be called from a script without a ``__main__`` guard, from a notebook, or beside threads.
"""

from __future__ import annotations

import sys
from ctypes import c_longlong
from mmap import mmap
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from dtls_emu.measure.udp_worker import SHARED_WORDS, EndConfig, serve


if TYPE_CHECKING:
    from ctypes import Array


__all__ = ["MEMORY_BYTES", "shared_words"]

MEMORY_BYTES = SHARED_WORDS * 8


def shared_words(descriptor: int) -> Array[c_longlong]:
    """The words that both processes see, in a file in memory."""
    return (c_longlong * SHARED_WORDS).from_buffer(mmap(descriptor, MEMORY_BYTES))


def _main(pipe: int, memory: int) -> None:
    connection = Connection(pipe)
    config = connection.recv()
    assert isinstance(config, EndConfig)
    serve(config, connection, shared_words(memory))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
