"""The underlay between hosts: a simulated network on a virtual clock, or UDP sockets with GSO and GRO.

Both carry a card's ``Transmit`` effects and hand back bursts by the same call
(:data:`~dtls_emu.fabric.underlay.Receive`), so a card does not know which one it runs on. Nothing here knows a key, a
flow or a policy. Nothing is imported here, so that whoever only asks what sockets can do loads no compiler.
"""
