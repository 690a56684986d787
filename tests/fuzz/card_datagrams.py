"""Datagrams into card h2: h1 has a live association with it and renews it, h3 has an attempt under way.

The fuzzer is a man in the middle who can also use h1's keys: a peer that went bad.
"""

from __future__ import annotations

from packets import offload, packet
from script import Script, blob, edits
from testbed import HOSTS, datagram_burst, make_testbed

from dtls_emu.testing.wire_watch import watching
from dtls_emu.wire.burst import MAX_ROWS
from dtls_emu.wire.record import push_record_header
from dtls_emu.wire.vxlan import VXLAN_PORT, encapsulation_header


STEPS = 48
"""Of one script; more are not carried out."""

_LARGEST_RECEIVE = 65_507
"""The kernel's limit of one receive with UDP_GRO."""


def run(data: bytes) -> None:
    """Carry out a script."""
    script = Script(data)
    with watching() as watch:
        mode, options = script.below(3), script.below(4)
        testbed = make_testbed(mode, is_offloaded=options > 1)
        testbed.cards["h2"].merges_for.update({"b"} if options % 2 else ())
        watch.follow(testbed.cards.values())
        testbed.talk("a", "b")
        offload(testbed)
        testbed.holds = "h2"
        testbed.talk("a", "b")
        testbed.carry_out("h1", testbed.cards["h1"].rekey("h2", testbed.now))
        testbed.talk("c", "b")
        for _ in range(STEPS):
            if script.is_over:
                break
            script.pick(CHOICES)(testbed, script)
        testbed.let_go()
        testbed.require_recovery()
    watch.check()


def _arrive(testbed, script):
    """Something that was held arrives, in whatever order; or a changed copy of it, before it."""
    if not testbed.held:
        return
    at = script.below(len(testbed.held))
    source, port, datagram = testbed.held[at]
    if script.below(2):
        datagram = script.edited(datagram)
    else:
        del testbed.held[at]
    _receive(testbed, source, port, datagram)


def _replay(testbed, script):
    """What has passed comes again, perhaps changed, from where it came or elsewhere."""
    host, source_port, (_, port), datagram = testbed.datagrams[script.below(len(testbed.datagrams))]
    source = _source(testbed, script) if script.below(4) == 1 else (HOSTS[host], source_port)
    _receive(testbed, source, port, script.edited(datagram) if script.below(2) else datagram)


def _invent(testbed, script):
    """Any bytes."""
    _receive(testbed, _source(testbed, script), _port(testbed, script), script.blob())


def _invent_record(testbed, script):
    """Any bytes behind the header of a record."""
    content_type, epoch = script.pick((22, 23, 20, 21, 24, 0)), script.below(3)
    sequence, body = script.below(65_536), script.blob()
    record = push_record_header(content_type, epoch, sequence, len(body)) + body
    _receive(testbed, _source(testbed, script), _port(testbed, script), record)


def _seal(testbed, script):
    """Authentic, whatever it holds."""
    content_type = script.pick((23, 21, 22, 20, 24, 99))
    payload = _frame(script) if content_type == 23 else script.blob()[:2000]
    association = testbed.cards["h1"].tunnels["h2"].active
    if association is not None:
        source = HOSTS["h1"], association.local_port
        _receive(testbed, source, association.remote_port, testbed.seal(content_type, payload))


def _send_in_clear(testbed, script):
    """A VXLAN frame from a host of the lab, or not."""
    _receive(testbed, _source(testbed, script), VXLAN_PORT, _frame(script))


def _merge(testbed, script):
    """One receive with UDP_GRO: what has passed, joined, and cut at a size that need not belong to it."""
    seen = testbed.datagrams
    pieces = [seen[script.below(len(seen))][3] for _ in range(script.below(MAX_ROWS) + 1)]
    size = script.pick((len(pieces[0]), script.below(65_536), 0))
    joined = script.edited(b"".join(pieces))[:_LARGEST_RECEIVE]
    _receive(testbed, _source(testbed, script), _port(testbed, script), joined, size)


def _wait(testbed, script):
    testbed.wait(testbed.now + script.below(256) / 10)


