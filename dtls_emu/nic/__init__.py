"""The card: pipeline, flow table, slow path, counters.

Flows whose packets are all alike can be offloaded: then compiled code carries them, on the same memory
(:mod:`dtls_emu.nic.offload.fast_path`).

Sans-I/O: bursts and the time go in, effects (:mod:`dtls_emu.nic.effects`) come out. The same card runs under
a virtual clock in a test, under real sockets in a benchmark, and in a container.
"""
