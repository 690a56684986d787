"""An association's life: handshake, keys in force, rekey, close.

Sans-I/O: datagrams and the time go in, datagrams and opened bursts come out. pyOpenSSL runs the handshake
over memory BIOs; after it our own record layer is the only one that writes.
"""
