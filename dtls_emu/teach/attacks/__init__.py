"""Attacks on purpose: each is carried out on the simulated fabric, and told with what stopped it, or what let it through."""

from dtls_emu.teach.attacks.attack import Attack, Attempt, Weakness
from dtls_emu.teach.attacks.catalogue import ATTACKS
from dtls_emu.teach.attacks.telling import Report, attack


__all__ = ["ATTACKS", "Attack", "Attempt", "Report", "Weakness", "attack"]
