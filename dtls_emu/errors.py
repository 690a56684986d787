"""The families of errors, so that a newcomer knows at once whom to blame.

A bad datagram is none of them: hostile input is normal input, it is counted by reason
(:class:`dtls_emu.vocabulary.DropReason`) and never raises through the datapath.
"""

__all__ = [
    "BackendUnavailableError",
    "DtlsEmuError",
    "LabFileError",
    "LocalProtocolError",
    "RemoteProtocolError",
    "RunError",
]


class DtlsEmuError(Exception):
    """Base of every error this package raises on purpose."""


class LabFileError(DtlsEmuError):
    """The user's lab file is wrong. Says where, and what to write instead.

    Fields:
        problems: one line per problem, each ``file:line: key: what is wrong; what to write``.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LocalProtocolError(DtlsEmuError):
    """The caller broke the protocol: sealing after close, past the last sequence number, and the like."""


class RemoteProtocolError(DtlsEmuError):
    """The peer broke the protocol in a way that ends a handshake; the tunnel counts it and retries."""


class BackendUnavailableError(DtlsEmuError):
    """A cipher backend cannot work here. The message is the reason, fit to be printed."""


class RunError(DtlsEmuError):
    """A run of real hosts cannot be made, changed or ended. Says why and what to do."""
