"""What can be wrong with a file that describes somebody's network."""

from __future__ import annotations

from dtls_emu.errors import DtlsEmuError


__all__ = ["ResourceFileError"]


class ResourceFileError(DtlsEmuError):
    """A file cannot be read as resources. One line: the file, the place in it where there is one, what to do."""
