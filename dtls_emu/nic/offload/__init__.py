"""The datapath of known flows, compiled, and the memory that it shares with the card.

The card calls it a burst at a time (:mod:`~dtls_emu.nic.offload.entries`), a host's compiled loop a packet at a time. The
rules about packets are in :mod:`~dtls_emu.nic.offload.kernels`, where the design is told, too.
"""
