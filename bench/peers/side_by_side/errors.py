"""The one error of this folder."""

from __future__ import annotations


__all__ = ["PeerError"]


class PeerError(Exception):
    """A command failed, or a peer cannot be measured here; the text says which and why."""
