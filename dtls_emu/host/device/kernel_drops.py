"""What the kernel has dropped in a network namespace: queues of interfaces, receive buffers of sockets, IP itself.

A packet that a VM's program has sent is lost before the card sees it where the queue of its device is full, and one that
the card has handed over is lost where nobody reads fast enough. Neither is in the counters of a card, so they are read
from the kernel's own: ``/proc/net/dev``, ``snmp``, ``snmp6`` and ``netstat`` (proc_net(5), RFC 4113, RFC 4293).

The files are opened while the host may enter the namespace, and read later, when it may not any more.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from dtls_emu.machine.netns import entered


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


__all__ = ["KernelDrops"]

_FOLDER: Final = "/proc/thread-self/net"

_INTERFACES: Final = "dev"
_PAIRS: Final = ("snmp", "netstat")
"""Files of two lines for each protocol: names, and values."""
_LINES: Final = "snmp6"
"""A file of a name and a value in each line."""

_LARGEST: Final = 1 << 20
"""Bytes of one file: thousands of interfaces."""

_SOCKETS: Final = {
    "udp_receive_buffer": ("Udp.RcvbufErrors", "Udp6RcvbufErrors"),
    "udp_send_buffer": ("Udp.SndbufErrors", "Udp6SndbufErrors"),
    "udp_nobody_listens": ("Udp.NoPorts", "Udp6NoPorts"),
    "tcp_backlog": ("TcpExt.ListenDrops", "TcpExt.TCPBacklogDrop", "TcpExt.TCPRcvQDrop"),
    "ip_in": ("Ip.InDiscards", "Ip6InDiscards"),
    "ip_out": ("Ip.OutDiscards", "Ip6OutDiscards"),
    "ip_no_route": ("Ip.OutNoRoutes", "Ip6OutNoRoutes"),
}
"""Reasons, and the kernel's counters of each."""

_DROPPED_COLUMNS: Final = {"queue_in": 3, "queue_out": 11}
"""Of an interface in ``/proc/net/dev``: packets that were to be received, and to be sent."""


class KernelDrops:
    """The counters of one namespace, since this was made. Usable until :meth:`close`.

    Fields:
        unknown: why there are none; "" when there are.

    Args:
        netns: namespace, by name or path; None is this one.
    """

    def __init__(self, netns: str | None) -> None:
        self.unknown = ""
        self._files: dict[str, int] = {}
        try:
            with entered(netns), ExitStack() as undo:
                for name in (_INTERFACES, *_PAIRS, _LINES):
                    try:
                        descriptor = os.open(f"{_FOLDER}/{name}", os.O_RDONLY | os.O_CLOEXEC)
                    except FileNotFoundError:  # a kernel without IPv6 has no snmp6
                        if name == _INTERFACES:
                            raise
                        continue
                    undo.callback(os.close, descriptor)
                    self._files[name] = descriptor
                undo.pop_all()
        except OSError as error:
            self._files.clear()
            self.unknown = f"{_FOLDER}: {error.strerror}"
        self._before = self._sockets_now()

    def close(self) -> None:
        """Let go of the files. Idempotent."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def of_interface(self, name: str) -> dict[str, int]:
        """Packets that one interface has dropped, by the direction: ``queue_out`` are those that programs have sent."""
        return self._interfaces().get(name, {})

    def of_interfaces(self, *, but: Iterable[str]) -> dict[str, int]:
        """Likewise of all together, except for these."""
        left_out = {*but}
        total = dict.fromkeys(_DROPPED_COLUMNS, 0)
        for name, dropped in self._interfaces().items():
            for reason, count in dropped.items():
                total[reason] += 0 if name in left_out else count
        return total

    def of_sockets(self) -> dict[str, int]:
        """Packets that sockets and IP have dropped, by reason."""
        return {reason: count - self._before[reason] for reason, count in self._sockets_now().items()}

    def _interfaces(self) -> dict[str, dict[str, int]]:
        found = {}
        for line in self._read(_INTERFACES):
            name, separator, values = line.partition(":")
            columns = values.split()
            if separator and len(columns) > max(_DROPPED_COLUMNS.values()):
                found[name.strip()] = {
                    reason: int(columns[column]) for reason, column in _DROPPED_COLUMNS.items()
                }
        return found

    def _sockets_now(self) -> dict[str, int]:
        counters: dict[str, int] = {}
        for name in _PAIRS:
            lines = self._read(name)
            for names, values in zip(lines[::2], lines[1::2], strict=False):
                protocol, _, words = names.partition(":")
                pairs = zip(words.split(), values.split()[1:], strict=False)
                counters |= {f"{protocol}.{word}": int(value) for word, value in pairs}
        for line in self._read(_LINES):
            word, _, value = line.partition(" ")
            counters[word.strip()] = int(value or 0)
        return _summed(counters)

    def _read(self, name: str) -> list[str]:
        descriptor = self._files.get(name)
        if descriptor is None:
            return []
        found = bytearray()
        try:  # a page at a time is what the kernel gives
            while len(found) < _LARGEST and (part := os.pread(descriptor, _LARGEST, len(found))):
                found += part
        except OSError:
            return []
        return found.decode("ascii", "replace").splitlines()


def _summed(counters: Mapping[str, int]) -> dict[str, int]:
    return {reason: sum(counters.get(name, 0) for name in names) for reason, names in _SOCKETS.items()}
