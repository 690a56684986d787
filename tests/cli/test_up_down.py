"""A lab on real namespaces, from `up` to `down`, as a user has it: real programs, real cards, real cables."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dtls_emu.cli.app import main
from dtls_emu.deploy.state import RUNS, CardProcess, read_state
from dtls_emu.host.control.client import ControlError, ask, is_served
from dtls_emu.host.control.server import ControlServer
from dtls_emu.machine.netns import NETNS_FOLDER, entered
from dtls_emu.machine.processes import ProcessId, is_alive
from dtls_emu.testing.present import present
from dtls_emu.testing.waiting import await_line, eventually, killed_after


pytestmark = pytest.mark.root

COMMAND = [sys.executable, "-m", "dtls_emu"]
PATIENCE = 300
"""Seconds that nothing here takes unless it hangs: the very first card compiles its kernels."""

# A TCP transfer of a recognizable payload between two VMs, by programs that are surely there.
PAYLOAD = b"the quick brown fox jumps over the lazy dog. "
REPEATED = 20_000
SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("listening", flush=True)
connection, _ = server.accept()
size = 0
while part := connection.recv(1 << 16):
    size += len(part)
connection.sendall(str(size).encode())
connection.close()
"""
CLIENT = f"""
import socket, sys
connection = socket.create_connection((sys.argv[1], 7000), timeout=30)
connection.sendall({PAYLOAD!r} * {REPEATED})
connection.shutdown(socket.SHUT_WR)
print(connection.recv(64).decode())
"""
# Without `http.server`'s own, which asks a name server for its name.
WEB_SERVER = """
import http.server, socketserver, sys
with socketserver.TCPServer((sys.argv[1], 8000), http.server.SimpleHTTPRequestHandler) as server:
    print("listening", flush=True)
    server.handle_request()
"""


