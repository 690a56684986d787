"""The card: pipeline, flow table, slow path, counters.

Packets of known flows are carried by compiled kernels (:mod:`dtls_emu.nic.offload`); Python does the exceptions.

Sans-I/O: bursts and the time go in, effects (:mod:`dtls_emu.nic.effects`) come out. The same card runs under
a virtual clock in a test, under real sockets in a benchmark, and in a container.
"""
