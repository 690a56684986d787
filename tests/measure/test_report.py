"""Tables and the reading, on a result whose figures are known."""

from __future__ import annotations

from dtls_emu.measure.report import remarks, tables
from dtls_emu.measure.result import Load
from dtls_emu.measure.suites.handshake import Handshake


def test_reading_is_a_paragraph_for_each_suite(result):
    """1400 bytes, UDP, the card's engine; then the fragments; then handshakes. Words and tables have the same figures."""
    throughput, fragments, handshakes = result.end.reading
    assert throughput == (
        "At 1400 bytes over UDP with GSO/GRO the ipsec-mb tunnel carries 0.62 (0.62-0.62) of the plain path's packets and "
        "a packet costs 1.60 (1.60-1.60) times the CPU. Plain beside plain differs by up to 0.0 % in rate and 0.0 % in "
        "CPU here; less than that cannot be told."
    )
    assert "fragments were rejected and all" in fragments
    assert "rejecting one costs 25 ns in a burst of its own kind and 500 ns amid whole packets" in fragments
    assert handshakes.startswith("A handshake costs ")


def test_a_table_for_each_path_fragments_handshakes_and_what_is_missing(result):
    """Every cell is a row, offloads stand in the title with their reasons."""
    titles = {table.title: table for table in tables(result)}
    assert [len(table.rows) for table in titles.values()] == [8, 8, 8, 16, 1, 1]
    assert list(titles)[1] == "udp: over UDP; a core for each end; GSO on, GRO on"
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
        "0.625",
        "0.625-0.625",
        "1,200",
        "1.600",
        "1.600-1.600",
        "0",
        "0.0 %",
    )
    assert rows["1400", "plain (no protection)"][3:5] == ("1", "")
    assert ("1400", "null (no protection)") in rows


def test_row_of_handshakes(result):
    """As printed; memory that was not measured is said to be so."""
    (section,) = [section for section in result.sections if section.suite == "handshake"]
    (table,) = Handshake().tables(section, result.start)
    assert table.rows[0][-1] == "20 KB"
    without = section.model_copy(update={"idle_tunnel_bytes": None})
    assert Handshake().tables(without, result.start)[0].rows[0][-1] == "not measured"


def test_a_quiet_machine_needs_no_remark(result):
    """Two cores, hardly a load, nothing stolen."""
    assert remarks(result) == []


def test_what_spoils_the_figures_is_remarked(result):
    """Others on the machine before or after, others on the hypervisor, a single core, what the lab says and is not done."""
    start = result.start.model_copy(
        update={
            "load": Load(load_average=3.6, pressure_share=None),
            "environment": {"cpu": {"usable_cores": 2}},
            "cores": {"sender": None},
            "not_of_the_lab": ["loss 2 %"],
        }
    )
    end = result.end.model_copy(update={"stolen_share": 0.034})
    found = remarks(result.model_copy(update={"start": start, "end": end}))
    assert [remark.split(":")[0] for remark in found] == [
        "Busy machine",
        "Busy hypervisor",
        "Both processes share one core",
        "Not of the lab",
    ]
    assert "load average 3.6 on 2 cores before the run" in found[0]
    assert "3.4 %" in found[1]


def test_a_runs_own_load_is_not_held_against_it(result):
    """The average over the last minute is its own when it ends; what waits for a processor then is not."""
    own = result.end.model_copy(update={"load": Load(load_average=9.0, pressure_share=None)})
    assert remarks(result.model_copy(update={"end": own})) == []
    others = result.end.model_copy(update={"load": Load(load_average=9.0, pressure_share=0.4)})
    assert remarks(result.model_copy(update={"end": others})) == [
        "Busy machine: something waited for a processor in 40.0 % of the time after the run. Its intervals are wide."
    ]


def test_what_was_not_measured_is_a_table(result):
    """Backends that are not there, and suites that were left out."""
    end = result.end.model_copy(update={"skipped": {"latency": "it cannot be measured on memory"}})
    table = tables(result.model_copy(update={"end": end}))[-1]
    assert table.rows == [("openssl", "not installed"), ("latency", "it cannot be measured on memory")]
