"""``dtls-emu status``: what running hosts say of themselves."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dtls_emu.cli.output import JsonOption, complain, is_terminal, print_json, print_table, print_text
from dtls_emu.lab.quantities import format_duration, format_probability, format_rate


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    _Table = tuple[
        str, tuple[str, ...], tuple[str, ...], Callable[[dict[str, Any]], Iterator[tuple[str, ...]]]
    ]
    """Title, columns, those that may be left out, and a host's rows."""


__all__ = ["status"]

EXIT_TROUBLE: Final = 1
WATCH_EVERY: Final = 1.0
"""Seconds."""

NO_HOST: Final = "what answers there is no host of this version"

_CLEAR: Final = "\x1b[H\x1b[2J"


def status(
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Print again every second, until Ctrl-C.")] = False,
    socket: Annotated[
        str, typer.Option("--socket", help="Control socket of one host, wherever it is.", metavar="PATH")
    ] = "",
    run: Annotated[str, typer.Option("--run", help="Only the hosts of this run.", metavar="RUN")] = "",
    flows: Annotated[
        bool, typer.Option("--flows", help="Show the flow tables instead: what each flow is decided to be.")
    ] = False,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print metrics in Prometheus's text format.")
    ] = False,
) -> None:
    """Show every running host: its card, its tunnels, what is dropped and why, what is off and why.

    Exits 1 when a host does not answer or is in trouble, or when none runs.

    A host that was started by hand, with a socket of its own: dtls-emu status --socket lab/host-1.sock
    """
    if prometheus and (as_json or watch or flows):
        raise typer.BadParameter("--prometheus goes neither with --json nor with --watch nor with --flows")
    if flows:
        _show_flows(socket, run, as_json=as_json, watch=watch)
        return
    previous: dict[str, Any] = {}
    while True:
        reports, silent = _reports(socket, run)
        if prometheus:
            _print_metrics(reports, silent)
        elif as_json:
            print_json({"hosts": reports, "silent": silent})
        else:
            if watch and is_terminal():
                sys.stdout.write(_CLEAR)
            _print(reports, previous)
        _name_silent(silent)
        if not watch:
            break
        previous = {_key(report): report for report in reports}
        time.sleep(WATCH_EVERY)
    if not reports and not silent:
        complain(_why_none(run))
    if not socket:
        _name_damaged(run)
    if silent or not reports or any(report["trouble"] for report in reports):
        raise typer.Exit(EXIT_TROUBLE)


def _show_flows(socket: str, run: str, *, as_json: bool, watch: bool) -> None:
    """Print the flow tables of all hosts."""
    from dtls_emu.cli.flow_table import print_entries
    from dtls_emu.teach.flows import FlowEntry

    while True:
        answers, silent = _ask(socket, run, "flows")
        shown: list[tuple[str, list[FlowEntry], int]] = []
        for path, answer in answers.items():
            try:
                entries = [FlowEntry.from_dict(each) for each in answer["flows"]]
                shown.append((_key(answer), entries, int(answer["left_out"])))
            except (KeyError, TypeError, ValueError):
                silent[path] = NO_HOST
        if as_json:
            hosts = [answer for path, answer in answers.items() if path not in silent]
            print_json({"hosts": hosts, "silent": silent})
        else:
            if watch and is_terminal():
                sys.stdout.write(_CLEAR)
            for place, entries, left_out in shown:
                print_entries(place, entries)
                if left_out:
                    print_text(f"{place}: {left_out} more; those above have the newest packets.")
                if not entries:
                    print_text(f"{place}: no flow.")
        _name_silent(silent)
        if not watch:
            break
        time.sleep(WATCH_EVERY)
    if not answers and not silent:
        complain(_why_none(run))
    if silent or not answers:
        raise typer.Exit(EXIT_TROUBLE)


def _name_silent(silent: dict[str, str]) -> None:
    for path, reason in silent.items():
        complain(reason if reason.startswith(path) else f"{path}: {reason}")


def _print_metrics(reports: list[dict[str, Any]], silent: dict[str, str]) -> None:
    """Print the metrics of all hosts; whose report has none is among the silent ones then."""
    from dtls_emu.host.metrics import exposition, metric_families

    readable: list[dict[str, Any]] = []
    for report in reports:
        try:
            metric_families([report])
        except (KeyError, TypeError, ValueError, AttributeError):
            silent[_key(report)] = NO_HOST
        else:
            readable.append(report)
    typer.echo(exposition(metric_families(readable)), nl=False)


