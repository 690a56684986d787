"""The numbers of Explicit Congestion Notification (RFC 3168 5).

Apart from :mod:`dtls_emu.wire.ecn_kernels`, which uses them, so that one can have them without Numba.
"""

from __future__ import annotations

from typing import Final


__all__ = ["CE", "ECN", "ECT_0", "ECT_1"]

ECN: Final = 0x03
"""The field within a type of service or traffic class; the six bits above it are the DSCP (RFC 2474 3)."""

ECT_1: Final = 1
ECT_0: Final = 2
CE: Final = 3
