"""Two hosts joined by a veth: what they are, and that nothing of them stays."""

import subprocess
import sys

import pytest

from dtls_emu.testing.waiting import PATIENCE, await_line
from side_by_side.buffers import enlarge_udp_buffers
from side_by_side.errors import PeerError
from side_by_side.namespaces import LINK, host_pair
from side_by_side.processes import daemon, family, run


OWNER = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in "ab":
    print(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), flush=True)
    sys.stdin.readline()
"""


def _links():
    return run(["ip", "-brief", "link"]).stdout


@pytest.mark.root
def test_hosts_reach_each_other_and_leave_nothing(tmp_path):
    """The veth's ends are in the two namespaces and never in this one; all is gone with the processes."""
    before = _links()
    with host_pair(tmp_path, mtu=1400) as (client, server):
        assert _links() == before
        client.run("ping", "-n", "-c", "1", "-W", "2", server.underlay)
        assert "mtu 1400" in client.run("ip", "link", "show", LINK).stdout
        assert client.run("ls", "/run").stdout == ""
        holders = [client.pid, server.pid]
        assert family(holders) == sorted(holders)
    assert family(holders) == []
    assert _links() == before


@pytest.mark.root
def test_a_failure_inside_takes_the_hosts_down(tmp_path):
    """And is what the caller sees."""
    holders: list[int] = []

    def fail():
        with host_pair(tmp_path) as hosts:
            holders.extend(host.pid for host in hosts)
            hosts[0].run("ip", "link", "set", "no-such-device", "up")

    with pytest.raises(PeerError, match="no-such-device"):
        fail()
    assert len(holders) == 2
    assert family(holders) == []


@pytest.mark.root
def test_buffers_of_another_process_are_enlarged():
    """Its own UDP socket has room for 7 MiB afterwards, which the kernel doubles (socket(7))."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert int(await_line(owner, owner.stdout, "\n")) < 7 << 20
        enlarge_udp_buffers([owner.pid])
        said, _ = owner.communicate("\n", timeout=PATIENCE)
        assert int(said) == 2 * (7 << 20)


def test_a_process_without_a_udp_socket_is_an_error(tmp_path):
    """A tunnel whose sockets are not where they are looked for would be compared with small buffers."""
    with daemon(["sleep", "60"], tmp_path / "log") as idle, pytest.raises(PeerError, match="no UDP socket"):
        enlarge_udp_buffers([idle.pid])
