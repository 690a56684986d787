"""How a running host is asked and told: its control socket, the client of it, and the broker of keys."""
