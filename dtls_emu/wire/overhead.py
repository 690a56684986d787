"""What every layer costs: :mod:`dtls_emu.overhead`, under the name that the floors of the datapath know it by."""

from dtls_emu.overhead import *  # noqa: F403
