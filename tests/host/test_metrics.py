"""Metrics say what the status says: in a text that Prometheus's own parser takes, and over HTTP beside the loop."""

from __future__ import annotations

import builtins
import itertools
import socket
import sys
import threading
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from dtls_emu.cli.app import app
from dtls_emu.host import metrics_server
from dtls_emu.host.control.server import ControlServer, Status
from dtls_emu.host.metrics import exposition, metric_families
from dtls_emu.host.metrics_server import MetricsUnavailableError, parse_address, serve_metrics


LINK = {
    "offered": 100,
    "duplicated": 2,
    "delivered": 90,
    "dropped": {"lost": 11},
    "in_flight": 1,
    "corrupted": 3,
    "reordered": 4,
    "marked": 5,
}


def tunnel(**changes):
    return {
        "state": "up",
        "handshakes": 2,
        "last_handshake_seconds": 0.0125,
        "keys_age_seconds": 61.5,
        "forgeries": 1,
        "waiting": 0,
        "mtu": {"fabric": 1650, "path": None, "inner_encrypted": 1563, "inner_clear": 1600},
        "link": None,
        **changes,
    }


def report(host="h1", run="demo", **changes):
    """The status of a host, as far as metrics are made of it."""
    return {
        "run": run,
        "host": host,
        "trouble": "",
        "uptime_seconds": 12.25,
        "cpu_seconds": {"user": 2.0, "system": 0.5},
        "card": {
            "flows": {"egress": 3, "ingress": 4},
            "egress": {
                "offered": 1000,
                "offered_bytes": 1_400_000,
                "encrypted": 980,
                "clear": 7,
                "local": 3,
                "gateway": 2,
                "waiting": 1,
                "answered": 6,
                "icmp_limited": 0,
                "dropped": {"fragment": 5, "too_big": 2},
            },
            "ingress": {
                "received": 900,
                "delivered": 880,
                "delivered_bytes": 2**53 + 2,
                "control": 12,
                "dropped": {"replayed": 8},
            },
            "tunnels": {
                "h2": tunnel(link=LINK),
                "h3": tunnel(state="idle", keys_age_seconds=None, handshakes=0),
            },
        },
        "fabric": {
            "offered": 990,
            "sent": 985,
            "dropped": {"no_link": 5},
            "received": 900,
            "delivered": 897,
            "rejected": 1,
            "unread": 2,
            "sends": 40,
            "reads": 30,
            "gso_refusals": 3,
            "kernel_drops": 4,
        },
        "devices": {
            "vm-a": {
                "gone": "",
                "received": 1000,
                "received_bytes": 1_400_000,
                "reads": 50,
                "offered": 883,
                "written": 880,
                "writes": 60,
                "dropped": {"device_full": 3},
                "kernel": {"queues": {"queue_out": 71}, "sockets": {"udp_receive_buffer": 9}, "unknown": ""},
            }
        },
        "kernel": {"queues": {"queue_in": 1}, "sockets": {}, "unknown": ""},
        "left_for_internet": 2,
        **changes,
    }


def parsed(text):
    """Samples by name and labels, and families by name, as Prometheus's parser has them."""
    families = list(text_string_to_metric_families(text))
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return samples, families


def value(samples, name, **labels):
    return samples[f"dtls_emu_{name}", frozenset({"run": "demo", "host": "h1", **labels}.items())]


