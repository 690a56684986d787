"""Who seals and opens: cipher backends, the key schedule, the managed certificate authority.

The seam is :mod:`dtls_emu.crypto.backend`: a backend takes a finished handshake and gives a sealer and an
opener that work on whole bursts, in place. Sans-I/O.
"""
