"""Explain: what a rule of the emulator comes to, with the figures that it comes from."""
