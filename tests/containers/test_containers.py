"""The image and the exported files, started: packets of VMs in two containers pass, and only sealed."""

import json

import pytest

from dtls_emu.machine.linux import Capability


pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]  # the first builds the image

CAP_NET_ADMIN = 1 << Capability.CAP_NET_ADMIN


def test_the_watch_reads_clear_text_where_there_is_some(lab):
    """Otherwise it would prove nothing: from container to container, not from VM to VM, the mark is readable."""
    with lab.watching() as watch:
        assert lab.ping("host-1", "host-2") == 5
    assert watch.readable == watch.seen["IPv4 protocol 1"] == 10
    assert not watch.only_sealed


@pytest.mark.parametrize("target", ["vm-b", "fd00:10::5"])
def test_ping_passes_from_vm_to_vm_and_only_sealed(lab, target):
    """All are answered; on the bridge are records on UDP port 4433, and nothing that could be read."""
    with lab.watching() as watch:
        assert lab.ping("host-1", target) == 5
    assert watch.seen["data"] >= 10
    assert watch.only_sealed


def test_iperf3_passes_and_only_sealed(lab):
    """Megabytes of TCP, with a payload that would be known again."""
    lab.podman.run("exec", "--detach", lab.containers["host-2"], "iperf3", "--server")
    command = ["iperf3", "--client", "vm-b", "--bytes", "50M", "--repeating-payload", "--json"]
    results = []

    def transferred():
        done = lab.run("host-1", *command, check=False)
        results.append(json.loads(done.stdout))
        return done.returncode == 0

    with lab.watching() as watch:
        lab.await_true(transferred)  # the server may not listen yet
    assert results[-1]["end"]["sum_sent"]["bytes"] >= 50_000_000
    assert results[-1]["end"]["sum_received"]["bytes"] > 40_000_000  # some were under way at the end
    assert watch.seen["data"] > 100
    assert watch.only_sealed


def test_a_card_is_not_root_and_has_no_capability_in_effect(lab):
    """The first process of the container is the card; one capability may be left to it, not in effect."""
    for host in lab.containers:
        lines = lab.run(host, "cat", "/proc/1/status").stdout.splitlines()
        status = dict(line.split(":\t", 1) for line in lines)
        assert status["Uid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == 0
        assert int(status["CapPrm"], 16) in {0, CAP_NET_ADMIN}
        assert int(status["CapBnd"], 16) == CAP_NET_ADMIN
        assert status["NoNewPrivs"] == "1"


def test_a_host_has_its_own_key_and_no_other(lab):
    """What is mounted is one key; what the card uses is a copy with mode 0600. Keys of two hosts differ."""
    keys = set()
    for host in lab.containers:
        found = lab.run(host, "sh", "-c", "ls /run/secrets/dtls-emu").stdout.split()
        assert found == ["ca-eastus.pem", "host.key", "host.pem"]
        own = "/run/card/credentials/host.key"
        assert lab.run(host, "stat", "--format=%a %u", own).stdout.split() == ["600", "10001"]
        keys.add(lab.run(host, "cat", own).stdout)
    assert len(keys) == 2


def test_health_is_asked_of_the_control_socket(lab):
    """The probes that the files carry say yes; `status` in the container knows the host."""
    for host, name in lab.containers.items():
        lab.podman.run("healthcheck", "run", name)
        lab.run(host, "probe", "ping")
        (report,) = json.loads(lab.run(host, "dtls-emu", "status", "--json").stdout)["hosts"]
        assert (report["host"], report["trouble"]) == (host, "")


def test_a_card_is_changed_live_over_its_control_socket(lab):
    """By the command in its container, as the documentation has it; nobody there is root. Pings are lost, then not."""
    change = ["dtls-emu", "set", "--socket", "/run/card/dtls-emu/two-vms/host-1.sock", "host-1-host-2"]
    assert lab.ping("host-1", "vm-b") == 5
    lab.run("host-1", *change, "loss=100%")
    assert lab.ping("host-1", "vm-b") == 0
    lab.run("host-1", *change, "loss=")
    lab.await_true(lambda: lab.ping("host-1", "vm-b") == 5)
    done = lab.run("host-1", *change, "los=1%", check=False)
    assert done.returncode == 2
    assert "links[0].los: unknown key; did you mean `loss`?" in done.stderr


def test_a_host_that_waits_for_another_lets_nothing_around_its_card(pods):
    """Packets of its VM have no way out of the pod before there is a device: none was on the bridge."""
    answered, watch = pods.alone
    assert answered == 0
    assert watch.readable == watch.seen["IPv4 protocol 1"] == 0


def test_a_killed_card_comes_back_and_traffic_with_it(pods):
    """The pod keeps its address, and the other host builds a new tunnel by itself."""
    assert pods.ping("host-1", "vm-b") == 5
    name = pods.containers["host-2"]

    def pid():
        return pods.podman.run("inspect", "--format={{.State.Pid}}", name).stdout.strip()

    before = pid()
    pods.podman.room.run("kill", "-KILL", before)
    pods.await_true(lambda: pid() not in {"0", before})
    pods.await_ready()
    pods.await_true(lambda: pods.ping("host-1", "vm-b") == 5)


def test_without_its_capability_a_container_says_what_it_needs(podman, image):
    """And no more than that: no traceback, exit 1."""
    done = podman.run("run", "--rm", "--network=none", "--cap-drop=ALL", image, check=False)
    assert done.returncode == 1
    needed = "a host needs the capability NET_ADMIN: --cap-add NET_ADMIN --device /dev/net/tun"
    assert needed in done.stderr
    assert "Traceback" not in done.stderr


def test_a_container_runs_any_command(podman, image):
    """Without a capability, a device or a lab."""
    done = podman.run("run", "--rm", "--network=none", "--cap-drop=ALL", image, "backends", "--json")
    available = {each["name"]: each["available"] for each in json.loads(done.stdout)["backends"]}
    assert available["cryptography"] is True


def test_the_probe_of_a_container_without_a_host_says_no(podman, image):
    """Where no control socket is, nobody is alive or ready."""
    asking = "for what in ping ready; do probe $what; echo $?; done"
    done = podman.run("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", asking)
    assert done.stdout.split() == ["1", "1"]
