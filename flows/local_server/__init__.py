"""The local Prefect server of a store: one a store, started by whoever comes first, found again by the next."""
