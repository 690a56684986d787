"""Side-by-side runs against other userspace tunnels: each in namespaces of its own, one table."""