def cli(*arguments, check=True, **options):
    """Run a command; its output is text."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False, **options
    )
    assert not check or done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def left_of(run):
    """Namespaces, processes and the folder of a run that are there."""
    folder = [RUNS / run] if (RUNS / run).exists() else []
    sign = f"{RUNS}/{run}/".encode()
    processes = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and sign in path.read_bytes()
    ]
    return [path.name for path in NETNS_FOLDER.glob(f"{run}-*")], processes, folder


NOTHING: tuple[list[str], list[str], list[Path]] = ([], [], [])


@pytest.fixture
def name():
    """Of a run that nobody else on this machine has; whatever is left of it is taken away."""
    run = f"t{os.getpid()}"
    yield run
    cli("down", run, check=False)
    assert left_of(run) == NOTHING


@pytest.fixture(scope="module")
def lab():
    """Two VMs that are up, for all tests that only use them."""
    run = f"u{os.getpid()}"
    cli("up", "two-vms", "--name", run)
    yield run
    cli("down", run)
    assert left_of(run) == NOTHING


def inside(run, vm, *command, **options):
    return cli("exec", "--run", run, vm, "--", *command, **options)


def state_of(run):
    state = read_state(RUNS / run)
    assert state is not None
    return state


def status(run, host):
    return ask(RUNS / run / f"{host}.sock", "status")


def transfer(run, *, address="10.0.0.5", source="vm-a", destination="vm-b"):
    """Send bytes by TCP from one VM to another; how many came."""
    server = subprocess.Popen(
        [*COMMAND, "exec", "--run", run, destination, "--", sys.executable, "-c", SERVER, address],
        stdout=subprocess.PIPE,
    )
    with server:
        try:
            await_line(server, server.stdout, b"listening\n")
            return int(inside(run, source, sys.executable, "-c", CLIENT, address).stdout)
        finally:
            server.kill()


# ------------------------------------------------------------------------------------- what works inside


@pytest.mark.parametrize("address", ["10.0.0.5", "fd00:10::5"])
def test_vms_reach_each_other_by_ping(lab, address):
    """Over both IP versions."""
    assert inside(lab, "vm-a", "ping", "-c", "3", "-i", "0.1", address).returncode == 0


@pytest.mark.parametrize("address", ["10.0.0.5", "fd00:10::5"])
def test_vms_reach_each_other_by_tcp_to_the_last_byte(lab, address):
    """Super-packets of a real TCP, cut and joined on the way."""
    assert transfer(lab, address=address) == len(PAYLOAD) * REPEATED


@pytest.mark.parametrize("program", ["iperf3", "curl"])
def test_well_known_programs_work_between_vms(lab, program, tmp_path):
    """As they are installed on this machine; the other end runs in the other VM."""
    serve = {
        "iperf3": ["iperf3", "--server", "--one-off", "--forceflush"],
        "curl": [sys.executable, "-c", WEB_SERVER, "10.0.0.5"],
    }[program]
    use = {
        "iperf3": ["iperf3", "--client", "10.0.0.5", "--bytes", "2M", "--json"],
        "curl": ["curl", "--silent", "--fail", "http://10.0.0.5:8000/page.txt"],
    }[program]
    (tmp_path / "page.txt").write_text("a page\n")
    command = [*COMMAND, "exec", "--run", lab, "vm-b", "--", *serve]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, text=True) as server:
        try:
            await_line(server, server.stdout, "istening")
            done = inside(lab, "vm-a", *use)
        finally:
            server.kill()
    if program == "curl":
        assert done.stdout == "a page\n"
    else:
        sums = json.loads(done.stdout)["end"]
        assert sums["sum_sent"]["bytes"] >= 2 * 10**6
        assert sums["sum_received"]["bytes"] > 0  # it stops counting when the sender is done


def test_a_large_packet_that_may_not_be_cut_is_answered(lab):
    """ICMP says what fits: the fabric's 1650 less every header, and less than the VM's own 1500 it is not."""
    assert inside(lab, "vm-a", "ping", "-c", "1", "-M", "do", "-s", "1472", "10.0.0.5").returncode == 0
    done = inside(lab, "vm-a", "ping", "-c", "1", "-M", "do", "-s", "1473", "10.0.0.5", check=False)
    assert done.returncode != 0
    assert "mtu=1500" in done.stdout + done.stderr or "mtu 1500" in done.stdout + done.stderr


def test_the_exit_code_is_that_of_the_program(lab):
    """Those of a shell where there is no such program, or none that can be run."""
    assert inside(lab, "vm-a", "sh", "-c", "exit 7", check=False).returncode == 7
    assert inside(lab, "vm-a", "no-such-program", check=False).returncode == 127
    assert inside(lab, "vm-a", "/etc/hostname", check=False).returncode == 126


def test_a_program_that_is_killed_looks_killed(lab):
    """Nobody stands between it and its parent."""
    assert inside(lab, "vm-a", "sh", "-c", "kill -9 $$", check=False).returncode == -signal.SIGKILL


def test_input_and_output_are_those_of_the_program(lab):
    """Byte for byte."""
    assert inside(lab, "vm-a", "cat", input="a\nb").stdout == "a\nb"


def test_a_terminal_is_the_terminal_of_the_program(lab):
    """It sees one where there is one."""
    command = [*COMMAND, "exec", "--run", lab, "vm-a", "--", "sh", "-c", "test -t 0 && tty"]
    controller, terminal = pty.openpty()
    try:
        shown = subprocess.check_output(command, stdin=terminal, text=True)
        assert shown.strip() == os.ttyname(terminal)
    finally:
        os.close(controller)
        os.close(terminal)


def test_names_are_looked_up_as_on_this_machine(lab):
    """Only the network is the VM's; no other file is put over /etc/resolv.conf."""
    script = "stat -c %i /etc/resolv.conf; readlink /proc/self/ns/mnt"
    outside = subprocess.check_output(["sh", "-c", script], text=True)
    assert inside(lab, "vm-a", "sh", "-c", script).stdout == outside


