"""The command line: every command registered, every expected error printed as one message."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dtls_emu import __version__
from dtls_emu.cli.attack import attack
from dtls_emu.cli.backends import backends
from dtls_emu.cli.bench import bench
from dtls_emu.cli.broker import broker
from dtls_emu.cli.doctor import doctor
from dtls_emu.cli.down import down
from dtls_emu.cli.exec import EXEC_SETTINGS, exec_command
from dtls_emu.cli.explain import explain
from dtls_emu.cli.export import export
from dtls_emu.cli.host import host
from dtls_emu.cli.restart import restart
from dtls_emu.cli.run import run
from dtls_emu.cli.schema import schema
from dtls_emu.cli.serve import serve
from dtls_emu.cli.set import set_command
from dtls_emu.cli.status import status
from dtls_emu.cli.streams import run_command
from dtls_emu.cli.trace import trace
from dtls_emu.cli.up import up
from dtls_emu.cli.validate import validate


__all__ = ["main"]

app = typer.Typer(
    name="dtls-emu",
    help="Emulate a cloud's virtual-network encryption: real DTLS 1.2 AES-256-GCM tunnels between emulated "
    "SmartNICs. For labs and teaching; do not protect real traffic with it.",
    epilog="Example: dtls-emu run two-vms",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dtls-emu {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command(epilog="Example: dtls-emu attack replay two-vms")(attack)
app.command(epilog="Example: dtls-emu backends --json")(backends)
app.command(epilog="Example: dtls-emu bench --quick")(bench)
app.command(epilog="Example: sudo dtls-emu broker demo")(broker)
app.command(epilog="Example: dtls-emu doctor --json")(doctor)
app.command(epilog="Example: sudo dtls-emu down two-vms")(down)
app.command(
    "exec", epilog="Example: sudo dtls-emu exec vm-a -- ping -c 3 10.0.0.5", context_settings=EXEC_SETTINGS
)(exec_command)
app.add_typer(explain, name="explain")
app.add_typer(export, name="export")
app.command(epilog="Example: sudo dtls-emu host --config host.json")(host)
app.command(epilog="Example: sudo dtls-emu restart host-1")(restart)
app.command(epilog="Example: dtls-emu run two-vms")(run)
app.command(epilog="Example: dtls-emu schema > lab.schema.json")(schema)
app.command(epilog="Example: dtls-emu serve two-vms")(serve)
app.command("set", epilog="Example: sudo dtls-emu set host-1-host-2 loss=1% mtu=1400")(set_command)
app.command(epilog="Example: sudo dtls-emu status --watch")(status)
app.command(epilog="Example: dtls-emu trace two-vms --packet 1")(trace)
app.command(epilog="Example: sudo dtls-emu up two-vms")(up)
app.command(epilog="Example: dtls-emu validate my-lab.yaml")(validate)


def main() -> None:
    """Run the command line; :mod:`dtls_emu.cli.streams` says how it ends."""
    sys.exit(run_command(app))
