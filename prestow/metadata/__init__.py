"""The metadata store: names, snapshots, containers, leases, in one SQLite file."""