def test_a_host_can_be_looked_into_as_well(lab):
    """It has the fabric, and the VM has not."""
    seen = json.loads(inside(lab, "host-1", "ip", "-json", "address").stdout)
    assert [link["ifname"] for link in seen] == ["lo", "to-host-2"]
    seen = json.loads(inside(lab, "vm-a", "ip", "-json", "address").stdout)
    assert [link["ifname"] for link in seen] == ["lo", "eth0"]


def test_nothing_is_said_that_nobody_asked_for(lab):
    """A VM with IPv6 sends nothing by itself: what its card is offered is what programs sent."""
    before = status(lab, "host-1")["card"]["egress"]
    inside(lab, "vm-a", "ip", "link", "set", "eth0", "down")
    inside(lab, "vm-a", "ip", "link", "set", "eth0", "up")
    inside(lab, "vm-a", "ip", "-4", "route", "replace", "default", "dev", "eth0")
    inside(lab, "vm-a", "ip", "-6", "route", "replace", "default", "dev", "eth0")
    inside(lab, "vm-a", "ping", "-c", "1", "10.0.0.5")
    after = status(lab, "host-1")["card"]["egress"]
    assert after["offered"] - before["offered"] == 1
    assert after["dropped"] == before["dropped"]


# --------------------------------------------------------------------------------------------- the fabric


def test_no_payload_is_in_clear_on_the_fabric(lab):
    """Everything that a host sends and receives is looked at while VMs transfer: only DTLS, and no payload in it."""
    frames = capture(lab, lambda: transfer(lab))
    datagrams = [payload for frame in frames if (payload := udp_payload(frame)) is not None]
    assert sum(map(len, datagrams)) > len(PAYLOAD) * REPEATED
    assert not [payload for payload in datagrams if payload[1:3] != b"\xfe\xfd"]
    assert not [frame for frame in frames if PAYLOAD[:16] in frame]


def test_the_look_at_the_fabric_would_see_payload(name):
    """The same look at the same transfer without encryption finds it: the test above can fail."""
    cli("up", "two-vms", "--name", name, "--encryption", "off")
    assert any(PAYLOAD[:16] in frame for frame in capture(name, lambda: transfer(name)))
    # Its status says as much: no cipher, and everything in clear.
    for host in json.loads(cli("status", "--run", name, "--json").stdout)["hosts"]:
        assert [tunnel["cipher"] for tunnel in host["card"]["tunnels"].values()] == ["none"]
        assert host["card"]["egress"]["encrypted"] == 0 < host["card"]["egress"]["clear"]


def capture(run, act):
    """All frames on the cable of host 1 while something is done; offloaded ones come as they are, whole."""
    everything = 0x0003  # ETH_P_ALL, linux/if_ether.h
    with entered(f"{run}-host-1"):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(everything))
        tap.bind(("to-host-2", everything))
    frames = []
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        act()
        tap.settimeout(0.2)
        try:
            while True:
                frames.append(tap.recv(1 << 17))
        except TimeoutError:
            return frames


def udp_payload(frame):
    """What a frame carries over IPv4 and UDP, or None."""
    ip = frame[14:]
    if frame[12:14] != b"\x08\x00" or ip[9] != socket.IPPROTO_UDP:
        return None
    return ip[(ip[0] & 15) * 4 + 8 :]


# ------------------------------------------------------------------------------------------------ changes


@pytest.fixture(scope="module")
def changed_lab():
    """Two VMs that are up, for the tests that change them, each another part."""
    run = f"c{os.getpid()}"
    cli("up", "two-vms", "--name", run)
    yield run
    cli("down", run)
    assert left_of(run) == NOTHING


