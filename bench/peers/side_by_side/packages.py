"""Debian packages: what is missing is installed by name, as root, and said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from side_by_side.errors import PeerError
from side_by_side.processes import run


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


__all__ = ["TOOLS", "install"]

TOOLS: Final = ("iproute2", "iperf3", "iputils-ping")
"""What every run needs; `nsenter`, `setpriv` and `unshare` are of util-linux, which Debian always has."""

SERVICES: Final = {"ocserv": "a VPN server on port 443"}
"""Packages that, where systemd runs, start something that listens."""

INSTALL_TIMEOUT_S: Final = 600.0


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install those of ``packages`` that are missing; where there is no dpkg, nothing is done.

    Raises:
        PeerError: one cannot be installed here, or its installation would start a service.
    """
    if not shutil.which("dpkg-query"):
        return
    missing = [package for package in packages if not _is_installed(package)]
    if not missing:
        return
    for package in missing:
        if package in SERVICES and Path("/run/systemd/system").is_dir():
            raise PeerError(
                f"the Debian package {package} is missing, and is not installed for you because it starts "
                f"{SERVICES[package]}; do it yourself: apt-get install {package} && systemctl disable --now {package}"
            )
    say(f"installing the Debian packages {' '.join(missing)}")
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"]
    run([*quiet, "update"], check=False, timeout=INSTALL_TIMEOUT_S)
    run([*quiet, "install", "--no-install-recommends", *missing], timeout=INSTALL_TIMEOUT_S)


def _is_installed(package: str) -> bool:
    status = run(["dpkg-query", "--show", "--showformat=${Status}", package], check=False)
    return status.stdout.endswith("ok installed")
