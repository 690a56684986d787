"""What the user writes: the lab file, the size catalogue, behaviour profiles and the example labs.

A lab file is YAML, validated by :mod:`dtls_emu.lab.schema` and read by :func:`load_lab`. The floors above see
the compiled :class:`Topology`, which knows neither YAML nor pydantic; so both are imported only on use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.lab.compiling import compile_lab
    from dtls_emu.lab.loader import load_lab, shipped_labs
    from dtls_emu.lab.schema import Lab
    from dtls_emu.lab.topology import Topology


__all__ = ["Lab", "Topology", "compile_lab", "load_lab", "shipped_labs"]

_HOMES = {
    "Lab": "schema",
    "Topology": "topology",
    "compile_lab": "compiling",
    "load_lab": "loader",
    "shipped_labs": "loader",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