def test_enforcement_is_changed_while_it_is_up(changed_lab):
    """A VM that cannot be encrypted is heard, then not, then again; what else was set stays."""
    cli("set", "--run", changed_lab, "vm-b", "accelerated_networking=false")
    pings = ("ping", "-c", "1", "-W", "1", "10.0.0.5")
    assert inside(changed_lab, "vm-a", *pings).returncode == 0
    cli("set", "--run", changed_lab, "prod", "encryption.enforcement=DropUnencrypted")
    assert inside(changed_lab, "vm-a", *pings, check=False).returncode == 1
    assert status(changed_lab, "host-1")["card"]["egress"]["dropped"] == {"not_accepted": 1}
    cli("set", "--run", changed_lab, "vm-b", "accelerated_networking=")
    assert inside(changed_lab, "vm-a", *pings).returncode == 0
    lab = state_of(changed_lab).lab
    assert lab["virtual_networks"]["prod"]["encryption"] == {
        "enabled": True,
        "enforcement": "DropUnencrypted",
    }


def test_a_transfer_survives_a_fabric_that_becomes_smaller(changed_lab):
    """Cards, cable and state have the new MTU; TCP learns of it by ICMP from the card."""
    assert transfer(changed_lab) == len(PAYLOAD) * REPEATED
    cli("set", "--run", changed_lab, "host-1-host-2", "mtu=1367")
    assert transfer(changed_lab) == len(PAYLOAD) * REPEATED
    (link,) = json.loads(inside(changed_lab, "host-2", "ip", "-json", "link", "show", "to-host-1").stdout)
    assert link["mtu"] == 1367
    assert status(changed_lab, "host-1")["card"]["tunnels"]["host-2"]["mtu"]["fabric"] == 1367
    assert state_of(changed_lab).lab["links"] == [{"between": ["host-1", "host-2"], "mtu": 1367}]


def test_a_fabric_on_which_ipv6_would_not_work_is_refused(changed_lab):
    """Not one byte less than a VM's 1280 and all that is around them; it is said which link, and nothing changes."""
    before = read_state(RUNS / changed_lab)
    done = cli("set", "--run", changed_lab, "host-1-host-2", "mtu=1366", check=False)
    assert done.returncode == 2
    assert "1366 is too small for IPv6 between `host-1` and `host-2`" in done.stderr
    assert "write at least 1367" in done.stderr
    assert read_state(RUNS / changed_lab) == before


def test_a_wrong_change_changes_nothing(changed_lab):
    """It is said as for a lab file, with exit code 2."""
    before = read_state(RUNS / changed_lab)
    done = cli("set", "--run", changed_lab, "host-1-host-2", "loss=1", check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "dtls-emu: lab: links[0].loss: `1` has no unit; write a share with its unit, such as 1%\n"
    )
    assert read_state(RUNS / changed_lab) == before


def test_a_card_that_was_killed_is_started_again_with_the_lab_as_it_is(changed_lab):
    """What was changed while it was gone holds, and VMs reach each other again."""
    assert inside(changed_lab, "vm-a", "ping", "-c", "1", "10.0.0.5").returncode == 0
    kill_card(changed_lab, "host-2")
    done = cli("set", "--run", changed_lab, "host-1-host-2", "mtu=1400", check=False)
    assert done.returncode == 2
    assert "the lab is changed, but the card of host-2 did not take it" in done.stderr
    assert "host-2" in cli("doctor").stdout
    cli("restart", "--run", changed_lab, "host-2")
    assert status(changed_lab, "host-2")["card"]["tunnels"]["host-1"]["mtu"]["fabric"] == 1400
    assert inside(changed_lab, "vm-a", "ping", "-c", "3", "-W", "5", "10.0.0.5").returncode == 0


def kill_card(run, host):
    """Kill the process of a card, and wait until it is gone."""
    (card,) = (each for each in state_of(run).of(CardProcess) if each.host == host)
    os.kill(card.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(ProcessId(card.pid, card.started)), "the killed card is gone")


# -------------------------------------------------------------------------------------------- up and down


@pytest.mark.parametrize("shipped", ["mixed-sizes", "jumbo-fragments"])
def test_the_other_shipped_labs_come_up_and_what_they_say_to_try_works(name, shipped):
    """JSON has everything of the run; its first hint is a ping."""
    document = json.loads(cli("up", shipped, "--name", name, "--json").stdout)
    assert (document["run"], document["lab"]) == (name, shipped)
    assert all((NETNS_FOLDER / vm["namespace"]).exists() for vm in document["vms"].values())
    for host in document["hosts"].values():
        assert ask(host["control_socket"], "ready")["ready"]
    hint = document["next"][0].split()
    assert cli(*hint[1:]).returncode == 0


