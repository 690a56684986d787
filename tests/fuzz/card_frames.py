"""Whatever VMs may hand to their card: packets, bursts of them, super-packets, nonsense."""

from __future__ import annotations

import numpy as np
from packets import SOUND, offload, packet
from script import Script, blob, edits
from testbed import ADDRESSES, make_testbed

from dtls_emu.testing.wire_watch import watching
from dtls_emu.wire.burst import MAX_ROWS, Burst
from dtls_emu.wire.headers import transport_layout


STEPS = 32
"""Of one script; more are not carried out."""

_VMS = tuple(ADDRESSES)


def run(data: bytes) -> None:
    """Carry out a script."""
    script = Script(data)
    with watching() as watch:
        mode, options = script.below(3), script.below(4)
        testbed = make_testbed(mode, is_offloaded=options > 1)
        for card in testbed.cards.values():
            card.merges_for.update(ADDRESSES if options % 2 else ())
        watch.follow(testbed.cards.values())
        offload(testbed)
        for _ in range(STEPS):
            if script.is_over:
                break
            script.pick(CHOICES)(testbed, script)
        testbed.cut = False
        testbed.require_recovery()
    watch.check()


def _send(testbed, script):
    """Rows of one size: one packet, many times, some of them changed, the last perhaps shorter."""
    vm, whole = script.pick(_VMS), packet(script)
    rows = [whole] * (script.below(MAX_ROWS) + 1)
    for at in range(script.below(len(rows) + 1)):
        rows[at] = script.edited(whole)[: len(whole)].ljust(len(whole), b"\0")
    rows[-1] = rows[-1][: script.below(65_536) % len(whole) or len(whole)]
    testbed.hand_over(vm, Burst.from_packets(rows))


def _send_super_packet(testbed, script):
    """What a TUN device makes of a frame whose virtio header asks for cutting."""
    vm = script.pick(_VMS)
    whole = np.frombuffer(bytearray(packet(script, longest=65_000)), np.uint8)
    gso_size = script.below(65_536) or 1
    layout = transport_layout(whole, 0, len(whole))
    count = -(-(len(whole) - (layout & 0xFFFF)) // gso_size) if layout >= 0 else 1
    burst = Burst.super_packet(whole, offset=0, length=len(whole), gso_size=gso_size, packets=count)
    testbed.hand_over(vm, burst)


def _wait(testbed, script):
    testbed.wait(testbed.now + script.below(256) / 10)


def _talk(testbed, script):
    testbed.talk(*script.pick((("a", "b"), ("b", "a"), ("c", "b"), ("a", "a2"), ("a2", "c"))))


def _cut(testbed, script):
    testbed.cut = bool(script.below(2))


def _renew(testbed, script):
    host, peer = script.pick((("h1", "h2"), ("h2", "h1"), ("h3", "h2")))
    testbed.carry_out(host, testbed.cards[host].rekey(peer, testbed.now))


CHOICES = (_send, _send_super_packet, _wait, _talk, _cut, _renew)


def seeds():
    """Scripts that lead to every corner once."""
    send, cut_up, wait, talk, cut, renew = (bytes((n,)) for n in range(len(CHOICES)))
    as_it_is = b"\0" + b"\0\0"  # no row changed, the last as long as the others
    kinds = [bytes((0, n, 0, 0, 0)) for n in range(len(SOUND))]
    stream = b"\1\0\2"  # from a to b, one packet made for the occasion
    plain = [
        *(send + b"\0" + kind + rows + as_it_is for kind in kinds for rows in (b"\0", b"\7")),
        *(
            send + b"\0\0" + bytes((n,)) + edits((6, 0x20)) + b"\3\1" + edits((9, 6)) + b"\0\30"
            for n in range(6)
        ),
        *(
            cut_up + b"\0" + stream + make + length + b"\0\0" + gso
            for make in (b"\0\x10", b"\1")
            for length in (b"\0\0", b"\4\0", b"\xf0\0")
            for gso in (b"\0\x10", b"\5\x78", b"\xff\xff")
        ),
        send + b"\1" + b"\2" + blob(b"\x45" + bytes(30)) + b"\0" + as_it_is,
        talk
        + b"\0"
        + cut
        + b"\1"
        + talk
        + b"\0"
        + wait
        + b"\xff"
        + wait
        + b"\xff"
        + cut
        + b"\0"
        + talk
        + b"\1",
        cut + b"\1" + (talk + b"\0") * 12 + wait + b"\xff" + cut + b"\0",
        talk + b"\0" + renew + b"\0" + renew + b"\1" + wait + b"\xff" + talk + b"\0",
        b"".join(talk + bytes((n,)) for n in range(5)),
    ]
    return [
        bytes((mode, mode % 2 + 2 * fast)) + each for mode in range(3) for fast in range(2) for each in plain
    ]
