"""The underlay between hosts: a simulated network on a virtual clock, or UDP sockets with GSO and GRO.

Both carry a card's ``Transmit`` effects and hand back bursts by the same call (:data:`Receive`), so a card
does not know which one it runs on. Nothing here knows a key, a flow or a policy.
"""

from dtls_emu.fabric.clock import Timer, VirtualClock
from dtls_emu.fabric.simulated import SimulatedFabric
from dtls_emu.fabric.udp import UdpFabric, UdpStatistics
from dtls_emu.fabric.underlay import FabricStatistics, Receive


__all__ = [
    "FabricStatistics",
    "Receive",
    "SimulatedFabric",
    "Timer",
    "UdpFabric",
    "UdpStatistics",
    "VirtualClock",
]
