"""A compiled loop whose ``sendmsg`` is a double: run by a test, in a process of its own, because that cannot be undone.

The double is a kernel that segments, on a path that becomes too small for a while; and an old one, which answers a send
of several datagrams with EINVAL then, as if it could not segment. Prints what became of it as JSON.
"""

import ctypes
import errno
import json
import sys

from llvmlite import binding

from dtls_emu.testing.rig import ADDRESSES, Rig
from dtls_emu.wire.packet import tcp_packet
from dtls_emu.wire.virtio import GSO_TCPV4, NEEDS_CHECKSUM, VNET_FIELDS


PACKET = tcp_packet(ADDRESSES["a"], ADDRESSES["b"], 1000, 2000, bytes(4100))
HEADER = VNET_FIELDS.pack(NEEDS_CHECKSUM, GSO_TCPV4, 40, 1000, 20, 16)
"""A super-packet of four rows of 1000 bytes, and one of 100."""

TOO_SMALL, ENOUGH = 800, 65_507


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Message(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Kernel:
    """The double.

    Fields:
        room: bytes of a datagram that the path carries.
        refused: calls that failed, by what they were to send: several datagrams, or one.
    """

    def __init__(self):
        self.room = ENOUGH
        self.refused = {"several": 0, "one": 0}
        self._sendmsg = ctypes.CDLL(None, use_errno=True).sendmsg
        self._sendmsg.argtypes = [ctypes.c_int, ctypes.POINTER(Message), ctypes.c_int]
        signature = ctypes.CFUNCTYPE(
            ctypes.c_ssize_t, ctypes.c_int, ctypes.POINTER(Message), ctypes.c_int, use_errno=True
        )
        self.callback = signature(self._send)  # kept alive

    def _send(self, file, message, flags):
        length = message.contents.vectors[0].length
        if message.contents.control_length:
            segment = int.from_bytes(ctypes.string_at(message.contents.control + 16, 2), sys.byteorder)
            if segment > self.room:
                self.refused["several"] += 1
                ctypes.set_errno(errno.EINVAL)
                return -1
        elif length > self.room:
            self.refused["one"] += 1
            ctypes.set_errno(errno.EMSGSIZE)
            return -1
        return self._sendmsg(file, message, flags)


def main():
    kernel = Kernel()
    binding.add_symbol("sendmsg", ctypes.cast(kernel.callback, ctypes.c_void_p).value)
    rig = Rig(backend="null")

    def send(count):
        for _ in range(count):
            rig.guests["a"].send(PACKET, HEADER)
            rig.settle()
        return sum(len(packet) - 40 for packet in rig.guests["b"].received())

    told = {"before": send(3)}
    fabric = rig.fabrics["h1"]
    kernel.room = TOO_SMALL
    told["meanwhile"] = send(2)
    kernel.room = ENOUGH
    sends = fabric.statistics().sends
    told["after"] = send(4)
    statistics = fabric.statistics()
    told["sends"] = statistics.sends - sends
    told["dropped"] = {str(reason): count for reason, count in statistics.dropped.items()}
    told["gso_refusals"] = statistics.gso_refusals
    told["udp_gso"] = fabric.offloads()["udp_gso"]
    told["refused"] = kernel.refused
    told["interpreted"] = rig.agents["h1"].interpreted
    rig.close()
    print(json.dumps(told))


main()
