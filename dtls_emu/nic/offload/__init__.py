"""The compiled kernels that carry the packets of known flows, and the tables that they share with the card."""