def _talk(testbed, script):
    testbed.talk(*script.pick((("a", "b"), ("b", "a"), ("c", "b"), ("b", "c"), ("a2", "b"))))


def _renew(testbed, script):
    host, peer = script.pick((("h1", "h2"), ("h2", "h1"), ("h3", "h2")))
    testbed.carry_out(host, testbed.cards[host].rekey(peer, testbed.now))


CHOICES = (
    _arrive,
    _replay,
    _invent,
    _invent_record,
    _seal,
    _send_in_clear,
    _merge,
    _wait,
    _talk,
    _renew,
)


def seeds():
    """Scripts that lead to every corner once."""
    arrive, replay, invent, record, seal, clear, merge, wait, talk, renew = (
        bytes((n,)) for n in range(len(CHOICES))
    )
    everything = b"".join(arrive + b"\0\0" for _ in range(8))
    frame = b"\0\0\0\0" + b"\0\0\0\0\0"
    plain = [
        everything,
        b"".join(arrive + bytes((n, 0)) for n in (3, 2, 1, 0)),
        b"".join(replay + bytes((n, 0, 0)) for n in range(12)),
        b"".join(replay + bytes((n, 0, 1)) + edits((11, 0xFF)) for n in range(12)),
        b"".join(arrive + bytes((n, 1)) + edits((13, 9), (20, 255)) for n in range(4)),
        b"".join(invent + bytes((host, 1, port)) + blob(bytes(40)) for host in range(4) for port in range(4)),
        b"".join(
            record + bytes((kind, epoch)) + b"\0\5" + blob(bytes(24)) + bytes((0, 0, port))
            for kind in range(6)
            for epoch in (0, 1)
            for port in range(3)
        ),
        b"".join(seal + b"\0" + frame + bytes((n, 0, 0, 0)) for n in range(18)),
        seal + b"\1" + blob(b"\1\0"),
        seal + b"\1" + blob(b"\2\50"),
        seal + b"\2" + blob(bytes(24)),
        b"".join(
            clear + bytes((host, 1)) + frame + bytes((n, 0, 0, 0)) for host in range(4) for n in range(6)
        ),
        b"".join(merge + bytes((3, n, n, n, n, 0, 0, 0, 0, 0, 0, 0, 2)) for n in range(8)),
        b"".join(wait + bytes((n,)) for n in (1, 10, 20, 40, 80, 160, 250, 250)),
        b"".join(talk + bytes((n,)) for n in range(5)) + everything,
        b"".join(renew + bytes((n,)) for n in range(3)) + everything,
        everything + b"".join(renew + bytes((n,)) for n in range(3)) + wait + b"\xff",
    ]
    return [
        bytes((mode, n % 2 + 2 * fast)) + each
        for mode in range(3)
        for fast in range(2)
        for n, each in enumerate(plain)
    ]


def _receive(testbed, source, port, data, segment_size=0):
    if data:
        testbed.receive("h2", source, port, datagram_burst(data, segment_size))


def _source(testbed, script):
    """Where a datagram says it is from."""
    host = script.pick(("h1", "h3", "h2", ""))
    ports = [port for name, port, _, _ in testbed.datagrams if name == host]
    port = script.pick((ports[-1] if ports else 0, 4433, VXLAN_PORT, script.below(65_536)))
    return HOSTS.get(host, "10.255.0.99"), port


def _port(testbed, script):
    """A local port of h2: in use, or not."""
    seen = {port for host, port, _, _ in testbed.datagrams if host == "h2"}
    return script.pick((4433, VXLAN_PORT, max(seen, default=0), script.below(65_536)))


def _frame(script):
    """VXLAN and Ethernet, right or nearly, in front of a packet."""
    vni, version = script.pick((5001, 5002)), script.pick((4, 6))
    header = encapsulation_header(vni, bytes((2, 0, 0, 0, 0, 6)), bytes((2, 0, 0, 0, 0, 4)), version)
    encapsulation = header.tobytes()
    if script.below(8) == 1:
        encapsulation = script.edited(encapsulation)
    return encapsulation + packet(script)
