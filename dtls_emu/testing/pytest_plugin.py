"""The pytest plug-in: ``--dtls-emu-backend NAME``, and nothing else.

It is loaded by every pytest run where dtls-emu is installed, so it imports none of its floors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest


if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["BACKEND_OPTION", "NO_BACKEND", "pytest_addoption", "pytest_collection_modifyitems"]

BACKEND_OPTION: Final = "--dtls-emu-backend"

NO_BACKEND: Final = object()
"""The parameter of a test that none of the chosen backends is for: it is deselected, not skipped."""

pytest.register_assert_rewrite(
    "dtls_emu.testing.conformance",
    "dtls_emu.testing.conformance_bench",
    "dtls_emu.testing.conformance_native",
    "dtls_emu.testing.conformance_peers",
    "dtls_emu.testing.conformance_records",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names backends to prove."""
    parser.getgroup("dtls-emu").addoption(
        BACKEND_OPTION,
        action="append",
        default=[],
        metavar="NAME",
        help="cipher backend to prove with `--pyargs dtls_emu.testing.conformance`; may be given several "
        "times; without it, all installed ones",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that are about something the chosen backends do not claim."""
    # By identity: a parameter of somebody's test may be an array, which compares element by element.
    idle = [item for item in items if any(each is NO_BACKEND for each in _parameters(item))]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]


def _parameters(item: pytest.Item) -> Iterable[object]:
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else list(callspec.params.values())
