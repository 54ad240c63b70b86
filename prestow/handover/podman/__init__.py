"""podman, and whatever else reads its storage: an image is a mount of our store, and nothing is copied."""
