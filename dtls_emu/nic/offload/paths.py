"""The paths of a card to other hosts: what kernels know of them, and how their datagrams are recognised.

A path is a record of numbers and addresses (:data:`~dtls_emu.nic.offload.state.PATH`): kernels take datagrams by it
only while nothing but traffic is to be expected of its association. Anything else (a handshake, a rekey not yet
confirmed, a peer that may be dead) makes it unusable, and its datagrams exceptions, until :meth:`Paths.refresh`.

Peers are numbered in the order in which they are first met. The path to peer ``i`` is ``2 * i`` sealed, and
``2 * i + 1`` in clear.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from dtls_emu.crypto.native import native_end
from dtls_emu.nic.flow_table import place_key
from dtls_emu.nic.offload.state import PATH, PeerMemory, Records
from dtls_emu.wire.inspect import KEY_WORDS, address_words
from dtls_emu.wire.memory import kernel
from dtls_emu.wire.vxlan import VXLAN_PORT


if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dtls_emu.events import UnderlayAddress
    from dtls_emu.lab.topology import Host
    from dtls_emu.tunnel.association import Association
    from dtls_emu.tunnel.tunnel import Tunnel


__all__ = ["Paths", "path_to"]
_NEVER: Final = 1 << 62


def path_to(peer: int, *, sealed: bool) -> int:
    """Number of the path to a peer, by its number."""
    return 2 * peer + (not sealed)


class Paths:
    """Every path of one card that was ever wanted.

    Fields:
        table: :data:`~dtls_emu.nic.offload.state.PATH`, as many as there can be.
        count: how many there are: they are the first ones.
        on_path: called with the number of a path that has changed: its ports, or whether it is usable.

    Args:
        hosts: how many hosts there are besides this one.
        on_change: called when datagrams are to be recognised otherwise.
    """

    def __init__(self, hosts: int, on_change: Callable[[], object]) -> None:
        self.table: Records = np.zeros(2 * max(hosts, 1), PATH)
        # By number of the path: how a datagram of it is recognised, and whether one is.
        self._keys: NDArray[np.uint64] = np.zeros((len(self.table), KEY_WORDS), np.uint64)
        self._is_expected: NDArray[np.bool_] = np.zeros(len(self.table), np.bool_)
        self.on_path: Callable[[int], object] = lambda _path: None
        self._on_change = on_change
        self._numbers: dict[str, int] = {}
        self._peers: list[Host] = []
        # Of each peer, and whether its records are opened by kernels; also keeps alive what paths point to.
        self._offloaded: list[tuple[Association | None, bool]] = []
        self._arrivals: dict[tuple[int, str, int], int] = {}
        self._local_ports: list[int] = []
        self._destinations: list[UnderlayAddress] = []

    @property
    def count(self) -> int:
        """How many paths there are: twice as many as peers."""
        return len(self._destinations)

    def number(self, host: Host) -> int:
        """The number of a peer; of a new one both paths are there now, and that in clear is usable."""
        number = self._numbers.get(host.name)
        if number is None:
            number = self._numbers[host.name] = len(self._peers)
            self._peers.append(host)
            self._offloaded.append((None, False))
            self._local_ports += (0, VXLAN_PORT)
            self._destinations += ((host.underlay, 0), (host.underlay, VXLAN_PORT))
            sealed, clear = path_to(number, sealed=True), path_to(number, sealed=False)
            about = self.table[[sealed, clear]]
            about["peer"], about["due"] = number, inf
            about[1]["usable"], about[1]["local_port"] = 1, VXLAN_PORT
            self.table[[sealed, clear]] = about
            self._expect(clear, VXLAN_PORT, (host.underlay, 0))
            self._changed(sealed)
            self._changed(clear)
        return number

    def peer(self, path: int) -> Host:
        """The host at the other end."""
        return self._peers[path >> 1]

    def is_sealed(self, path: int) -> bool:
        """Whether kernels seal what leaves by it, or open what comes."""
        return path & 1 == 0

    def local_port(self, path: int) -> int:
        """UDP port of this host that a path leaves from; 0 while it is not usable."""
        return self._local_ports[path]

    def epoch(self, path: int) -> int:
        """Of the records of a path that is sealed."""
        return int(self.table["epoch"][path])

    def destination(self, path: int) -> UnderlayAddress:
        """Underlay address and UDP port of the other end; 0 while there is none."""
        return self._destinations[path]

    def arrival(self, local_port: int, source: UnderlayAddress) -> int:
        """The path of a datagram that kernels can take, or -1; a sender's port does not matter in clear."""
        address, port = source
        return self._arrivals.get((local_port, address, 0 if local_port == VXLAN_PORT else port), -1)

    def refresh(self, host: Host, tunnel: Tunnel) -> None:
        """A tunnel has changed: let kernels have the association that seals, or take the path back."""
        number = self.number(host)
        path = path_to(number, sealed=True)
        about = self.table[path]
        association = tunnel.steady
        # What is heard first on an association changes more than kernels know of: the tunnel must hear it.
        hears = association is not None and association.confirmed
        if (association, hears) == self._offloaded[number]:
            return
        self._offloaded[number] = association, hears
        self._arrivals.pop((self._local_ports[path], *self._destinations[path]), None)
        self._is_expected[path] = False
        about["usable"] = 0
        self._local_ports[path], self._destinations[path] = 0, (host.underlay, 0)
        if association is not None:
            about["sealed"], about["epoch"] = 1, association.epoch
            about["local_port"], about["remote_port"] = association.ends
            sealer, opener = native_end(association.sealer), native_end(association.opener)
            about["sealer"], about["sealer_state"] = sealer or (0, 0)
            about["opener"], about["opener_state"] = opener if hears and opener else (0, 0)
            about["worn_sequence"] = association.worn_from
            about["worn_bytes"] = min(association.worn_bytes, _NEVER)
            about["records"] = association.records.ctypes.data
            about["window"] = association.window.state.ctypes.data
            about["window_words"] = len(association.window.state)
            about["liveness"] = tunnel.times.ctypes.data
            about["usable"] = 1
            self._local_ports[path] = association.local_port
            self._destinations[path] = (host.underlay, association.remote_port)
            if about["opener"]:
                self._expect(path, association.local_port, self._destinations[path])
        self._changed(path)

    def due(self, now: float) -> list[str]:
        """Names of peers of whose tunnels kernels have set a timer that is due; each is told once."""
        dues = self.table["due"][: self.count]
        paths = np.flatnonzero(dues <= now)
        dues[paths] = inf
        return [self._peers[path >> 1].name for path in paths.tolist()]

    def next_due(self) -> float:
        """When the next of them is due, in seconds, or infinity."""
        return float(self.table["due"][: self.count].min(initial=inf))

    def memory(self) -> PeerMemory:
        """How kernels recognise datagrams, until it changes."""
        slots = np.full(2 << max(len(self._arrivals), 1).bit_length(), -1, np.int32)
        _place(slots, self._keys, self._is_expected, self.count)
        return PeerMemory(slots, self._keys)

    def _expect(self, path: int, local_port: int, source: UnderlayAddress) -> None:
        """Datagrams that come in like that are of this path."""
        address, port = source
        self._arrivals[local_port, address, port] = path
        self._keys[path, :3] = (local_port << 16 | port, *address_words(address))
        self._is_expected[path] = True

    def _changed(self, path: int) -> None:
        self._on_change()
        self.on_path(path)


@kernel
def _place(
    slots: NDArray[np.int32], keys: NDArray[np.uint64], is_expected: NDArray[np.bool_], count: int
) -> None:
    """Enter the keys of those of the first paths of which datagrams are expected."""
    for path in range(count):
        if is_expected[path]:
            place_key(slots, keys, path)
