"""dtls-emu itself: a lab of two hosts with a VM each, brought up by its own commands as a user does it."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dtls_emu import __version__
from side_by_side.errors import PeerError
from side_by_side.peer import INSIDE_MTU, Tunnel
from side_by_side.processes import run
from side_by_side.underlay import PINGS, unsealed, watch_pings


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["DtlsEmu", "fallback"]

LAB: Final = """\
virtual_networks:
  inside:
    address_prefixes: [10.11.0.0/24]
    vni: 9001
    encryption: {{enabled: true, enforcement: DropUnencrypted}}
hosts:
  host-1: {{underlay: 198.18.0.1}}
  host-2: {{underlay: 198.18.0.2}}
vms:
  client: {{host: host-1, virtual_network: inside, address: 10.11.0.4, mtu: {mtu}}}
  server: {{host: host-2, virtual_network: inside, address: 10.11.0.5, mtu: {mtu}}}
link_defaults: {{mtu: 1500, delay: 0}}
"""
INSIDE: Final = ("10.11.0.4", "10.11.0.5")
LINK: Final = "to-host-2"
"""The interface of host-1 on the fabric."""

UP_TIMEOUT_S: Final = 300.0
"""The very first run compiles."""

COMMAND: Final = str(Path(sys.executable).with_name("dtls-emu"))


class Inside:
    """The network namespace of a VM or a host of a run."""

    def __init__(self, run_name: str, place: str) -> None:
        self._run_name, self._place = run_name, place

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs ``argv`` there; ``exec`` replaces itself by it."""
        return [COMMAND, "exec", "--run", self._run_name, self._place, "--", *argv]


class DtlsEmu:
    """The same lab with one cipher backend, or with encryption off."""

    packages: Final = ()

    def __init__(self, backend: str, *, encrypted: bool = True) -> None:
        """``backend``: by name; the cards have one also where they encrypt nothing."""
        self.name = f"dtls-emu-{backend}" if encrypted else "dtls-emu-off"
        self._backend, self._encrypted = backend, encrypted

    def version(self) -> str:
        """Of the package."""
        return f"dtls-emu {__version__}"

    @contextmanager
    def up(self, work: Path) -> Iterator[Tunnel]:
        """See :class:`side_by_side.peer.Peer`."""
        # With our id the name is nobody else's, and taking it down is always right, whatever became of `up`.
        lab, name = work / "lab.yaml", f"{self.name}-{os.getpid()}"
        lab.write_text(LAB.format(mtu=INSIDE_MTU))
        encryption = "on" if self._encrypted else "off"
        options = ["--name", name, "--backend", self._backend, "--encryption", encryption]
        try:
            run([COMMAND, "up", str(lab), *options], timeout=UP_TIMEOUT_S)
            client, server, host = (Inside(name, place) for place in ("client", "server", "host-1"))
            reports = _reports(name)

            def flaw() -> str:
                if reason := fallback(_reports(name), self._backend):
                    return reason
                sight = watch_pings(client, INSIDE[1], work / "sniffer.log", (host, LINK))
                if self._encrypted:
                    return unsealed(sight)
                return "" if sight.clear == 2 * PINGS else f"only {sight.clear} packets were seen in clear"

            cipher = f"AES-256-GCM by {self._backend}" if self._encrypted else "none (no protection)"
            processes = tuple(report["pid"] for report in reports)
            yield Tunnel(client, server, *INSIDE, f"{cipher}; {reports[0]['io_path']}", flaw, processes)
        finally:
            run([COMMAND, "down", name])


def fallback(reports: Sequence[dict[str, Any]], backend: str) -> str:
    """Why cards do not do what they were asked for; empty when they do.

    Args:
        reports: of every host, as ``dtls-emu status --json`` prints them.
        backend: that was asked for.
    """
    for report in reports:
        card = report["card"]
        if card["backend"] != backend:
            return f"{report['host']} uses {card['backend']}: {card['backend_reason']}"
        if report["trouble"]:
            return f"{report['host']}: {report['trouble']}"
    return ""


def _reports(name: str) -> list[dict[str, Any]]:
    """What the hosts of a run say of themselves. A host in trouble says so in its report."""
    answer = run([COMMAND, "status", "--json", "--run", name], check=False)
    try:
        reports: list[dict[str, Any]] = json.loads(answer.stdout)["hosts"]
    except (ValueError, KeyError) as error:
        raise PeerError(f"dtls-emu status: {answer.stderr.strip() or answer.stdout.strip()}") from error
    if len(reports) != len(INSIDE):
        raise PeerError(f"{len(reports)} of {len(INSIDE)} cards answer: {answer.stderr.strip()}")
    return reports
