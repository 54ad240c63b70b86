"""Sources of images: registries over HTTP, and OCI layouts on disk, behind two small protocols."""
