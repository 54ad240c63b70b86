"""A read-only registry: listener, connections, and the limits that clients are held to."""
