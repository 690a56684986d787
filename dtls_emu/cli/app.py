"""The command line: every command registered, every expected error printed as one message."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dtls_emu import __version__
from dtls_emu.cli.attack import attack
from dtls_emu.cli.audit import audit
from dtls_emu.cli.backends import backends
from dtls_emu.cli.bench import bench
from dtls_emu.cli.bench_report import report
from dtls_emu.cli.bench_results import compare, replay
from dtls_emu.cli.broker import broker
from dtls_emu.cli.capture import capture
from dtls_emu.cli.doctor import doctor
from dtls_emu.cli.down import down
from dtls_emu.cli.exec import EXEC_SETTINGS, exec_command
from dtls_emu.cli.explain import explain
from dtls_emu.cli.export import export
from dtls_emu.cli.flow_table import flows
from dtls_emu.cli.host import host
from dtls_emu.cli.lesson import lesson
from dtls_emu.cli.mirror import mirror
from dtls_emu.cli.monitor import monitor
from dtls_emu.cli.resources import resources
from dtls_emu.cli.restart import restart
from dtls_emu.cli.routes import routes
from dtls_emu.cli.run import run
from dtls_emu.cli.schema import schema
from dtls_emu.cli.serve import serve
from dtls_emu.cli.set import set_command
from dtls_emu.cli.status import status
from dtls_emu.cli.streams import run_command
from dtls_emu.cli.trace import trace
from dtls_emu.cli.up import up
from dtls_emu.cli.validate import validate
from dtls_emu.cli.whatif import whatif


if TYPE_CHECKING:
    from collections.abc import Callable


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


def _add(name: str, command: Callable[..., Any], example: str, **settings: Any) -> None:
    app.command(name, epilog=f"Example: dtls-emu {example}", **settings)(command)


def _reflow(commands: typer.Typer) -> None:
    """Have the help of commands broken where the terminal needs it, not where the lines of their docstrings end."""
    for command in commands.registered_commands:
        paragraphs = (getattr(command.callback, "__doc__", None) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _reflow(group.typer_instance)


_add("attack", attack, "attack replay two-vms")
_add("audit", audit, "audit flow-logs --fail-on clear --html audit.html")
_add("backends", backends, "backends --json")
bench.command("compare", epilog="Example: dtls-emu bench compare before.json after.json --fail-under 0.95")(
    compare
)
bench.command("replay", epilog="Example: dtls-emu bench replay results/bench-20261120T133427Z.json")(replay)
bench.command("report", epilog="Example: dtls-emu bench report monday.json tuesday.json --out both")(report)
app.add_typer(bench, name="bench", epilog="Example: dtls-emu bench --quick")
_add("broker", broker, "up broker; dtls-emu broker broker")
_add("capture", capture, "capture two-vms -o two-vms.pcapng")
_add("doctor", doctor, "doctor --json")
_add("down", down, "down two-vms")
_add("exec", exec_command, "exec vm-a -- ping -c 3 10.0.0.5", context_settings=EXEC_SETTINGS)
app.add_typer(explain, name="explain", epilog="Example: dtls-emu explain mtu")
app.add_typer(export, name="export", epilog="Example: dtls-emu export compose two-vms")
_add("flows", flows, "flows mixed-sizes")
_add("host", host, "host --config host.json")
app.add_typer(lesson, name="lesson", epilog="Example: dtls-emu lesson start 1")
_add("mirror", mirror, "mirror mixed-sizes --from plain-a --to plain-b -o tap.pcapng")
_add("monitor", monitor, "monitor two-vms --pair vm-a:vm-b --at '3s restart host-2' --svg probes.svg")
_add("resources", resources, "resources mixed-sizes --json")
_add("restart", restart, "restart host-1")
_add("routes", routes, "routes routes --vm a-front")
_add("run", run, "run two-vms")
_add("schema", schema, "schema > lab.schema.json")
_add("serve", serve, "serve two-vms")
_add("set", set_command, "set host-1-host-2 loss=1% mtu=1400")
_add("status", status, "status --watch")
_add("trace", trace, "trace two-vms --packet 1")
_add("up", up, "up two-vms")
_add("validate", validate, "validate my-lab.yaml")
_add("whatif", whatif, "whatif main.json main.parameters.json --enforcement DropUnencrypted")
_reflow(app)


def main() -> None:
    """Run the command line; :mod:`dtls_emu.cli.streams` says how it ends."""
    sys.exit(run_command(app))
