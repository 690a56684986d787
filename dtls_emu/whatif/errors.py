"""What can be wrong with a file that describes somebody's network."""

from __future__ import annotations

from dtls_emu.errors import DtlsEmuError


__all__ = ["ResourceFileError", "printable"]


class ResourceFileError(DtlsEmuError):
    """A file cannot be read as resources. One line: the file, the place in it where there is one, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Without what would steer a terminal: names come from files of others."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
