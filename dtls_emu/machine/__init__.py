"""What this machine offers: probes, privileges, processes, namespaces as system calls."""
