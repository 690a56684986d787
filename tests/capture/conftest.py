"""A run with everything that a capture is made of."""

from __future__ import annotations

import pytest

from dtls_emu.capture.trace_file import TraceRecorder
from dtls_emu.simulation import simulate
from dtls_emu.teach.secrets import parse_key_log


@pytest.fixture(scope="session")
def run():
    """Run a lab: its trace, and the master secrets of its handshakes by client random."""

    def run(lab):
        lines: list[bytes] = []
        recorder = TraceRecorder(lab=lab.model_dump(mode="json", exclude_unset=True))
        simulate(lab, observer=recorder, key_log=lines.append)
        secrets = parse_key_log(b"\n".join(lines).decode())
        return recorder, {each.client_random: each.master_secret for each in secrets}

    return run
