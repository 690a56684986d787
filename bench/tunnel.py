"""iperf3 and ping between two VMs through two cards, beside the same without encryption and a bare relay.

Everything is on one machine: two cards, both ends of iperf3 and the kernel share its cores, so arms are run in
turn, round after round, and compared within a round. As root, with iperf3 and ping installed::

    python bench/tunnel.py --rounds 5 --seconds 4

CPU seconds a gigabyte are those of the data path (both cards, or the relay) and of both ends of iperf3. They
are the figure to trust on a machine that does other things as well: Gbit/s then say how much of it was left.
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
from dtls_emu.files.results import ResultFile
from dtls_emu.host.control.client import ask
from dtls_emu.machine.environment import environment
from dtls_emu.paths import control_socket
from dtls_emu.testing.waiting import await_line


if TYPE_CHECKING:
    from collections.abc import Iterator


MTU = 1400
LAB = f"""\
description: Two VMs on two hosts, for the benchmark of real hosts.
virtual_networks:
  bench: {{address_prefixes: [10.98.0.0/24], vni: 98, encryption: {{enabled: true}}}}
hosts:
  h1: {{underlay: 198.51.100.1}}
  h2: {{underlay: 198.51.100.2}}
vms:
  client: {{host: h1, virtual_network: bench, address: 10.98.0.4, mtu: {MTU}}}
  server: {{host: h2, virtual_network: bench, address: 10.98.0.5, mtu: {MTU}}}