def test_two_labs_with_the_same_addresses_are_up_at_once(lab, name):
    """Each VM talks to the one of its own lab."""
    cli("up", "two-vms", "--name", name)
    before = status(lab, "host-2")["card"]["ingress"]["delivered"]
    assert inside(name, "vm-a", "ping", "-c", "1", "10.0.0.5").returncode == 0
    assert status(name, "host-2")["card"]["ingress"]["delivered"] == 1
    assert status(lab, "host-2")["card"]["ingress"]["delivered"] == before
    assert cli("exec", "vm-a", "--", "true", check=False).returncode == 2


def test_a_second_up_of_the_name_changes_nothing(lab):
    """It says how to go on, with exit code 2."""
    before = read_state(RUNS / lab)
    done = cli("up", "two-vms", "--name", lab, check=False)
    assert done.returncode == 2
    assert f"there is a run `{lab}` already" in done.stderr
    assert read_state(RUNS / lab) == before
    assert inside(lab, "vm-a", "ping", "-c", "1", "10.0.0.5").returncode == 0


def test_a_wrong_lab_is_refused_before_anything_is_made(name, tmp_path):
    """With every problem of it."""
    path = tmp_path / "wrong.yaml"
    path.write_text("hosts: {h: {underlay: nowhere}}\n")
    done = cli("up", str(path), "--name", name, check=False)
    assert done.returncode == 2
    assert "wrong.yaml:1: hosts.h.underlay: `nowhere` is no IP address" in done.stderr
    assert left_of(name) == NOTHING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_up_that_is_interrupted_leaves_nothing(name, number):
    """While cards are being waited for, which is when most is there. Its exit code says how, no traceback."""
    # Whoever runs the tests in the background may have had this signal ignored, and that is inherited.
    command = ["env", f"--default-signal={number}", *COMMAND, "up", "two-vms", "--name", name]
    up = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with up:
        await_line(up, up.stderr, "starting the cards")

        def last_pid():
            cards = state_of(name).of(CardProcess)
            return cards[-1].pid if cards else None

        os.kill(
            eventually(last_pid, "a card has been started"), signal.SIGSTOP
        )  # so that it is still being waited for
        up.send_signal(number)
        with killed_after(up):
            said = present(up.stderr).read()
    assert up.returncode == 128 + number
    assert "undoing what was made" in said
    assert "Traceback" not in said
    assert left_of(name) == NOTHING


def test_up_that_is_killed_is_undone_by_down(name):
    """Cards that had started already run on until then; doctor says so."""
    up = subprocess.Popen([*COMMAND, "up", "two-vms", "--name", name], stderr=subprocess.PIPE, text=True)
    with up:
        await_line(up, up.stderr, "starting the cards")
        up.kill()
    assert left_of(name) != NOTHING
    cli("down", name)
    assert left_of(name) == NOTHING


def test_down_takes_everything_away_and_again_finds_nothing(name):
    """Cards, their sockets and keys, programs in VMs. Nothing to do is no failure."""
    cli("up", "two-vms", "--name", name)
    program = subprocess.Popen([*COMMAND, "exec", "--run", name, "vm-a", "--", "sleep", "600"])
    keys = [*(RUNS / name).rglob("*.key")]
    assert len(keys) == 2
    assert cli("down", name).stdout == f"{name} is down\n"
    assert program.wait(PATIENCE) == -signal.SIGTERM
    assert left_of(name) == NOTHING
    assert not [path for path in keys if path.exists()]
    with pytest.raises(ControlError):
        ask(RUNS / name / "host-1.sock", "ping")
    again = cli("down", name)
    assert again.stdout == f"{name}: there is no such run: nothing to do\n"


