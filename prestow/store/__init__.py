"""One opened store: its folder, everything wired, and what dead processes left in it."""
