"""The conformance suite for cipher backends. It is the contract of :mod:`dtls_emu.crypto.backend`, executable.

::

    pytest --dtls-emu-backend my-card --pyargs dtls_emu.testing.conformance

proves the named backend, alone and against every other that works on this machine; without the option, all
that are installed. Needs pytest, and PyPI `cryptography-vectors` for the NIST vectors. Tests are handed what a
backend claims to be (does it protect, does it need the connection, has it functions for compiled code); what it
does not claim is not asked.

Keys come from a real handshake in memory, but for the vectors. Payloads are fixed, so a failure repeats.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from dtls_emu.crypto.native import has_native_ends
from dtls_emu.crypto.registry import available
from dtls_emu.testing.conformance_bench import Pair
from dtls_emu.testing.conformance_native import TestNative
from dtls_emu.testing.conformance_peers import TestForgeries, TestPeers
from dtls_emu.testing.conformance_records import TestContract, TestVectors
from dtls_emu.testing.pytest_plugin import BACKEND_OPTION, NO_BACKEND


if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtls_emu.crypto.backend import Backend


__all__ = ["TestContract", "TestForgeries", "TestNative", "TestPeers", "TestVectors", "pytest_generate_tests"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand each test the backends that it is about, by the name of its argument."""
    chosen: list[str] = metafunc.config.getoption(BACKEND_OPTION, [])
    here = {name: found for name, found in _found() if not isinstance(found, str)}
    for name in chosen:
        if name not in here:
            raise pytest.UsageError(dict(_found()).get(name, f"no backend is called {name!r}"))
    mine = [backend for name, backend in here.items() if not chosen or name in chosen]
    protecting = [backend for backend in mine if backend.protects]
    pairs = [
        Pair(sealing, opening)
        for sealing in here.values()
        for opening in here.values()
        if (sealing in mine or opening in mine) and sealing.protects == opening.protects
    ]
    _parametrize(metafunc, "named", [pair for pair in _found() if not chosen or pair[0] in chosen])
    _parametrize(metafunc, "backend", mine)
    _parametrize(metafunc, "protecting", protecting)
    _parametrize(metafunc, "free", [backend for backend in mine if not backend.needs_connection])
    _parametrize(metafunc, "keyed", [backend for backend in protecting if not backend.needs_connection])
    _parametrize(metafunc, "native", [backend for backend in mine if has_native_ends(backend)])
    _parametrize(metafunc, "pair", pairs)
    _parametrize(metafunc, "protecting_pair", [pair for pair in pairs if pair.opening.protects])
    _parametrize(metafunc, "free_pair", [pair for pair in pairs if not pair.sealing.needs_connection])


@cache
def _found() -> list[tuple[str, Backend | str]]:
    return available()


def _parametrize(metafunc: pytest.Metafunc, argument: str, values: Sequence[object]) -> None:
    if argument not in metafunc.fixturenames:
        return
    values = values or [NO_BACKEND]
    metafunc.parametrize(argument, values, ids=[_label(value) for value in values])


def _label(value: object) -> str:
    if isinstance(value, Pair):
        return f"{value.sealing.name} to {value.opening.name}"
    if isinstance(value, tuple):
        return str(value[0])
    return str(getattr(value, "name", "none"))