"""
CLIENT, SERVER = "10.98.0.4", "10.98.0.5"
PINGS = 300
INTERPRETED = "-interpreted"
TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = str(Path(sys.executable).with_name("dtls-emu"))


@dataclass(frozen=True)
class Arm:
    """One way between two namespaces.

    Fields:
        name: in the table.
        client, server: namespaces of the two ends.
        processes: of the data path.
        detail: what it is, for the result.
    """

    name: str
    client: str
    server: str
    processes: tuple[int, ...]
    detail: str


@dataclass(frozen=True)
class Sample:
    """One run of iperf3, or of ping.

    Fields:
        gbits: Gbit/s of TCP payload received.
        retransmits: of all flows.
        path_cpu, ends_cpu: CPU seconds a gigabyte.
        ping_us: median round trip, of a ping run.
    """

    arm: str
    flows: int
    round: int
    gbits: float = 0.0
    retransmits: int = 0
    path_cpu: float = 0.0
    ends_cpu: float = 0.0
    ping_us: float = 0.0


def main() -> None:
    """Bring every arm up, run them in turn, take them down, print a table."""
    options = parse_options()
    file = ResultFile(options.json, force=options.force) if options.json else None
    samples: list[Sample] = []
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        arms = [undo.enter_context(arm_up(name, folder)) for name in options.arms.split(",")]
        for number in range(options.rounds):
            for flows in map(int, options.flows.split(",")):
                # Every other round goes backwards, so that no arm is always behind the same one.
                for arm in arms[:: 1 if number % 2 == 0 else -1]:
                    samples.append(measure(arm, flows, options.seconds, number))
                    print(samples[-1], file=sys.stderr)
            samples += [ping(arm, number) for arm in arms]
        details = {arm.name: arm.detail for arm in arms}
    print_table(samples, list(details))
    if file is not None:
        result = {
            "environment": environment(),
            "arms": details,
            "samples": [asdict(each) for each in samples],
        }
        saved = file.save(json.dumps(result, indent=1).encode())
        if saved.trouble:
            sys.exit(saved.trouble)


def parse_options() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arms", default="relay,ipsec-mb,cryptography,off")
    parser.add_argument("--flows", default="1", help="numbers of parallel TCP flows, such as 1,8,64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each run, whole: iperf3 takes no others")
    parser.add_argument("--json", help="file for everything that was measured")
    parser.add_argument("--force", action="store_true", help="write over a file that is there already")
    return parser.parse_args()


@contextmanager
def arm_up(name: str, folder: Path) -> Iterator[Arm]:
    """One arm: ``relay``, ``off`` for cards without encryption, or the name of a cipher backend.

    With ``-interpreted`` behind it, no compiled code carries packets.
    """
    with relay_up() if name == "relay" else cards_up(name, folder) as arm:
        yield arm


@contextmanager
def relay_up() -> Iterator[Arm]:
    """Two namespaces and the relay between them."""
    client, server = names = [f"bench-relay-{os.getpid()}-{end}" for end in ("client", "server")]
    with ExitStack() as undo:
        for each in names:
            run("ip", "netns", "add", each)
            undo.callback(run, "ip", "netns", "del", each)
        script = Path(__file__).with_name("relay.py")
        command = [sys.executable, str(script), names[0], "tun0", names[1], "tun0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        undo.callback(process.wait)
        undo.callback(process.kill)
        await_line(process, process.stdout, "ready")
        for each, address in zip(names, (CLIENT, SERVER), strict=True):
            run("ip", "-n", each, "addr", "add", f"{address}/24", "dev", "tun0")
            run("ip", "-n", each, "link", "set", "tun0", "mtu", str(MTU), "up")
        yield Arm("relay", client, server, (process.pid,), "TUN to TUN in Python, nothing in between")


@contextmanager
def cards_up(name: str, folder: Path) -> Iterator[Arm]:
    """Two cards, brought up as a user does."""
    lab = folder / "bench.yaml"
    lab.write_text(LAB)
    run_name = f"bench-{name}-{os.getpid()}"
    plain = name.removesuffix(INTERPRETED)
    how = ["--encryption", "off"] if plain == "off" else ["--backend", plain]
    how += ["--fast-path", "off"] if plain != name else []
    run(COMMAND, "up", str(lab), "--name", run_name, *how)
    try:
        status = [ask(control_socket(run_name, host), "status") for host in ("h1", "h2")]
        yield Arm(
            name,
            namespace_name(run_name, "client"),
            namespace_name(run_name, "server"),
            tuple(each["pid"] for each in status),
            f"{status[0]['card']['backend_detail']}; {status[0]['io_path']}; encryption {status[0]['encryption']}",
        )
    finally:
        run(COMMAND, "down", run_name)


def measure(arm: Arm, flows: int, seconds: int, number: int) -> Sample:
    """One run of iperf3, client to server."""
    server = subprocess.Popen(
        inside(arm.server, "iperf3", "-s", "-1", "--forceflush"), stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    await_line(server, server.stdout, "listening")
    before = cpu_seconds(arm.processes)
    command = inside(arm.client, "iperf3", "-c", SERVER, "-t", str(seconds), "-P", str(flows), "-J")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = cpu_seconds(arm.processes) - before
    server.stdout.close()
    server.wait()
    end = json.loads(done.stdout)["end"]
    gigabytes = end["sum_received"]["bytes"] / 1e9
    busy = end["cpu_utilization_percent"]
    ends = (busy["host_total"] + busy["remote_total"]) / 100 * end["sum_received"]["seconds"]
    return Sample(
        arm.name,
        flows,
        number,
        gbits=end["sum_received"]["bits_per_second"] / 1e9,
        retransmits=end["sum_sent"]["retransmits"],
        path_cpu=used / gigabytes,
        ends_cpu=ends / gigabytes,
    )


def ping(arm: Arm, number: int) -> Sample:
    """The median round trip of pings, one after the other."""
    command = inside(arm.client, "ping", "-c", str(PINGS), "-i", "0.002", SERVER)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times = [float(line.split("time=")[1].split()[0]) for line in done.stdout.splitlines() if "time=" in line]
    return Sample(arm.name, 0, number, ping_us=median(times) * 1000)


def cpu_seconds(processes: tuple[int, ...]) -> float:
    """User and system time that processes have used."""
    fields = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes)
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS


def print_table(samples: list[Sample], arms: list[str]) -> None:
    """Medians over rounds; ratios are medians of those within a round."""
    columns = ("flows", "arm", "Gbit/s", "/relay", "/off", "retr", "path s/GB", "ends s/GB", "bound Gbit/s")
    row = "{:>5} {:14} {:>7} {:>7} {:>6} {:>6} {:>10} {:>10} {:>13}".format
    print(row(*columns))
    cores = len(os.sched_getaffinity(0))
    for flows in sorted({each.flows for each in samples if each.flows}):
        for arm in arms:
            own = pick(samples, arm, flows)
            path, ends = (median(getattr(each, key) for each in own) for key in ("path_cpu", "ends_cpu"))
            print(
                row(
                    flows,
                    arm,
                    f"{median(each.gbits for each in own):.2f}",
                    ratio(own, pick(samples, "relay", flows)),
                    ratio(own, pick(samples, "off", flows)),
                    f"{median(each.retransmits for each in own):.0f}",
                    f"{path:.3f}",
                    f"{ends:.3f}",
                    # What all cores together could do if they did nothing else.
                    f"{8 * cores / (path + ends):.2f}",
                )
            )
    for arm in arms:
        pings = [each.ping_us for each in pick(samples, arm, 0)]
        rounds = ", ".join(f"{each:.0f}" for each in pings)
        print(f"ping p50 {arm:14} {median(pings):8.0f} us (rounds: {rounds})")


def pick(samples: list[Sample], arm: str, flows: int) -> list[Sample]:
    """The samples of an arm."""
    return [each for each in samples if (each.arm, each.flows) == (arm, flows)]


def ratio(own: list[Sample], other: list[Sample]) -> str:
    """Median of the ratios of Gbit/s within a round."""
    if not other:
        return "-"
    return f"{median(a.gbits / b.gbits for a, b in zip(own, other, strict=True)):.2f}"


def inside(namespace: str, *command: str) -> list[str]:
    """A command in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def run(*command: str) -> None:
    """A command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(run_command(main))
