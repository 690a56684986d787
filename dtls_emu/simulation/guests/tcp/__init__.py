"""A bulk transfer over TCP, as much of it as a lab needs: all bytes arrive, over a lossy path too.

A handshake with MSS and window scale; a sender with congestion control, and a receiver that acknowledges. Left out: SACK,
timestamps, delayed acknowledgements, data from the receiver, and its FIN. Sans-I/O: segments and the time go in, bursts
come out.
"""

from dtls_emu.simulation.guests.tcp.payload import Payload
from dtls_emu.simulation.guests.tcp.receiver import TcpReceiver
from dtls_emu.simulation.guests.tcp.segments import TcpFlow
from dtls_emu.simulation.guests.tcp.sender import TcpSender, TcpState


__all__ = ["Payload", "TcpFlow", "TcpReceiver", "TcpSender", "TcpState"]
