"""On what something was measured: the block of versions, CPU and kernel that every result file carries."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from dtls_emu import __version__
from dtls_emu.crypto.ipsec_mb_library import cpu_flags, open_library
from dtls_emu.errors import BackendUnavailableError


__all__ = ["CPU_FEATURES", "environment", "openssl_version", "package_version"]

CPU_FEATURES: Final = ("aes", "pclmulqdq", "avx2", "avx512f", "vaes", "vpclmulqdq")
"""What decides the speed of AES-GCM, as ``/proc/cpuinfo`` spells it."""

_PACKAGES: Final = ("cryptography", "llvmlite", "numba", "numpy", "pyOpenSSL", "scapy", "scipy")


def environment() -> dict[str, Any]:
    """Versions, CPU and kernel, ready for JSON. What is not there, or does not tell, is None.

    Nothing in it names the machine or its user.
    """
    flags = cpu_flags()
    return {
        "dtls_emu": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": _distribution(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": {
            "model": _cpu_model(),
            "features": [feature for feature in CPU_FEATURES if feature in flags],
            "cores": os.cpu_count(),
            "usable_cores": len(os.sched_getaffinity(0)),
            "virtual": "hypervisor" in flags,
        },
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "libraries": {
            **{name: package_version(name) for name in _PACKAGES},
            "openssl": openssl_version(),
            "libipsec_mb": _ipsec_mb_version(),
        },
        "free_threaded": not getattr(sys, "_is_gil_enabled", lambda: True)(),
    }


def package_version(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def openssl_version() -> str | None:
    """The OpenSSL that `cryptography` and pyOpenSSL use, which is not the system's."""
    try:
        backend = import_module("cryptography.hazmat.backends.openssl").backend
    except ImportError:
        return None
    return str(backend.openssl_version_text())


def _ipsec_mb_version() -> str | None:
    try:
        return open_library()[1]
    except BackendUnavailableError:
        return None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)
