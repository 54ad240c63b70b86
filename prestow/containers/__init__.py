"""Containers: made from an image, with a process in them, stopped, removed."""
