"""Pure decisions: which flow is encrypted, sent in clear or dropped, and why.

One table of rows, evaluated from the top; the first that applies decides. No state, no I/O, no clock.
"""

from dtls_emu.policy.decision import Decision, decide, in_clear_meanwhile, while_building
from dtls_emu.policy.facts import Endpoint, Flow, endpoint_of, flow_to
from dtls_emu.policy.table import Basis, Row, rows


__all__ = [
    "Basis",
    "Decision",
    "Endpoint",
    "Flow",
    "Row",
    "decide",
    "endpoint_of",
    "flow_to",
    "in_clear_meanwhile",
    "rows",
    "while_building",
]
