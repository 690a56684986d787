"""A host's metrics over HTTP, for Prometheus to fetch: ``dtls-emu host --metrics ADDRESS:PORT``.

The answers come from threads beside the host's loop. They ask it as every client does, over its control socket, so it
answers between two of its turns; and once a second at most, however often they are asked themselves.

There is neither a password nor TLS: the address is to be one that only those reach who may see the counters.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from dtls_emu.errors import DtlsEmuError
from dtls_emu.host.control.client import ControlError, ask
from dtls_emu.host.metrics import metric_families


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from prometheus_client.core import Metric

    from dtls_emu.host.metrics import Family


__all__ = ["MetricsUnavailableError", "parse_address", "require_client", "serve_metrics"]

LEAST_AGE: Final = 1.0
"""Seconds that an answer of the loop is good for."""

SWITCH_EVERY: Final = 0.0005
"""Seconds after which a thread that writes metrics lets the loop go on, if it wants to: a tenth of Python's own, so that
a first packet or a handshake does not wait for a scrape. Known flows are carried without the lock that this is about."""

MAX_PORT: Final = 65_535


class MetricsUnavailableError(DtlsEmuError):
    """Metrics cannot be served. Says why, and what to do."""


def parse_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:9464`` or ``[::1]:9464`` as address and port.

    Raises:
        MetricsUnavailableError: it is neither.
    """
    address, _, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    try:
        number, found = int(port) if port.isascii() and port.isdecimal() else 0, str(ip_address(address))
    except ValueError:
        number, found = 0, ""
    if not 0 < number <= MAX_PORT:
        raise MetricsUnavailableError(
            f"--metrics: `{text}` is no address with a port; write one such as 127.0.0.1:9464 or [::1]:9464"
        )
    return found, number


def require_client() -> None:
    """See that the library is there.

    Raises:
        MetricsUnavailableError: it is not installed; says which extra has it.
    """
    try:
        import prometheus_client  # noqa: F401, PLC0415 (an extra)
    except ImportError:
        raise MetricsUnavailableError(
            "--metrics needs prometheus-client: pip install 'dtls-emu[metrics]' (`status --prometheus` does without)"
        ) from None


@contextmanager
def serve_metrics(address: str, port: int, socket: Path) -> Iterator[None]:
    """Serve a host's metrics during the body. Starts threads, so capabilities are given up before.

    Args:
        address, port: where.
        socket: the host's control socket.

    Raises:
        MetricsUnavailableError: the library is not installed, or the address cannot be had.
    """
    require_client()
    from prometheus_client import CollectorRegistry, start_http_server  # noqa: PLC0415 (an extra)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(socket))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        reason = error.strerror or error
        raise MetricsUnavailableError(f"--metrics: {address} port {port}: {reason}") from error
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_EVERY)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        server.shutdown()
        server.server_close()
        thread.join()


class _Collector:
    """What the library asks for metrics, from any thread."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._lock = threading.Lock()
        self._families: list[Family] = []
        self._asked_at = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering is no reason to ask."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The host's families; none while it does not answer."""
        for family in self._current():
            yield _as_metric(family)

    def _current(self) -> list[Family]:
        with self._lock:
            if time.monotonic() - self._asked_at >= LEAST_AGE:
                try:
                    self._families = metric_families([ask(self._socket, "status")])
                except ControlError:
                    self._families = []
                self._asked_at = time.monotonic()
            return self._families


def _as_metric(family: Family) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 (an extra)

    names = [name for name, _ in family.samples[0][0]]
    kinds: dict[str, Any] = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}
    metric: Metric = kinds[family.kind](family.name, family.help, labels=names)
    for labels, value in family.samples:
        metric.add_metric([text for _, text in labels], value)  # type: ignore[attr-defined]
    return metric
