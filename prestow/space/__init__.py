"""Room on the disk: how much an image takes, and whether it is begun."""
