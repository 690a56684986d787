"""dtls_emu: virtual-network encryption of a cloud, emulated in software.

Emulated hosts, each with a SmartNIC ("card"), build real DTLS 1.2 AES-256-GCM tunnels between
each other and carry their VMs' packets through them. Start with::

    from dtls_emu import load_lab, simulate

    outcome = simulate(load_lab("two-vms"))

Everything in ``__all__`` is the public interface. A name is imported from its module on first use (PEP 562), so
``import dtls_emu`` costs nothing and ``dtls-emu --help`` loads neither NumPy nor Numba.

The floors, top to bottom; an import goes down this list, never up:
``cli``; ``teach``, ``measure``, ``whatif`` and ``audit``; ``testing``; ``deploy``; ``host``; ``simulation``;
``machine``; ``assembly``; ``fabric``; ``capture`` and ``flow_logs``; ``nic``; ``tunnel``; ``crypto``; ``wire``;
``policy``; ``lab``. Below them is the ground, which every floor may use: ``errors``, ``events``, ``files``,
``overhead``, ``paths``, ``progress``, ``vocabulary``.

An emulator for labs and teaching. Do not protect real traffic with it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from dtls_emu.assembly import build_cards
    from dtls_emu.errors import (
        BackendUnavailableError,
        DtlsEmuError,
        LabFileError,
        LocalProtocolError,
        RemoteProtocolError,
        RunError,
    )
    from dtls_emu.lab import Lab, Topology, compile_lab, load_lab, shipped_labs
    from dtls_emu.measure.benchmark import benchmark
    from dtls_emu.measure.plan import Plan, full_plan, quick_plan
    from dtls_emu.measure.result import Result
    from dtls_emu.simulation import Outcome, simulate
    from dtls_emu.teach.playground import Playground

    __version__: str


__all__ = [
    "BackendUnavailableError",
    "DtlsEmuError",
    "Lab",
    "LabFileError",
    "LocalProtocolError",
    "Outcome",
    "Plan",
    "Playground",
    "RemoteProtocolError",
    "Result",
    "RunError",
    "Topology",
    "__version__",
    "benchmark",
    "build_cards",
    "compile_lab",
    "full_plan",
    "load_lab",
    "quick_plan",
    "shipped_labs",
    "simulate",
]

_HOMES = {
    "BackendUnavailableError": "errors",
    "DtlsEmuError": "errors",
    "Lab": "lab",
    "LabFileError": "errors",
    "LocalProtocolError": "errors",
    "Outcome": "simulation",
    "Plan": "measure.plan",
    "Playground": "teach.playground",
    "RemoteProtocolError": "errors",
    "Result": "measure.result",
    "RunError": "errors",
    "Topology": "lab",
    "benchmark": "measure.benchmark",
    "build_cards": "assembly",
    "compile_lab": "lab",
    "full_plan": "measure.plan",
    "load_lab": "lab",
    "quick_plan": "measure.plan",
    "shipped_labs": "lab",
    "simulate": "simulation",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use, and keep it."""
    value: object
    if name == "__version__":
        value = import_module("importlib.metadata").version("dtls-emu")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names too, before they are used: for completion in a notebook."""
    return sorted({*globals(), *__all__})
