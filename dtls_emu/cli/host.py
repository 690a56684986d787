"""``dtls-emu host``: one host as a process in the foreground, which is what `up` starts and a container runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer


__all__ = ["host"]


def host(
    config: Annotated[str, typer.Option("--config", help="The host's file, host.json.", show_default=False)],
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    """Run one host's card between its VMs' TUN devices and the fabric.

    It ends at SIGTERM or Ctrl-C, or when a client of its control socket says so. Needs root to open devices, and
    gives its capabilities up once they are open.
    """
    # One thread: capabilities belong to threads, and those of a numeric library would keep theirs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")

    from dtls_emu.host.config import load_host_config
    from dtls_emu.host.running_host import RunningHost

    with RunningHost(load_host_config(Path(config))) as running:
        running.give_up_privileges()
        running.run()
