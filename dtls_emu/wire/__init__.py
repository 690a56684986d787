"""Bytes: headers, fragments, VXLAN, DTLS records, replay window, segmentation and merge.

Sans-I/O. The hot loops are Numba kernels over whole bursts; every length is checked before a kernel
indexes. Nothing here knows a key, a socket, a clock or a policy.
"""
