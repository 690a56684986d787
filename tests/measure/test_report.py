"""Tables and the reading, on a result whose figures are known."""

from __future__ import annotations

from dtls_emu.measure.plan import BenchPath
from dtls_emu.measure.report import reading, remarks, tables


def test_reading_is_two_sentences_on_the_headline_cell(result):
    """1400 bytes, UDP, the card's engine; then the fragments."""
    assert result.end.reading == (
        "At 1400 bytes over UDP with GSO/GRO the ipsec-mb tunnel carries 0.62 (0.62-0.62) of the plain path's "
        "packets, 7.00 against 11.20 Gbit/s; differences below 0.0 % are noise on this machine. "
        "All 1,127,084 fragments were rejected and all 3,948,852 whole packets beside them were delivered; rejecting "
        "one costs 25 ns in a burst of its own kind and 500 ns amid whole packets, and whole packets keep 0.98 and "
        "0.67 of their rate when 50 % are fragments."
    )


def test_reading_without_an_encrypted_arm_says_so(result):
    """`null` protects nothing: it is no tunnel to speak of."""
    cells = [cell for cell in result.end.cells if cell.arm != "ipsec-mb"]
    assert reading(cells, None, result.start.offloads) == (
        "No encrypted arm was measured beside the plain one, so this run says nothing of the cost of encryption. "
        "Fragments were not measured."
    )


def test_reading_names_no_offload_that_is_off(result):
    """On the path of single datagrams there is nothing to boast of."""
    cells = [cell for cell in result.end.cells if cell.path is BenchPath.UDP_SINGLE]
    assert reading(cells, None, result.start.offloads).startswith(
        "At 1400 bytes over UDP with one datagram a system call the ipsec-mb tunnel carries"
    )


def test_a_table_for_each_path_fragments_handshakes_and_what_is_missing(result):
    """Every cell is a row, offloads stand in the title with their reasons."""
    titles = {table.title: table for table in tables(result)}
    assert [len(table.rows) for table in titles.values()] == [16, 16, 16, 7, 1, 1]
    assert list(titles)[1] == "udp: over UDP; GSO on, GRO on"
    assert list(titles)[2].endswith("; GSO off (switched off), GRO off (switched off)")
    assert titles["Not measured"].rows == [("openssl", "not installed")]
    for table in titles.values():
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_row_of_an_arm(result):
    """The figures as printed; what protects nothing is marked."""
    memory = tables(result)[0]
    rows = {(row[0], row[1]): row[2:] for row in memory.rows}
    assert rows["1400", "ipsec-mb"] == (
        "1.600",
        "7.00",
        "625,000",
        "0.571",
        "0.286",
        "0",
        "0.625",
        "0.625-0.625",
        "0.0 %",
    )
    assert rows["1400", "plain (no protection)"][5:8] == ("0", "1", "")
    assert ("1400", "null (no protection)") in rows


def test_row_of_handshakes(result):
    """As printed; memory that was not measured is said to be so."""
    (table,) = [table for table in tables(result) if table.title == "Handshakes, ipsec-mb"]
    assert table.rows == [("2.17 ms", "460/s", "1.45 ms", "1.500", "1.500-1.500", "20 KB")]
    handshakes = result.end.handshakes.model_copy(update={"idle_tunnel_bytes": None})
    end = result.end.model_copy(update={"handshakes": handshakes})
    (table,) = [
        table
        for table in tables(result.model_copy(update={"end": end}))
        if table.title.startswith("Handshakes")
    ]
    assert table.rows[0][-1] == "not measured"


def test_a_quiet_machine_needs_no_remark(result):
    """Two cores, hardly a load, nothing stolen."""
    assert remarks(result) == []


def test_what_spoils_the_figures_is_remarked(result):
    """Others on the machine, others on the hypervisor, a single core."""
    start = result.start.model_copy(
        update={"load_average": 3.6, "environment": {"cpu": {"usable_cores": 2}}, "cores": {"sender": None}}
    )
    end = result.end.model_copy(update={"stolen_share": 0.034})
    found = remarks(result.model_copy(update={"start": start, "end": end}))
    assert [remark.split(":")[0] for remark in found] == [
        "Busy machine",
        "Busy hypervisor",
        "Both processes share one core",
    ]
    assert "load average 3.6 on 2 cores" in found[0]
    assert "3.4 %" in found[1]
