"""``dtls-emu host``: one host as a process in the foreground, which is what `up` starts and a container runs."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer


__all__ = ["host"]


def host(
    config: Annotated[str, typer.Option("--config", help="The host's file, host.json.", show_default=False)],
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            help="Serve metrics for Prometheus over HTTP, such as 127.0.0.1:9464. Off by default.",
            metavar="ADDRESS:PORT",
        ),
    ] = "",
) -> None:
    """Run one host's card between its VMs' TUN devices and the fabric.

    It ends at SIGTERM or Ctrl-C, or when a client of its control socket says so. Needs root to open devices, and
    gives its capabilities up once they are open.

    Metrics are served without a password: choose an address that only those reach who may see counters. They need
    prometheus-client: pip install 'dtls-emu[metrics]'.
    """
    # One thread: capabilities belong to threads, and those of a numeric library would keep theirs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")

    from dtls_emu.host.config import load_host_config
    from dtls_emu.host.metrics_server import parse_address, require_client, serve_metrics
    from dtls_emu.host.running_host import RunningHost

    if metrics:  # before minutes may go by
        address, port = parse_address(metrics)
        require_client()
    with RunningHost(load_host_config(Path(config))) as running, ExitStack() as stack:
        running.give_up_privileges()
        if metrics:
            stack.enter_context(serve_metrics(address, port, running.control.path))
        running.run()