def _reports(socket: str, run: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The reports of hosts, and why some do not answer, by socket."""
    answers, silent = _ask(socket, run, "status")
    reports: list[dict[str, Any]] = []
    for path, report in answers.items():
        if isinstance(report, dict) and report.keys() >= _KEYS:
            reports.append(report)
        else:
            silent[path] = NO_HOST
    return reports, silent


def _ask(socket: str, run: str, command: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What hosts answer, and why some do not, by socket."""
    from dtls_emu.host.control.client import ControlError, ask

    answers: dict[str, Any] = {}
    silent: dict[str, str] = {}
    stopped = {} if socket else _stopped(run)
    for path in [Path(socket)] if socket else _sockets(run):
        why_stopped = stopped.pop(str(path), "")
        try:
            answers[str(path)] = ask(path, command)
        except ControlError as error:
            silent[str(path)] = why_stopped or str(error)
    return answers, silent | stopped


def _stopped(run: str) -> dict[str, str]:
    from dtls_emu.deploy.health import stopped_cards

    return stopped_cards(run)


_KEYS: Final = frozenset(("run", "host", "pid", "card", "devices", "fabric", "trouble"))
"""Some of what every report has."""


def _sockets(run: str) -> list[Path]:
    from dtls_emu.errors import RunError
    from dtls_emu.paths import control_sockets, hidden_runs

    try:
        return control_sockets(run or "*")
    except RunError:
        if hidden_runs():  # which is the better reason for finding none
            return []
        raise


def _why_none(run: str) -> str:
    from dtls_emu.paths import hidden_runs

    if hidden_runs():
        return "no host of yours runs; a lab of root is up: use sudo"
    return "no host runs" + (f" in {run}" if run else "")


def _name_damaged(run: str) -> None:
    """Runs whose state cannot be read, and what to do; their hosts answer all the same."""
    from dtls_emu.deploy.queries import readable_states
    from dtls_emu.errors import RunError

    try:
        damaged = readable_states()[1]
    except RunError:  # there is no place for runs of this user
        return
    for name, reason in damaged.items():
        if run in {"", name}:
            complain(reason)


def _print(reports: Sequence[dict[str, Any]], previous: dict[str, Any]) -> None:
    if not reports:
        return
    print_table(
        "Cards",
        (
            "run",
            "host",
            "backend",
            "encryption",
            "path",
            ">encrypted",
            ">in clear",
            ">received",
            ">dropped",
            ">CPU",
            "trouble",
        ),
        [_card_row(report, previous.get(_key(report))) for report in reports],
        spare=("encryption", "backend", "path", "CPU"),
    )
    # Hosts of several runs have the same names.
    several = len({report["run"] for report in reports}) > 1
    for title, columns, spare, rows_of in _BY_HOST:
        rows = [((report["run"], *row) if several else row) for report in reports for row in rows_of(report)]
        if rows:
            print_table(title, ("run", *columns) if several else columns, rows, spare=spare)


def _card_row(report: dict[str, Any], before: dict[str, Any] | None) -> tuple[str, ...]:
    card = report["card"]
    egress, ingress = card["egress"], card["ingress"]
    dropped = sum(int(count) for _, _, _, count in _drop_rows(report))
    return (
        report["run"],
        report["host"],
        card["backend"],
        report["encryption"],
        report["io_path"],
        str(egress["encrypted"]),
        str(egress["clear"]),
        str(ingress["delivered"]),
        str(dropped),
        _cpu(report, before),
        report["trouble"],
    )


def _tunnel_rows(report: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    mtu_of = "inner_encrypted" if report["encryption"] == "on" else "inner_clear"
    for peer, tunnel in report["card"]["tunnels"].items():
        yield (
            report["host"],
            peer,
            tunnel["state"],
            tunnel["cipher"],
            report["card"]["backend"] if report["encryption"] == "on" else "-",
            _fabric_mtu(tunnel["mtu"]),
            str(tunnel["mtu"][mtu_of]),
            _impairments(tunnel["impairments"]) or "as it is",
            tunnel["failure"],
        )


def _impairments(values: dict[str, float]) -> str:
    """What is done to the datagrams of a link, in the units of a lab file."""
    units = {"delay": format_duration, "jitter": format_duration, "rate": format_rate}
    return ", ".join(f"{name} {units.get(name, format_probability)(value)}" for name, value in values.items())


def _fabric_mtu(mtu: dict[str, Any]) -> str:
    """The lab's word, or what the real path carries where that is less."""
    path, link = mtu.get("path"), mtu["fabric"]
    return f"{path} of {link}" if path is not None and path < link else str(link)


def _hint_rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for hint in report.get("hints", ()):
        yield report["host"], hint["about"], hint["what"], hint["remedy"]


def _drop_rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    card = report["card"]
    places = [
        ("card, from VMs", card["egress"]["dropped"]),
        ("card, to VMs", card["ingress"]["dropped"]),
        ("socket", report["fabric"]["dropped"]),
        (
            "socket",
            {
                "buffer full": report["fabric"]["kernel_drops"],
                "malformed": report["fabric"]["rejected"],
                "port closed": report["fabric"]["unread"],
            },
        ),
        *(
            (f"link to {peer}", each["link"]["dropped"])
            for peer, each in card["tunnels"].items()
            if each["link"]
        ),
        *((f"device of {vm}", device["dropped"]) for vm, device in report["devices"].items()),
        *(
            (f"kernel, inside {vm}", _kernel_drops(device, "device"))
            for vm, device in report["devices"].items()
        ),
        ("kernel, of the host", _kernel_drops(report, "interfaces")),
        ("internet", {"no gateway": report["left_for_internet"]}),
    ]
    for where, dropped in places:
        for reason, count in dropped.items():
            if count:
                yield report["host"], where, reason, str(count)


_SOCKET_DROPS: Final = {
    "udp_receive_buffer": "UDP receive buffer full",
    "udp_send_buffer": "UDP send buffer full",
    "udp_nobody_listens": "UDP: nobody listens",
    "tcp_backlog": "TCP backlog full",
    "ip_in": "IP, on the way in",
    "ip_out": "IP, on the way out",
    "ip_no_route": "IP: no route",
}


def _kernel_drops(document: dict[str, Any], what: str) -> dict[str, int]:
    """What the kernel has dropped in one namespace, in words; older hosts do not say."""
    kernel = document.get("kernel", {})
    queues, sockets = kernel.get("queues", {}), kernel.get("sockets", {})
    return {
        f"{what}: queue full": queues.get("queue_out", 0),
        f"{what}: not taken": queues.get("queue_in", 0),
        **{words: sockets.get(reason, 0) for reason, words in _SOCKET_DROPS.items()},
    }


def _off_rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    places = [("card", report["card"]["offloads"]), ("fabric", report["fabric"]["offloads"])]
    places += [(f"device of {vm}", device["offloads"]) for vm, device in report["devices"].items()]
    for where, offloads in places:
        for name, offload in offloads.items():
            if offload["state"] == "off":
                yield report["host"], where, name, offload["reason"]


_BY_HOST: Final[tuple[_Table, ...]] = (
    (
        "Tunnels",
        (
            "host",
            "peer",
            "state",
            "cipher",
            "backend",
            ">fabric MTU",
            ">inner MTU",
            "link",
            "failure",
        ),
        ("cipher", "backend", "fabric MTU", "inner MTU"),
        _tunnel_rows,
    ),
    ("Dropped", ("host", "where", "what", ">packets"), (), _drop_rows),
    ("Off", ("host", "where", "what", "why"), (), _off_rows),
    ("Hints", ("host", "about", "what", "what to do"), (), _hint_rows),
)
"""Tables with rows of each host."""


def _cpu(report: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Share of one core since the last look, or since the start."""
    used, seconds = sum(report["cpu_seconds"].values()), report["uptime_seconds"]
    if before is not None and before["pid"] == report["pid"]:
        used -= sum(before["cpu_seconds"].values())
        seconds -= before["uptime_seconds"]
    return f"{used / seconds:.0%}" if seconds > 0 else "-"


def _key(report: dict[str, Any]) -> str:
    return f"{report['run']}/{report['host']}"
