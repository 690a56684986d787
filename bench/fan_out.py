"""One card with many tunnels on real hosts: iperf3 from its VM to a VM on each of many other hosts, all at once.

The lab has as many other hosts as the largest number; each has a card, a process of its own, and they all share
the machine's cores. So the sum must not be expected to grow: what is looked for is that it does not collapse, and
that no tunnel is left with nothing. Numbers are run in turn, round after round. As root, with iperf3 installed::

    python bench/fan_out.py --tunnels 1,4,16 --rounds 3 --seconds 3
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from dtls_emu.cli.streams import run_command
from dtls_emu.deploy.plan import namespace_name
from dtls_emu.deploy.runs import start_run, stop_run
from dtls_emu.files.results import ResultFile
from dtls_emu.host.control.client import ask
from dtls_emu.lab.loader import parse_lab
from dtls_emu.machine.environment import environment
from dtls_emu.paths import control_socket
from dtls_emu.testing.waiting import await_line


if TYPE_CHECKING:
    from collections.abc import Iterator


RUN = f"fan-out-{os.getpid()}"
MTU = 1400


@dataclass(frozen=True)
class Sample:
    """One run to so many hosts at once.

    Fields:
        gbits: of each tunnel, TCP payload received in Gbit/s.
        retransmits: of all.
        failures: handshakes or tunnels that did not hold, by the hub's card.
    """

    tunnels: int
    round: int
    gbits: tuple[float, ...]
    retransmits: int
    failures: int

    @property
    def total(self) -> float:
        """Gbit/s of all tunnels."""
        return sum(self.gbits)


def main() -> int:
    """Bring the lab up, run every number in turn, take it down, print a table. 1 when a tunnel carried nothing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tunnels", default="1,4,16", help="numbers of tunnels, such as 1,4,16")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each run, whole: iperf3 takes no others")
    parser.add_argument("--json", help="file for everything that was measured")
    parser.add_argument("--force", action="store_true", help="write over a file that is there already")
    options = parser.parse_args()
    file = ResultFile(options.json, force=options.force) if options.json else None
    numbers = sorted({int(each) for each in options.tunnels.split(",")})
    samples = []
    with lab_up(max(numbers), options.backend) as detail:
        for number in range(options.rounds):
            for tunnels in numbers[:: 1 if number % 2 == 0 else -1]:
                samples.append(measure(tunnels, options.seconds, number))
                print(f"round {number}: {tunnels} tunnels, {samples[-1].total:.2f} Gbit/s", file=sys.stderr)
    print(detail)
    print_table(samples, numbers)
    failed = any(min(each.gbits) == 0 or each.failures for each in samples)
    if file is not None:
        result = {
            "environment": environment(),
            "detail": detail,
            "samples": [asdict(each) for each in samples],
        }
        saved = file.save(json.dumps(result, indent=1).encode())
        if saved.trouble:
            print(saved.trouble, file=sys.stderr)
            failed = True
    return int(failed)


def lab_text(spokes: int) -> str:
    """A hub and so many other hosts, a VM on each."""
    hosts = [f"  s{number}: {{underlay: 198.51.100.{number + 10}}}" for number in range(spokes)]
    vms = [
        f"  v{number}: {{host: s{number}, virtual_network: bench, address: {address(number)}, mtu: {MTU}}}"
        for number in range(spokes)
    ]
    return "\n".join(
        (
            "virtual_networks:",
            "  bench: {address_prefixes: [10.98.0.0/24], vni: 98, encryption: {enabled: true}}",
            "hosts:",
            "  hub: {underlay: 198.51.100.1}",
            *hosts,
            "vms:",
            f"  client: {{host: hub, virtual_network: bench, address: 10.98.0.4, mtu: {MTU}}}",
            *vms,
        )
    )


def address(number: int) -> str:
    """Of a spoke's VM."""
    return f"10.98.0.{number + 10}"


@contextmanager
def lab_up(spokes: int, backend: str) -> Iterator[str]:
    """The lab, and an iperf3 server in each of its VMs; what carries packets, in words."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        lab = parse_lab(lab_text(spokes), str(folder / "fan-out.yaml"))
        start_run(lab, RUN, backend=None if backend == "auto" else backend)
        undo.callback(stop_run, RUN)
        for number in range(spokes):
            command = [
                "ip",
                "netns",
                "exec",
                namespace_name(RUN, f"v{number}"),
                "iperf3",
                "-s",
                "--forceflush",
            ]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            undo.callback(server.wait)
            undo.callback(server.kill)
            assert server.stdout is not None
            undo.callback(server.stdout.close)
            await_line(server, server.stdout, "listening")
        status = ask(control_socket(RUN, "hub"), "status")
        yield f"{spokes} hosts around one; {status['card']['backend_detail']}; {status['io_path']}"


def measure(tunnels: int, seconds: int, number: int) -> Sample:
    """One run of iperf3 to each of so many hosts, at the same time."""
    client = namespace_name(RUN, "client")
    runs = [
        subprocess.Popen(
            ["ip", "netns", "exec", client, "iperf3", "-c", address(each), "-t", str(seconds), "-J"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for each in range(tunnels)
    ]
    ends = [json.loads(each.communicate()[0])["end"] for each in runs]
    states = ask(control_socket(RUN, "hub"), "status")["card"]["tunnels"]
    return Sample(
        tunnels,
        number,
        tuple(end["sum_received"]["bits_per_second"] / 1e9 for end in ends),
        sum(end["sum_sent"]["retransmits"] for end in ends),
        sum(
            states[f"s{each}"]["state"] != "up" or bool(states[f"s{each}"]["failure"])
            for each in range(tunnels)
        ),
    )


def print_table(samples: list[Sample], numbers: list[int]) -> None:
    """Medians over rounds; ratios are medians of those within a round."""
    row = "{:>7} {:>13} {:>13} {:>14} {:>14} {:>6}".format
    first = [each for each in samples if each.tunnels == numbers[0]]
    print(row("tunnels", "total Gbit/s", f"/{numbers[0]} tunnel", "least Gbit/s", "most Gbit/s", "retr"))
    for tunnels in numbers:
        own = [each for each in samples if each.tunnels == tunnels]
        ratios = [each.total / other.total for each in own for other in first if each.round == other.round]
        print(
            row(
                tunnels,
                f"{median(each.total for each in own):.2f}",
                f"{median(ratios):.2f}",
                f"{median(min(each.gbits) for each in own):.2f}",
                f"{median(max(each.gbits) for each in own):.2f}",
                f"{median(each.retransmits for each in own):.0f}",
            )
        )


if __name__ == "__main__":
    sys.exit(run_command(lambda: sys.exit(main())))