def test_the_text_is_what_the_status_says():
    """Counters, drops by reason, tunnels, links, sockets, devices: each with its labels, to the last unit."""
    samples, _ = parsed(exposition(metric_families([report()])))
    expected: dict[tuple[Any, ...], float] = {
        ("host_ready",): 1,
        ("host_uptime_seconds",): 12.25,
        ("host_cpu_seconds_total", ("mode", "system")): 0.5,
        ("egress_offered_packets_total",): 1000,
        ("egress_sent_packets_total", ("fate", "encrypted")): 980,
        ("egress_sent_packets_total", ("fate", "clear")): 7,
        ("egress_dropped_packets_total", ("reason", "fragment")): 5,
        ("ingress_delivered_bytes_total",): 2**53 + 2,
        ("ingress_dropped_records_total", ("reason", "replayed")): 8,
        ("flows", ("direction", "egress")): 3,
        ("tunnel_state", ("peer", "h2"), ("state", "up")): 1,
        ("tunnel_state", ("peer", "h2"), ("state", "idle")): 0,
        ("tunnel_state", ("peer", "h3"), ("state", "idle")): 1,
        ("tunnel_keys_age_seconds", ("peer", "h2")): 61.5,
        ("tunnel_handshakes_total", ("peer", "h2")): 2,
        ("tunnel_last_handshake_seconds", ("peer", "h2")): 0.0125,
        ("link_delivered_datagrams_total", ("peer", "h2")): 90,
        ("link_dropped_datagrams_total", ("peer", "h2"), ("reason", "lost")): 11,
        ("socket_gso_refusals_total",): 3,
        ("socket_kernel_drops_total",): 4,
        ("device_present", ("vm", "vm-a")): 1,
        ("device_dropped_packets_total", ("vm", "vm-a"), ("reason", "device_full")): 3,
        ("kernel_dropped_packets_total", ("vm", "vm-a"), ("reason", "queue_out")): 71,
        ("kernel_dropped_packets_total", ("vm", "vm-a"), ("reason", "udp_receive_buffer")): 9,
        ("kernel_dropped_packets_total", ("vm", ""), ("reason", "queue_in")): 1,
        ("left_for_internet_packets_total",): 2,
    }
    found = {key: value(samples, key[0], **dict(key[1:])) for key in expected}
    assert found == expected
    absent = (
        "dtls_emu_tunnel_keys_age_seconds",
        frozenset({("run", "demo"), ("host", "h1"), ("peer", "h3")}),
    )
    assert absent not in samples


def test_the_accounts_balance_in_metrics_too():
    """Offered = sent + waiting + dropped, and received = delivered + control + dropped: in sums over labels."""
    samples, _ = parsed(exposition(metric_families([report()])))

    def total(name):
        return sum(number for (each, _), number in samples.items() if each == f"dtls_emu_{name}")

    assert total("egress_offered_packets_total") == (
        total("egress_sent_packets_total")
        + total("egress_waiting_packets")
        + total("egress_dropped_packets_total")
    )
    assert total("ingress_received_records_total") == (
        total("ingress_delivered_packets_total")
        + total("ingress_control_records_total")
        + total("ingress_dropped_records_total")
    )


def test_names_follow_the_rules():
    """One HELP and one TYPE for each family, a counter ends with _total, units are base units, labels are the lab's."""
    text = exposition(metric_families([report(), report("h2"), report("h1", "other")]))
    _, families = parsed(text)
    lines = text.splitlines()
    for kind in ("HELP", "TYPE"):
        named = [line.split()[2] for line in lines if line.startswith(f"# {kind} ")]
        assert len(named) == len(set(named)) == len(families)
    counters = {line.split()[2] for line in lines if line.startswith("# TYPE ") and line.endswith(" counter")}
    gauges = {line.split()[2] for line in lines if line.startswith("# TYPE ") and line.endswith(" gauge")}
    assert all(name.startswith("dtls_emu_") for name in counters | gauges)
    assert {name for name in counters if not name.endswith("_total")} == set()
    assert {name for name in gauges if name.endswith("_total")} == set()
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels == {"run", "host", "peer", "vm", "reason", "state", "fate", "direction", "mode"}
    assert text.endswith("\n")


