"""Which cipher backends are here: found by entry point, probed by construction, chosen by name or `auto`.

A backend that cannot work, ours or a plug-in's, is unavailable with a reason and never a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Final

from dtls_emu.errors import BackendUnavailableError


if TYPE_CHECKING:
    from dtls_emu.crypto.backend import Backend


__all__ = ["AUTO", "ENTRY_POINTS", "Choice", "available", "backend_names", "is_own", "load", "resolve"]

ENTRY_POINTS: Final = "dtls_emu.backends"
AUTO: Final = "auto"

_PREFERENCE: Final = ("ipsec-mb", "libcrypto", "cryptography")
"""What `auto` tries, fastest first. Never `null`, which protects nothing, nor `openssl`, which cannot hand over."""

_OWN_ORDER: Final = ("openssl", "cryptography", "libcrypto", "ipsec-mb", "null")
_CONTRACT: Final = ("name", "summary", "protects", "needs_connection", "detail", "attach")


@dataclass(frozen=True, slots=True)
class Choice:
    """What :func:`resolve` chose.

    Fields:
        backend: ready to use.
        reason: why this one, fit for `status` and result files.
    """

    backend: Backend
    reason: str


def backend_names() -> list[str]:
    """Names of all installed backends, whether they work here or not: the package's own, then plug-ins."""
    names = entry_points(group=ENTRY_POINTS).names
    return [name for name in _OWN_ORDER if name in names] + sorted(names.difference(_OWN_ORDER))


def is_own(name: str) -> bool:
    """Whether a backend is the package's own, which tests itself when it is constructed."""
    return name in _OWN_ORDER


def load(name: str) -> Backend:
    """Load, construct and thereby self-test one backend.

    Raises:
        BackendUnavailableError: nobody has that name, or why it cannot work here.
    """
    found = _entry_point(name)
    try:
        backend: Backend = found.load()()
        missing = [field for field in _CONTRACT if not hasattr(backend, field)]
    except BackendUnavailableError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in may fail in any way, and must not take us along
        raise BackendUnavailableError(f"{found.value} failed: {type(error).__name__}: {error}") from error
    if missing:
        raise BackendUnavailableError(f"{found.value} is no backend: it has no {', '.join(missing)}")
    if backend.name != name:
        raise BackendUnavailableError(
            f"{found.value} is installed as {name!r} but calls itself {backend.name!r}"
        )
    return backend


def available() -> list[tuple[str, Backend | str]]:
    """Every installed backend: its name, and the backend itself or the reason why it cannot work here."""
    return [(name, _load_or_reason(name)) for name in backend_names()]


def resolve(name: str = AUTO) -> Choice:
    """The backend of that name; for ``auto`` the fastest one that works here.

    Raises:
        BackendUnavailableError: that one, or with ``auto`` each one tried, cannot work here.
    """
    if name != AUTO:
        return Choice(load(name), "asked for by name")
    passed_over: list[str] = []
    for candidate in _PREFERENCE:
        found = _load_or_reason(candidate)
        if not isinstance(found, str):
            return Choice(found, "; ".join(["the fastest backend that works here", *passed_over]))
        passed_over.append(f"{candidate} is not available: {found}")
    raise BackendUnavailableError("; ".join(passed_over))


def _load_or_reason(name: str) -> Backend | str:
    try:
        return load(name)
    except BackendUnavailableError as error:
        return str(error)


def _entry_point(name: str) -> EntryPoint:
    found = entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise BackendUnavailableError(
            f"no backend is called {name!r}; there are {', '.join(backend_names())}"
        )
    if len({point.value for point in found}) > 1:
        claims = " and ".join(sorted(point.value for point in found))
        raise BackendUnavailableError(f"{name!r} is claimed by {claims}; uninstall one of them")
    return next(iter(found))
