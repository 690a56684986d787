"""dtls_emu: virtual-network encryption of a cloud, emulated in software.

Emulated hosts, each with a SmartNIC ("card"), build real DTLS 1.2 AES-256-GCM tunnels between
each other and carry their VMs' packets through them. Start with::

    from dtls_emu.lab import load_lab
    from dtls_emu.simulation import simulate

    outcome = simulate(load_lab("two-vms"))

The floors, top to bottom; an import goes down this list, never up:
``cli``, ``teach`` and ``measure``, ``host``, ``fabric``, ``nic``, ``tunnel``, ``crypto``, ``wire``,
``policy``, ``lab``. Beside them stand ``errors`` and ``overhead`` (everyone's) and ``testing`` (fakes and the
conformance suite for cipher backends, for our tests and yours).

An emulator for labs and teaching. Do not protect real traffic with it.
"""

from importlib.metadata import version


__version__ = version("dtls-emu")
