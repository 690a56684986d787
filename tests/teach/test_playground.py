"""What is done by hand in a lab has its effect, and what is shown is what happened."""

from __future__ import annotations

import pytest

from dtls_emu.capture.notebook import table
from dtls_emu.errors import DtlsEmuError
from dtls_emu.events import FlowEnded
from dtls_emu.simulation import simulate
from dtls_emu.teach.document import Document
from dtls_emu.teach.flows import flow_table
from dtls_emu.teach.playground import Playground, PlaygroundError
from dtls_emu.vocabulary import DropReason


@pytest.fixture
def play():
    with Playground("two-vms", seed=1) as play:
        yield play


def test_a_packet_can_be_sent_seen_and_opened(play):
    """Sealed on the wire, and whole inside."""
    number = play.send("vm-a", "vm-b", b"some text")
    assert "delivered" in repr(play.settle())
    record = play.on_wire()[-1]
    assert record.kind == "record"
    assert b"some text" not in record.payload
    assert play.decrypt(record).endswith(b"some text")
    assert play.delivered == 1
    assert "sealed" in repr(play.story(number))


def test_a_record_that_is_sent_again_is_refused(play, wire_watch):
    """And so is one of which a bit was changed; the next one is taken."""
    play.send("vm-a", "vm-b")
    play.settle()
    record = play.on_wire()[-1]
    play.put_on_wire(record)
    assert f"refused       1: {DropReason.REPLAYED}" in repr(play.settle())
    header = bytearray(record.payload)
    header[9] += 1  # another number, far from those that are used
    header[19] += 1
    play.put_on_wire(record, bytes(header))
    assert f"refused       1: {DropReason.AUTH_FAILED}" in repr(play.settle())
    play.send("vm-a", "vm-b")
    play.settle()
    assert play.delivered == 2
    # Whoever watches the wire takes the attacker's datagrams for the card's, and says so.
    wire_watch._compare()
    assert {each.rpartition(": ")[2].split()[0] for each in wire_watch.violations} == {"nonce", "record", "a"}
    wire_watch.violations.clear()


def test_time_passes_by_steps_or_up_to_a_moment(play):
    """What happened is returned in words."""
    play.send("vm-a", "vm-b")
    assert "received" in repr(play.step())
    play.run_until(1.0)
    assert play.now == 1.0
    assert play.delivered == 1


def test_the_lab_can_be_changed(play):
    """As with `set`: nothing arrives over a link that loses all."""
    play.set("host-1-host-2", "loss=100%")
    play.send("vm-a", "vm-b")
    play.run_until(3.0)
    assert play.delivered == 0
    assert any(each.fate == "lost" for each in play.on_wire())


def test_what_is_shown_fits_a_prompt(play):
    """Short representations, in HTML too; documents for the rest."""
    play.send("vm-a", "vm-b")
    play.settle()
    datagram = play.on_wire()[0]
    assert repr(datagram) == (
        f"<1: 0.000 ms, 192.0.2.1:49152 to 192.0.2.2:4433, handshake, {len(datagram.payload)} bytes>"
    )
    assert datagram.hex().startswith("16 fe ff")
    assert "&lt;1:" in datagram._repr_html_()
    assert repr(play).startswith("<Playground two-vms: 2 hosts, VMs vm-a, vm-b")
    for document in (datagram.explain(), play.explain(play.on_wire()[-1]), play.handshake(), play.flows()):
        assert isinstance(document, Document)
    assert play.counters()["host-1"]


def test_a_capture_is_made_of_what_was_seen_so_far(play, tmp_path):
    """With the secrets, or as an eavesdropper has it; a file that is there is not written over unasked."""
    play.send("vm-a", "vm-b", b"some text")
    play.settle()
    path = tmp_path / "x.pcapng"
    made = play.capture(path)
    assert path.read_bytes() == made.content
    assert path.stat().st_mode & 0o077 == 0
    assert (made.handshakes, made.opened) == (1, 1)
    assert b"some text" in made.content
    assert repr(made) == (
        f"Capture(packets={made.packets}, interfaces={made.interfaces}, handshakes=1, opened=1, sessions=0)"
    )
    with pytest.raises(DtlsEmuError, match="--force"):
        play.capture(path)
    play.send("vm-a", "vm-b", b"more of it")
    play.settle()
    assert play.capture(path, force=True).packets > made.packets
    assert b"some text" not in play.capture(secrets=False).content


def test_what_a_run_left_is_a_table_in_a_notebook(play):
    """Its trace and its flow table, in a line at a prompt; and what is in them is escaped."""
    play.send("vm-a", "vm-b")
    play.settle()
    assert repr(play.trace).startswith("<Trace two-vms: ")
    html = play.trace._repr_html_()
    assert "<th>host-2</th>" in html
    assert "<td>delivered</td><td>0</td><td>1</td><td>1</td>" in html
    flows = flow_table(play.trace.events)
    assert repr(flows) == f"<FlowTable: {len(flows)} entries>"
    assert "10.0.0.4 to 10.0.0.5, protocol 17" in flows._repr_html_()
    outcome = simulate("two-vms")
    assert "<td>as expected</td>" in outcome._repr_html_()
    assert table("<b>", ("&",), [("<script>",)]) == (
        "<p>&lt;b&gt;</p><table><thead><tr><th>&amp;</th></tr></thead>"
        "<tbody><tr><td>&lt;script&gt;</td></tr></tbody></table>"
    )


def test_what_is_not_there_is_said(play):
    """With what is."""
    with pytest.raises(PlaygroundError, match="no VM is called vm-z; did you mean"):
        play.send("vm-a", "vm-z")
    assert play.encrypted_pair() == ("vm-a", "vm-b")
    play.set("vm-a", "size=Standard_B1s")
    with pytest.raises(PlaygroundError, match="no two VMs on two hosts"):
        play.encrypted_pair()


def test_flows_end_with_their_counters(play):
    """When the lab is closed."""
    play.send("vm-a", "vm-b")
    play.settle()
    play.close()
    ends = [event for event in play.trace.events if isinstance(event, FlowEnded) and event.vm == "vm-a"]
    assert [each.packets_out for each in ends] == [1]
