"""Our records as Wireshark reads them: the one reader of them here that shares no code with us or OpenSSL."""

import subprocess

import pytest

from dtls_emu.capture.pcap import encode_pcap
from dtls_emu.testing.pair import Pair
from dtls_emu.wire.packet import udp_packet
from dtls_emu.wire.record import pull_records_untrusted


pytestmark = pytest.mark.tshark

ADDRESS = {"alpha": "10.255.0.1", "beta": "10.255.0.2"}
FIELDS = [f"dtls.record.{name}" for name in ("content_type", "version", "epoch", "sequence_number", "length")]


def test_every_record_of_a_session_is_read_as_we_mean_it(tmp_path):
    """Type, version, epoch, number and length of handshake, data, probes and goodbye, at a small MTU."""
    pair = Pair(path_mtu=600)
    pair.connect()
    pair.run(until=1)
    for number in range(5):
        pair.send("alpha", b"packet %d" % number)
        pair.send("beta", b"packet %d" % number)
    pair.run(until=30)
    pair.close("alpha")
    pair.run(until=40)
    capture = tmp_path / "session.pcap"
    capture.write_bytes(
        encode_pcap(
            (
                moment,
                udp_packet(ADDRESS[who], ADDRESS["beta" if who == "alpha" else "alpha"], source, port, data),
            )
            for moment, who, source, port, data in pair.wire
        )
    )
    command = ["tshark", "-r", capture, "-d", "udp.port==4433,dtls", "-T", "fields"]
    for field in FIELDS:
        command += ["-e", field]
    result = subprocess.run(command, capture_output=True, check=True, text=True)
    seen = [
        [tuple(int(value, 0) for value in record) for record in zip(*columns, strict=True)]
        for columns in (
            [column.split(",") for column in line.split("\t")] for line in result.stdout.splitlines()
        )
    ]
    assert seen == [
        [tuple(record.header) for record in pull_records_untrusted(data)] for *_, data in pair.wire
    ]
