"""Virtual network flow logs, version 4: written from a card's flow events, read from any source, filtered and added up.

Sans-I/O: bytes in, records and sums out. The format is Azure's ("Virtual network flow logs"); what the vendor's real
files have besides is in :mod:`dtls_emu.flow_logs.reading`.
"""
