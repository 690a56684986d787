"""The small stacks inside the VMs of a simulation, and the traffic that a lab has them send."""
