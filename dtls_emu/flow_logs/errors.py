"""What is wrong with a flow log."""

from __future__ import annotations

from dtls_emu.errors import DtlsEmuError


__all__ = ["FlowLogError"]


class FlowLogError(DtlsEmuError):
    """It is no virtual network flow log of version 4, or a damaged one. Says where, and what is wrong."""
