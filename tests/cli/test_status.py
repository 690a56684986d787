"""``status`` prints what hosts say, what is off and why, and exits by whether all is well."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dtls_emu import paths as run_directory
from dtls_emu.cli.app import app
from dtls_emu.deploy import health
from dtls_emu.deploy import queries as run_queries
from dtls_emu.host.control import client as control_client
from dtls_emu.host.control.client import ControlError


OFF = {"state": "off", "reason": "refused at run time: Input/output error"}
ON = {"state": "on", "reason": ""}


def report(host="host-1", **changes):
    tunnel = {
        "state": "up",
        "failure": "",
        "cipher": "AES-256-GCM",
        "mtu": {"fabric": 1650, "path": 1700, "inner_encrypted": 1563, "inner_clear": 1600},
        "impairments": {"delay": 0.005, "loss": 0.01},
        "link": {"dropped": {"lost": 3}},
    }
    return {
        "run": "demo",
        "host": host,
        "pid": 1,
        "uptime_seconds": 10.0,
        "cpu_seconds": {"user": 2.0, "system": 0.5},
        "trouble": "",
        "encryption": "on",
        "io_path": "TUN super-packets, UDP GRO",
        "card": {
            "backend": "ipsec-mb",
            "offloads": {"fast_path": ON},
            "egress": {"encrypted": 700, "clear": 7, "dropped": {"fragment": 5}},
            "ingress": {"delivered": 600, "dropped": {}},
            "tunnels": {"host-2": tunnel},
        },
        "devices": {"vm-a": {"dropped": {"device_full": 2}, "offloads": {"tun_uso": ON}}},
        "fabric": {
            "dropped": {},
            "kernel_drops": 4,
            "rejected": 0,
            "unread": 3,
            "offloads": {"udp_gso": OFF, "udp_gro": ON},
        },
        "left_for_internet": 0,
        "hints": [],
        **changes,
    }


@pytest.fixture
def status(monkeypatch, stopped):
    """Run the command against hosts that say these things."""

    def run(reports, *arguments):
        monkeypatch.setattr(run_directory, "control_sockets", lambda _run="*": list(reports))

        def ask(path, command):
            assert command == ("flows" if "--flows" in arguments else "status")
            found = reports[str(path)]
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(control_client, "ask", ask)
        monkeypatch.setattr(health, "stopped_cards", lambda _run: dict(stopped))
        return CliRunner().invoke(app, ["status", *arguments])

    return run


@pytest.fixture
def stopped():
    """Why cards do not run, by socket; for a test to say."""
    return {}


def test_a_host_is_shown_with_its_tunnels_drops_and_what_is_off(status):
    """State, cipher, path, MTU, link, counters by reason, CPU, and why segmentation is off."""
    done = status({"/h1.sock": report()})
    assert done.exit_code == 0
    for expected in (
        "host-1",
        "ipsec-mb",
        "TUN super-packets, UDP GRO",
        " 700 ",
        " 7 ",
        "25%",
        "AES-256-GCM",
        "1563",
        "delay 5ms, loss 1%",
        "refused at run time: Input/output error",
    ):
        assert expected in done.stdout, expected
    rows = done.stdout.split("Dropped")[1].split("Off")[0].splitlines()
    drops = {line.split()[-2]: line.split()[-1] for line in rows if "host-1" in line}
    assert drops == {"fragment": "5", "full": "4", "closed": "3", "lost": "3", "device_full": "2"}


def test_a_path_that_carries_less_than_the_lab_says_is_shown_with_what_to_do(status):
    """The real MTU beside the lab's, and the hints of the host in a table of their own."""
    said = report()
    said["card"]["tunnels"]["host-2"]["mtu"] |= {"path": 1300, "inner_encrypted": 1213}
    said["hints"] = [{"about": "host-2", "what": "the path carries 1300", "remedy": "raise it"}]
    shown = status({"/h1.sock": said}).stdout
    assert "1300 of 1650" in shown
    assert "1213" in shown
    assert "host-2 the path carries 1300 raise it" in " ".join(shown.split("Hints")[1].split())
    assert "Hints" not in status({"/h1.sock": report()}).stdout


def rows_of(stdout, title, host):
    """The first words of a host's rows in one table."""
    lines = stdout.split(f"\n{title}")[-1].split("\n\n")[0].splitlines()
    return [line.split()[:3] for line in lines if host in line.split()]


