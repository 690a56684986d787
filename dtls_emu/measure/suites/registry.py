"""Every suite there is, in the order in which a run measures them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.measure.suites.back_to_back import BackToBack
from dtls_emu.measure.suites.fragments import Fragments
from dtls_emu.measure.suites.handshake import Handshake
from dtls_emu.measure.suites.latency import Latency
from dtls_emu.measure.suites.loss import Loss
from dtls_emu.measure.suites.offload import Offload
from dtls_emu.measure.suites.rekey import Rekey
from dtls_emu.measure.suites.scale import Scale
from dtls_emu.measure.suites.throughput import Throughput
from dtls_emu.measure.suites.zero_loss import ZeroLoss


if TYPE_CHECKING:
    from dtls_emu.measure.suites.suite import Suite


__all__ = ["SUITES", "chosen_suites", "suite_named"]

SUITES: Final[dict[str, Suite[Any]]] = {
    suite.name: suite
    for suite in (
        Throughput(),
        Latency(),
        Fragments(),
        Handshake(),
        Rekey(),
        Scale(),
        Offload(),
        ZeroLoss(),
        Loss(),
        BackToBack(),
    )
}
"""By name. A suite's section is one of :data:`dtls_emu.measure.result.AnySection`, too."""


def suite_named(name: str) -> Suite[Any]:
    """A suite.

    Raises:
        DtlsEmuError: there is none of that name.
    """
    try:
        return SUITES[name]
    except KeyError:
        raise DtlsEmuError(f"no suite is called {name!r}; there are {', '.join(SUITES)}") from None


def chosen_suites(names: tuple[str, ...]) -> list[Suite[Any]]:
    """Those named, in the order of a run; without names the usual ones.

    Raises:
        DtlsEmuError: one is not there.
    """
    for name in names:
        suite_named(name)
    return [suite for suite in SUITES.values() if (suite.name in names if names else suite.is_usual)]
