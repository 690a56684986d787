"""Was it encrypted? Flow logs judged pair by pair: what was encrypted, what was not and why, and what to do.

The logs may be a real network's, a run's or a host's; what was promised may be measured against.
"""