@pytest.mark.parametrize(
    ("title", "second"), [("Tunnels", "host-2"), ("Dropped", "card,"), ("Off", "fabric")]
)
def test_with_several_runs_every_table_says_whose_host_it_is(status, title, second):
    """Labs have hosts of the same names; with one run the column would be the same in every row."""
    one, two = report(run="one"), report(run="two")
    both = rows_of(status({"/1.sock": one, "/2.sock": two}).stdout, title, "host-1")
    assert sorted({tuple(row) for row in both if row[2] == second}) == [
        ("one", "host-1", second),
        ("two", "host-1", second),
    ]
    alone = rows_of(status({"/1.sock": one}).stdout, title, "host-1")
    assert ["host-1", second] in [row[:2] for row in alone]


def test_a_card_that_has_ended_is_named_with_what_starts_it_anew(status, stopped):
    """Whether it has left its socket, as one that was killed, or none; one that answers all the same is shown."""
    stopped |= {f"/h{number}.sock": f"the card of h{number} has ended; this helps" for number in (1, 2, 3)}
    hosts = {"/h1.sock": report(), "/h2.sock": ControlError("/h2.sock: Connection refused")}
    done = status(hosts)
    assert done.exit_code == 1
    assert "host-1" in done.stdout
    assert done.stderr.splitlines() == [
        f"dtls-emu: /h{number}.sock: the card of h{number} has ended; this helps" for number in (2, 3)
    ]


def test_json_is_what_the_hosts_said(status):
    """Word for word, and who is silent."""
    said = report()
    done = status({"/h1.sock": said, "/h2.sock": ControlError("/h2.sock: Connection refused")}, "--json")
    assert json.loads(done.stdout) == {
        "hosts": [said],
        "silent": {"/h2.sock": "/h2.sock: Connection refused"},
    }
    assert done.exit_code == 1
    assert done.stderr == "dtls-emu: /h2.sock: Connection refused\n"


def test_one_host_is_asked_by_its_socket(status):
    """Whether it is in a run's folder or not."""
    done = status({"/elsewhere/x.sock": report()}, "--socket", "/elsewhere/x.sock")
    assert done.exit_code == 0
    assert "host-1" in done.stdout


def test_trouble_silence_and_emptiness_are_exit_codes(status):
    """So that a script notices."""
    assert status({"/h1.sock": report(trouble="tun0 of vm-a: gone")}).exit_code == 1
    done = status({}, "--run", "demo")
    assert (done.exit_code, done.stderr) == (1, "dtls-emu: no host runs in demo\n")


def test_in_clear_there_is_no_overhead_of_records(status):
    """The inner MTU is that of what is sent."""
    assert "1600" in status({"/h1.sock": report(encryption="off")}).stdout


def test_watching_shows_the_cpu_since_the_last_look_until_it_is_interrupted(monkeypatch):
    """25 % since the start, 90 % in the second between two looks."""
    looks = [
        report(),
        report(uptime_seconds=11.0, cpu_seconds={"user": 2.9, "system": 0.5}),
    ]

    def sleep(_seconds):
        if not looks:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_directory, "control_sockets", lambda _run="*": ["/h1.sock"])
    monkeypatch.setattr(control_client, "ask", lambda *_: looks.pop(0))
    monkeypatch.setattr("dtls_emu.cli.status.time.sleep", sleep)
    done = CliRunner().invoke(app, ["status", "--watch"])
    shares = [word for word in done.stdout.split() if word.endswith("%")]
    assert [share for share in shares if share != "1%"] == ["25%", "90%"]  # the link's loss
    assert done.exit_code == 130


@pytest.fixture
def as_user(monkeypatch, tmp_path):
    """Somebody who is not root, beside the folder of root's runs."""
    roots = tmp_path / "root"
    roots.mkdir(mode=0o700)
    monkeypatch.setattr(run_directory, "RUNS", roots)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.access", lambda path, _mode: path != roots)
    return roots


