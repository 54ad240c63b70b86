"""What a layer means: compression, tar, tree, and the three sinks of a tree."""
