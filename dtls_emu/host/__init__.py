"""One host's process: its card between real devices and a real fabric, and a socket to ask it.

This floor may use the clock, randomness and the operating system.
"""