ALONE = """
virtual_networks:
  alone: {address_prefixes: [10.0.0.0/24], vni: 1}
hosts:
  alone-1: {underlay: 192.0.2.1}
  alone-2: {underlay: 192.0.2.2}
vms:
  alone-a: {host: alone-1, virtual_network: alone, address: 10.0.0.4}
  alone-b: {host: alone-2, virtual_network: alone, address: 10.0.0.5}
"""
"""Names that no other lab has, so that nobody needs to say which run is meant."""


def test_a_run_whose_state_is_broken_is_no_obstacle_to_another_and_can_be_ended(name, tmp_path):
    """`exec`, `set`, `restart` and `status` of the other work; `down` of the broken one leaves nothing of it."""
    (tmp_path / "alone.yaml").write_text(ALONE)
    cli("up", str(tmp_path / "alone.yaml"), "--name", name)
    broken = f"{name}x"
    (RUNS / broken).mkdir()
    (RUNS / broken / "state.json").write_text("{")
    try:
        assert "1 received" in cli("exec", "alone-a", "ping", "-c", "1", "10.0.0.5").stdout
        cli("set", "alone-1-alone-2", "mtu=1600")
        cli("restart", "alone-2")
        shown = cli("status", "--run", name)
        assert "alone-2" in shown.stdout
        assert shown.stderr == ""
        shown = cli("status")
        assert f"the run `{broken}` cannot be read: {RUNS / broken / 'state.json'}: is " in shown.stderr
        assert f"`sudo dtls-emu down {broken}` ends the run" in shown.stderr
    finally:
        done = cli("down", broken)
    assert done.stdout.endswith(f"\n{broken} is down\n")
    assert not (RUNS / broken).exists()

    state = RUNS / name / "state.json"
    os.truncate(state, 100)
    said = f"{state}: is damaged: "
    done = cli("exec", "--run", name, "alone-a", "true", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"dtls-emu: {said}")
    done = cli("down", name)
    assert done.stdout.startswith(f"{name}: {said}")
    assert done.stdout.endswith(f"\n{name} is down\n")
    assert left_of(name) == NOTHING


def test_a_full_disk_is_one_line_for_every_command(name):
    """On a disk of its own for /run/dtls-emu: cards run on, nothing is half changed, and `down` leaves nothing."""
    command = shlex.join(COMMAND)
    steps = {
        "small": f"mkdir -p {RUNS} && mount -t tmpfs -o size=40k tmpfs {RUNS} && {command} up two-vms --name {name}",
        "left": f"ls {RUNS} /run/netns; umount {RUNS}",
        "up": f"mount -t tmpfs -o size=200k tmpfs {RUNS} && {command} up two-vms --name {name}",
        "fill": f"dd if=/dev/zero of={RUNS}/fill bs=4k",
        "set": f"{command} set --run {name} host-1-host-2 mtu=9000",
        "restart": f"{command} restart --run {name} host-1",
        "ping": f"{command} exec --run {name} vm-a ping -c 1 10.0.0.5",
        "down": f"{command} down {name}",
        "after": f"ls {RUNS} /run/netns; umount {RUNS}",
    }
    script = "\n".join(f"echo '# {each}'\n{step} 2>&1; echo $?" for each, step in steps.items())
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "Traceback" not in done.stdout + done.stderr
    parts = (part.partition("\n") for part in done.stdout.removeprefix("# ").split("\n# "))
    outcomes = {each: text.strip().rpartition("\n") for each, _, text in parts}
    full = "No space left on device; make room on its file system"
    for each, path in (
        ("small", f"{RUNS}/{name}/"),
        ("set", f"{RUNS}/{name}/state.json.new: "),
        ("restart", f"{RUNS}/{name}/host-1/host.json: "),
    ):
        said, _, code = outcomes[each]
        last = said.splitlines()[-1]
        assert (code, last.startswith(f"dtls-emu: {path}"), last.endswith(full)) == ("2", True, True), said
    assert outcomes["ping"][2] == outcomes["up"][2] == "0"
    assert (outcomes["down"][0], outcomes["down"][2]) == (f"{name} is down", "0")
    for each in ("left", "after"):
        assert name not in outcomes[each][0]
    with suppress(OSError):  # other runs are there
        RUNS.rmdir()


