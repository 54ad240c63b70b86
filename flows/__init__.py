"""The declared graph: pull, bundle, run, prepull, prune."""
