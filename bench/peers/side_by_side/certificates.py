"""A certificate authority that lives for one run, and a folder of PEM files for either end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dtls_emu.crypto.authority import RegionAuthority
from dtls_emu.host.credentials import write_credentials


if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["issue"]


def issue(work: Path, *names: str) -> dict[str, Path]:
    """Certificates by one fresh CA: for each name a folder with ``ca-peers.pem``, ``host.pem`` and ``host.key``."""
    now = datetime.now(UTC)
    authority = RegionAuthority.create("peers", now)
    for name in names:
        write_credentials(work / name, authority.issue(name, now), {"peers": authority.certificate})
    return {name: work / name for name in names}