def test_hosts_of_several_runs_are_told_apart():
    """A family's samples stand together, as the format wants them."""
    text = exposition(metric_families([report(), report("h2"), report("h1", "other")]))
    samples, _ = parsed(text)
    ready = [labels for name, labels in samples if name == "dtls_emu_host_ready"]
    assert len(ready) == 3
    names = [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")]
    assert sum(one != other for one, other in itertools.pairwise(names)) + 1 == len(set(names))


def test_what_is_special_in_the_format_is_escaped():
    """A plug-in may choose any word as a reason."""
    odd = 'a "b" \\ c\nd'
    said = report()
    said["fabric"]["dropped"] = {odd: 1}
    samples, _ = parsed(exposition(metric_families([said])))
    assert value(samples, "socket_dropped_datagrams_total", reason=odd) == 1


def test_no_host_is_no_metric():
    """An empty text is a valid one."""
    assert exposition(metric_families([])) == ""


# ------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def status(monkeypatch):
    """Give the command, with hosts that say these things."""

    def run(reports, *arguments):
        monkeypatch.setattr("dtls_emu.paths.control_sockets", lambda _run="*": list(reports))
        monkeypatch.setattr("dtls_emu.host.control.client.ask", lambda path, _command: reports[str(path)])
        monkeypatch.setattr("dtls_emu.deploy.health.stopped_cards", lambda _run: {})
        return CliRunner().invoke(app, ["status", *arguments])

    return run


def whole(said):
    """A report with what `status` asks of one before it believes it."""
    return {"pid": 1, **said}


def test_status_prints_the_metrics_of_all_hosts(status):
    """Word for word."""
    reports = {"/h1.sock": whole(report()), "/h2.sock": whole(report("h2"))}
    done = status(reports, "--prometheus")
    assert done.exit_code == 0
    assert done.stdout == exposition(metric_families(reports.values()))


def test_a_host_of_another_version_is_left_out_and_named(status):
    """The others are told of all the same."""
    old = whole(report("h2"))
    del old["card"]["egress"]["offered"]
    done = status({"/h1.sock": whole(report()), "/h2.sock": old}, "--prometheus")
    assert done.exit_code == 1
    assert "demo/h2: what answers there is no host of this version" in done.stderr
    assert done.stdout == exposition(metric_families([report()]))


def test_it_is_one_format_at_a_time(status):
    """The message names the others."""
    for other in ("--json", "--watch"):
        assert status({}, "--prometheus", other).exit_code == 2


# ------------------------------------------------------------------------------------------------- over HTTP


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("[127.0.0.1]:1", ("127.0.0.1", 1)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_an_address_has_a_port(text, expected):
    """IPv6 in brackets, as in a URL."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "9464", ":9464", "localhost:9464", "127.0.0.1:0", "127.0.0.1:65536", "::1:x"]
)
def test_what_is_no_address_is_refused_with_an_example(text):
    """A name could lead anywhere."""
    with pytest.raises(MetricsUnavailableError, match=r"write one such as 127\.0\.0\.1:9464"):
        parse_address(text)


@contextmanager
def serving(path, answer):
    """A control socket that is served as a host's is."""
    server, end = ControlServer(path, answer), threading.Event()

    def loop():
        while not end.wait(0.005):
            server.serve(0.0)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        server.close()


def free_port():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return taken.getsockname()[1]


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return answer.read().decode(), answer.headers["Content-Type"]


def test_what_is_served_is_what_status_prints(tmp_path):
    """The library's text has the same samples as ours; however often it is asked, the loop is once a second."""
    asked = []
    before = sys.getswitchinterval()

    def answer(request):
        assert isinstance(request, Status)
        asked.append(request)
        return report()

    port = free_port()
    with serving(tmp_path / "h1.sock", answer), serve_metrics("127.0.0.1", port, tmp_path / "h1.sock"):
        assert asked == []
        assert sys.getswitchinterval() == pytest.approx(0.0005)
        text, kind = fetch(port)
        again, _ = fetch(port)
    assert kind.startswith("text/plain; version=")
    assert parsed(text)[0] == parsed(again)[0] == parsed(exposition(metric_families([report()])))[0]
    assert len(asked) == 1
    assert sys.getswitchinterval() == pytest.approx(before)
    with pytest.raises(urllib.error.URLError):
        fetch(port)


def test_while_the_host_does_not_answer_there_are_no_metrics(tmp_path):
    """The server answers all the same."""
    port = free_port()
    with serve_metrics("127.0.0.1", port, tmp_path / "nobody.sock"):
        assert parsed(fetch(port)[0])[0] == {}


def test_an_address_that_is_taken_is_named(tmp_path):
    """With what the system says."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(MetricsUnavailableError, match=f"127.0.0.1 port {port}: Address already in use"),
            serve_metrics("127.0.0.1", port, tmp_path / "h1.sock"),
        ):
            pass


def test_without_the_library_the_extra_is_named(monkeypatch):
    """Before anything is opened."""
    really = builtins.__import__

    def without(name, *rest):
        if name == "prometheus_client":
            raise ImportError(name)
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MetricsUnavailableError, match=r"pip install 'dtls-emu\[metrics\]'"):
        metrics_server.require_client()
