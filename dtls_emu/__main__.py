"""``python -m dtls_emu`` is ``dtls-emu``."""

from __future__ import annotations

from dtls_emu.cli import main


if __name__ == "__main__":
    main()
