"""Print every frame of an interface as a line of hexadecimal digits: ``python sniffer.py INTERFACE``.

A script of its own because it runs inside a namespace.
"""

from __future__ import annotations

import socket
import sys
from typing import Final


ETH_P_ALL: Final = 0x0003
MAX_FRAME: Final = 65_549
"""An Ethernet header and the largest IP packet, which a frame not yet cut can be."""


def print_frames(interface: str) -> None:
    """Print frames until this process is ended."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as tap:
        tap.bind((interface, 0))
        print("ready", flush=True)
        while True:
            print(tap.recv(MAX_FRAME).hex(), flush=True)


if __name__ == "__main__":
    print_frames(sys.argv[1])
