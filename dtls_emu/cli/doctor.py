"""``dtls-emu doctor``: what this machine offers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import typer

from dtls_emu.cli.output import JsonOption, complain, print_json, print_table


__all__ = ["doctor"]

EXIT_NOT_READY: Final = 1


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine offers, and what to do about what is missing.

    Exits 1 when something is missing that nothing works without, else 0.
    """
    from dtls_emu.deploy.health import hints, leftovers
    from dtls_emu.machine.environment import environment
    from dtls_emu.machine.probe import is_ready, probe

    offers = probe(leftovers, hints)
    ready = is_ready(offers)
    if as_json:
        print_json(
            {"ready": ready, "environment": environment(), "offers": [asdict(offer) for offer in offers]}
        )
    else:
        print_table(
            "What this machine offers",
            ("what", "there", "found, or why not", "what to do"),
            ((offer.name, offer.state, offer.reason, offer.remedy) for offer in offers),
        )
    if not ready:
        complain("something is missing that nothing works without; see above")
        raise typer.Exit(EXIT_NOT_READY)
