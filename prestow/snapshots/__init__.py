"""Snapshots: unpacked images by chain ID, and the writable snapshots of containers, by three drivers."""
