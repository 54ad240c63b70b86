"""What an operator may set: where the store is, settings, registry hosts, defaults."""
