"""Memory of an idle tunnel: what one of its two ends holds on to once the handshake is over.

Measured in a process of its own, as growth of resident memory: part of it is OpenSSL's, which Python does not
see, and a process that has run trials has freed memory that new tunnels would use up first.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from dtls_emu.errors import DtlsEmuError


__all__ = ["idle_tunnel_bytes"]

PAIRS: Final = 400
"""Of tunnels: enough for pages and arenas, which memory comes in, not to matter."""

WARM_UP: Final = 40
"""Pairs made before: what is allocated once for all is not a tunnel's."""


def idle_tunnel_bytes(backend: str) -> int:
    """Bytes of one end of an idle tunnel with this backend: a fresh process measures it.

    Raises:
        DtlsEmuError: the process failed, with what it said.
    """
    command = [sys.executable, "-m", __spec__.name, backend]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    if outcome.returncode:
        last = outcome.stderr.strip().rpartition("\n")[2]
        raise DtlsEmuError(f"memory of idle tunnels could not be measured: {last}")
    return int(outcome.stdout)


def _grow(backend: str) -> int:
    """How much resident memory grows with one end."""
    from dtls_emu.testing.pair import Pair  # noqa: PLC0415  # only the process of its own needs it

    def establish(count: int) -> list[Pair]:
        pairs = [Pair(backend=backend) for _ in range(count)]
        for pair in pairs:
            pair.connect()
            pair.run(until=1.0)
            # A tunnel comes up because there is traffic; only with it does OpenSSL let go of its buffers.
            pair.send("alpha", bytes(100))
            pair.send("beta", bytes(100))
            pair.run(until=2.0)
            pair.wire.clear()
            pair.received.clear()
        return pairs

    kept = establish(WARM_UP)
    gc.collect()
    before = _resident()
    kept += establish(PAIRS)
    gc.collect()
    grown = _resident() - before
    assert all(pair.client.active and pair.server.active for pair in kept)
    return grown // (2 * PAIRS)


def _resident() -> int:
    """Resident bytes of this process (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    print(_grow(sys.argv[1]))  # noqa: T201  # for the process that has started this one
