"""The drivers, what they share, and which of them work here."""
