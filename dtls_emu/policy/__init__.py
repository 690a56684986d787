"""Pure decisions: which flow is encrypted, sent in clear or dropped, and why.

One table of rows, evaluated from the top; the first that applies decides. No state, no I/O, no clock.
"""

from dtls_emu.policy.conditions import (
    Condition,
    conditions_of,
    conditions_of_profile,
    drops_unencrypted,
)
from dtls_emu.policy.decision import Decision, decide, decide_conditions, in_clear_meanwhile, while_building
from dtls_emu.policy.facts import Endpoint, Flow, endpoint_of, flow_to
from dtls_emu.policy.security import RuleHit, Transport
from dtls_emu.policy.table import Basis, Row, rows


__all__ = [
    "Basis",
    "Condition",
    "Decision",
    "Endpoint",
    "Flow",
    "Row",
    "RuleHit",
    "Transport",
    "conditions_of",
    "conditions_of_profile",
    "decide",
    "decide_conditions",
    "drops_unencrypted",
    "endpoint_of",
    "flow_to",
    "in_clear_meanwhile",
    "rows",
    "while_building",
]
