"""From an image config to a running container: spec, bundle, runc."""