def test_down_works_after_every_card_was_killed(name):
    """Doctor says what is left, and what to do."""
    cli("up", "two-vms", "--name", name)
    for host in ("host-1", "host-2"):
        kill_card(name, host)
    offers = json.loads(cli("doctor", "--json").stdout)["offers"]
    said = [(offer["reason"], offer["remedy"]) for offer in offers if offer["name"] == "no leftovers"]
    assert said == [(f"run {name}: 4 namespaces, 3 interfaces, 2 cards, 2 folders", f"dtls-emu down {name}")]
    cli("down", name)
    assert left_of(name) == NOTHING


def test_a_host_that_was_started_by_hand_is_no_leftover_and_stays(name):
    """Its folder has no state. Neither doctor nor down take it for a dead run; once it is killed they do."""
    path = RUNS / name / "host-1.sock"
    server = ControlServer(path, lambda _request: {})
    with ExitStack() as undo:
        undo.callback(server.close)
        assert f"dtls-emu down {name}" not in cli("doctor", "--json").stdout
        assert cli("down", name).stdout == (
            f"{name}: there is no such run: nothing to do\n"
            f"{name}: {path} is of a host that was started by hand\n"
        )
        assert cli("up", "two-vms", "--name", name, check=False).returncode == 2
        assert is_served(path)
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert f"dtls-emu down {name}" in cli("doctor", "--json").stdout
    assert cli("down", name).stdout == f"{name} is down\n"
    assert left_of(name) == NOTHING


def test_a_dry_run_prints_the_plan_and_makes_nothing(name):
    """As a shell script, or as JSON."""
    done = cli("up", "two-vms", "--name", name, "--dry-run")
    lines = done.stdout.splitlines()
    assert lines[0] == f"# {name}: state, credentials and control sockets are in /run/dtls-emu/{name}"
    assert f"ip netns add {name}-vm-a" in lines
    assert f"# dtls-emu down {name}" in lines
    assert left_of(name) == NOTHING
    steps = json.loads(cli("up", "two-vms", "--name", name, "--dry-run", "--json").stdout)["steps"]
    assert steps[-1]["step"] == "StartCard"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["up", "two-vms", "--name", "nobody"], 2),
        (["exec", "vm-a", "--", "true"], 2),
        (["down", "nobody"], 2),
        (["set", "prod", "a=1"], 2),
        (["restart", "host-1"], 2),
        (["up", "two-vms", "--dry-run"], None),
    ],
)
def test_without_root_and_without_a_place_for_runs_it_is_said_at_once(monkeypatch, capsys, arguments, code):
    """One line, exit code 2; only to look is allowed."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(sys, "argv", ["dtls-emu", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == (code or 0)
    said = capsys.readouterr().err
    assert said.count("\n") == (code is not None)
    assert ("XDG_RUNTIME_DIR is not set" in said) == (code is not None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("up", "two-vms", "--name", "Not A Name"),
            "--name: `Not A Name` is no name; write lower-case letters",
        ),
        (
            ("up", "two-vms", "--backend", "ipsecmb"),
            "--backend: no backend `ipsecmb`; did you mean `ipsec-mb`?",
        ),
        (("up", "no-such-lab"), "no-such-lab: no such file, and no shipped lab of that name"),
        (("down", "one", "--all"), "either the name of a run, or --all"),
        (("restart", "no-such-host"), "nothing is up|no VM or host `no-such-host` is up"),
    ],
)
def test_a_slip_of_the_user_is_one_message(arguments, message):
    """Exit code 2, and what to write instead."""
    done = cli(*arguments, check=False)
    assert done.returncode == 2
    assert any(part in done.stderr for part in message.split("|"))
