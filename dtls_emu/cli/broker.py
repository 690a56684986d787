"""``dtls-emu broker``: hand out the session keys of a run."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Annotated

import typer

from dtls_emu.cli.output import say


__all__ = ["broker"]


def broker(
    run: Annotated[
        str, typer.Argument(help="Name of the run; not needed while there is only one.", show_default=False)
    ] = "",
) -> None:
    """Be the lab's controller: hand one-time keys to the hosts of a run whose lab says `keying: broker`.

    Runs until Ctrl-C, or until the run is down. Without it no tunnel of such a lab comes up.
    """
    from dtls_emu.deploy.queries import only_run
    from dtls_emu.deploy.state import CardProcess, has_state, no_such_run, read_state, run_names
    from dtls_emu.host.control.broker import serve_keys
    from dtls_emu.paths import run_directory

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    name = run or only_run()
    state = read_state(run_directory(name)) if name in run_names() else None
    if state is None:
        raise no_such_run(name)
    sockets = {card.host: card.socket for card in state.of(CardProcess)}
    say(f"{name}: handing out session keys to {', '.join(sockets)}; Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        serve_keys(sockets, until=lambda: not has_state(run_directory(name)))
