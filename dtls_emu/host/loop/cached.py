"""Whether the compiled loop is in the cache, without importing it."""

from __future__ import annotations

from dtls_emu.wire.kernel_cache import has_kernel


__all__ = ["loop_is_compiled"]


def loop_is_compiled() -> bool:
    """Whether it is; compiling it takes longer than all other kernels together."""
    return has_kernel("turn.run_loop")
