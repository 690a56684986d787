"""The live page: a lab, or a trace, in a browser. Served on this machine only; every view is one of the run's events."""