@pytest.mark.parametrize("has_own_folder", [True, False])
def test_without_privilege_beside_a_lab_of_root_it_is_said_to_use_sudo(
    as_user, monkeypatch, tmp_path, has_own_folder
):
    """Not that no host runs; nor that a variable is missing, when it is for the user's own hosts."""
    if has_own_folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert done.stderr == "dtls-emu: no host of yours runs; a lab of root is up: use sudo\n"
    as_user.rmdir()  # as the last run does
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    said = done.stderr if has_own_folder else str(done.exception)
    assert said.startswith(
        "dtls-emu: no host runs\n"
        if has_own_folder
        else "XDG_RUNTIME_DIR is not set, so there is no place for runs: log in "
    )


@pytest.mark.parametrize(
    ("arguments", "is_named"), [((), True), (("--run", "bad"), True), (("--run", "demo"), False)]
)
def test_a_run_that_cannot_be_read_is_named_beside_the_hosts_of_others(
    status, monkeypatch, arguments, is_named
):
    """With what to do; the exit code is about the hosts that answer."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(
        run_queries, "readable_states", lambda: ({}, {"bad": "the run `bad` cannot be read: why"})
    )
    done = status({"/h1.sock": report()}, *arguments)
    assert done.exit_code == 0
    assert "host-1" in done.stdout
    assert done.stderr == ("dtls-emu: the run `bad` cannot be read: why\n" if is_named else "")


@pytest.mark.parametrize("answer", [None, [], {"run": "demo"}, "hello"])
def test_an_answer_that_is_no_report_is_no_traceback(status, answer):
    """Something else may listen at a socket."""
    done = status({"/h1.sock": report(), "/odd.sock": answer})
    assert done.exit_code == 1
    assert done.stderr == "dtls-emu: /odd.sock: what answers there is no host of this version\n"
    assert "host-1" in done.stdout


FLOW = {
    "host": "host-1",
    "vm": "vm-a",
    "direction": "egress",
    "vni": 1,
    "protocol": 17,
    "source": "10.0.0.4",
    "destination": "10.0.0.5",
    "source_port": 1000,
    "destination_port": 53,
    "fragment": False,
    "verdict": "encrypt",
    "encryption": "X",
    "row": 16,
    "name": "encrypted",
    "path": "fast",
    "packets": 12,
    "bytes": 3400,
    "dropped": 0,
    "hits": 11,
    "exceptions": 1,
    "generation": 1,
    "age_seconds": 3.5,
    "idle_seconds": 0.25,
    "ended": "",
}


def test_flow_tables_are_shown_by_host_and_direction(status):
    """With what is not shown; as JSON they are what the host says."""
    said = {"run": "demo", "host": "host-1", "flows": [FLOW], "left_out": 7}
    done = status({"/h1.sock": said}, "--flows")
    assert done.exit_code == 0
    for expected in ("demo/host-1: from its VMs", "10.0.0.4:1000", "encrypt", "12", "fast", "7 more"):
        assert expected in done.stdout, expected
    assert json.loads(status({"/h1.sock": said}, "--flows", "--json").stdout)["hosts"] == [said]


@pytest.mark.parametrize("answer", [{"run": "demo", "host": "h"}, {"flows": [{"vm": 1}], "left_out": 0}, []])
def test_flows_of_another_version_are_refused(status, answer):
    """One line, and exit status 1, as where nobody answers."""
    done = status({"/h1.sock": answer}, "--flows")
    assert done.exit_code == 1
    assert "no host of this version" in done.stderr


def test_flows_are_no_metrics(status):
    """Their labels would be of hostile input."""
    assert status({"/h1.sock": report()}, "--flows", "--prometheus").exit_code == 2


def test_what_the_kernel_drops_is_in_the_ledger(status):
    """Inside a VM and on the host, by its cause; a host of an older version does not say."""
    said = report()
    said["devices"]["vm-a"]["kernel"] = {
        "queues": {"queue_out": 7100, "queue_in": 0},
        "sockets": {"udp_receive_buffer": 82},
    }
    said["kernel"] = {"queues": {"queue_in": 9}, "sockets": {}}
    shown = status({"/h1.sock": said}).stdout
    rows = [" ".join(line.split()) for line in shown.split("Dropped")[1].splitlines()]
    assert "host-1 kernel, inside vm-a device: queue full 7100" in rows
    assert "host-1 kernel, inside vm-a UDP receive buffer full 82" in rows
    assert "host-1 kernel, of the host interfaces: not taken 9" in rows
    cards = rows_of(shown, "Cards", "host-1")
    assert cards, shown
