"""Where compiled kernels are kept between runs: one folder for each state of the package's sources.

Numba judges a cached kernel by its own file only. A kernel that inlines another, from another file, would stay
as it was when that one changes; after an upgrade of the package it would be wrong, silently. So the folder's
name is a digest of every source a kernel can come from, and a changed package finds an empty one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final


__all__ = ["kernel_cache", "kernels_are_compiled"]

SOURCES: Final = (
    "wire/*.py",
    "crypto/*.py",
    "nic/*.py",
    "tunnel/liveness.py",
    "tunnel/record_kernels.py",
    "fabric/offload.py",
    "fabric/udp.py",
    "host/fast_loop_kernels.py",
    "host/outbox.py",
    "host/syscalls.py",
    "host/tun.py",
)
"""Where kernels are, and the constants that are compiled into them."""


def kernel_cache() -> Path:
    """The folder for this state of the sources, below the user's cache folder (XDG base directories)."""
    package = Path(__file__).parent.parent
    digest = hashlib.sha256(str(package).encode())
    for pattern in SOURCES:
        for source in sorted(package.glob(pattern)):
            state = source.stat()
            digest.update(f"{source.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dtls-emu" / "kernels" / digest.hexdigest()[:16]


def kernels_are_compiled() -> bool:
    """Whether the largest of them is, the loop of a real host, which takes longer than all others together."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or kernel_cache())
    return any(folder.glob("**/fast_loop_kernels.run_loop-*.nbi"))
