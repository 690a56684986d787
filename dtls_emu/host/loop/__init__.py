"""Carry packets between the devices of the VMs, the card and the fabric: compiled, or interpreted."""
